"""Fusion methods alone (Table 5: add 83.59, concatenate 86.75, attention 87.59 Dice in the paper).

    python train.py --config=configs/fusion.py:fusion=sum --workdir=runs/fusion_sum

No ESM and no ASSM; `fusion=attention|sum|concat`. Takes `data=` as all configurations do.
"""

from configs import base


def get_config(argument: str = ""):
    arguments = base.arguments(argument, fusion=("attention", "sum", "concat"))
    config = base.get_config(arguments["data"])
    config.model.edge_levels = ()
    config.model.mask_levels = ()
    config.model.fusion = arguments["fusion"]
    return config
