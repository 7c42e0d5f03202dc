"""ResUNet_C2F, the paper's network (Tables 2 and 3, 89.93 Dice on the paper's own dataset).

ESM on S1 and S2, ASSM on S3..S5, attention fusion; 256×256, batch 8, Adam 1e-4.

    python train.py --config=configs/c2f.py --workdir=runs/c2f

On the embedded phantoms by default; `:data=slice_folder` with `--config.data.source=FOLDER`
trains on your own slices. Full size wants a GPU: on a CPU a step takes tens of
seconds; start with configs/quickstart.py.
"""

from configs import base


def get_config(argument: str = ""):
    config = base.get_config(**base.arguments(argument))
    config.model.edge_levels = (1, 2)
    config.model.mask_levels = (3, 4, 5)
    return config
