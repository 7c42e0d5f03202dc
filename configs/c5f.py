"""ResUNet_C5F (Table 3, 88.33 Dice on the paper's own dataset): ESM on S1..S5, no ASSM.

    python train.py --config=configs/c5f.py --workdir=runs/c5f

On the embedded phantoms by default; `:data=slice_folder` with `--config.data.source=FOLDER`
trains on your own slices.
"""

from configs import base


def get_config(argument: str = ""):
    config = base.get_config(**base.arguments(argument))
    config.model.edge_levels = (1, 2, 3, 4, 5)
    config.model.mask_levels = ()
    return config
