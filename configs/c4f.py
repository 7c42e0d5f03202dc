"""ResUNet_C4F (Table 3, 89.40 Dice on the paper's own dataset): ESM on S1..S4, ASSM on S5.

    python train.py --config=configs/c4f.py --workdir=runs/c4f

On the embedded phantoms by default; `:data=slice_folder` with `--config.data.source=FOLDER`
trains on your own slices.
"""

from configs import base


def get_config(argument: str = ""):
    config = base.get_config(**base.arguments(argument))
    config.model.edge_levels = (1, 2, 3, 4)
    config.model.mask_levels = (5,)
    return config
