"""Ablations (Table 4): any subset of the five modules, from `row=baseline` to all of them.

    python train.py --config=configs/ablation.py:row=esm+assm --workdir=runs/esm_assm

`row=` joins any of esm, assm, esm*, assm*, afm by + in this order. ESM is S1 and S2, ASSM S3..S5;
`esm*` and `assm*` are the same on the decoder; without `afm` the top decoder map alone makes the
prediction. The paper names 85.96 (baseline), 87.08 (esm), 87.91 (assm), 87.59 (afm) and 89.93
(esm+assm+afm) Dice on its own dataset. Takes `data=` as all configurations do.
"""

from itertools import combinations

from configs import base

MODULES = ("esm", "assm", "esm*", "assm*", "afm")
SUBSETS = ["+".join(c) for n in range(1, 6) for c in combinations(MODULES, n)]


def get_config(argument: str = ""):
    arguments = base.arguments(argument, row=("baseline", *SUBSETS))
    modules = arguments["row"].split("+")
    config = base.get_config(arguments["data"])
    config.model.edge_levels = (1, 2) if "esm" in modules else ()
    config.model.mask_levels = (3, 4, 5) if "assm" in modules else ()
    config.model.decoder_edge_levels = (1, 2) if "esm*" in modules else ()
    config.model.decoder_mask_levels = (3, 4, 5) if "assm*" in modules else ()
    config.model.fusion = "attention" if "afm" in modules else "none"
    return config
