"""ResUNet_C1F (Table 3, 89.16 Dice on the paper's own dataset): ESM on S1, ASSM on S2..S5.

    python train.py --config=configs/c1f.py --workdir=runs/c1f

On the embedded phantoms by default; `:data=slice_folder` with `--config.data.source=FOLDER`
trains on your own slices.
"""

from configs import base


def get_config(argument: str = ""):
    config = base.get_config(**base.arguments(argument))
    config.model.edge_levels = (1,)
    config.model.mask_levels = (2, 3, 4, 5)
    return config
