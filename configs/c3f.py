"""ResUNet_C3F (Table 3, 89.44 Dice on the paper's own dataset): ESM on S1..S3, ASSM on S4 and S5.

    python train.py --config=configs/c3f.py --workdir=runs/c3f

On the embedded phantoms by default; `:data=slice_folder` with `--config.data.source=FOLDER`
trains on your own slices.
"""

from configs import base


def get_config(argument: str = ""):
    config = base.get_config(**base.arguments(argument))
    config.model.edge_levels = (1, 2, 3)
    config.model.mask_levels = (4, 5)
    return config
