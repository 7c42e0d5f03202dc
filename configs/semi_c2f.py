"""ResUNet_C2F with the semi-supervised scheme of Semi-Inf-Net, on COVID-SemiSeg.

    python train.py --config=configs/semi_c2f.py:data=covid_semiseg --config.data.source=FOLDER

Neither paper has this row; on this set and by its own protocol the Inf-Net paper (Table II) names
68.2 Dice for Inf-Net and 73.9 for Semi-Inf-Net. K = 5 unlabelled slices a round, so 320 rounds, in
each of which the network sees every slice that has a label once; then pre-training on the 1,600 and
fine-tuning on the 45. Everything else is configs/c2f.py. Full size wants a GPU.

Patients of a set that is scored later are left out with
`--config.semi.exclude_patients="('coronacases_001',)"`. With another `data=`, name the split of
which no labels are used as `--config.semi.unlabelled`.
"""

from configs import base


def get_config(argument: str = ""):
    config = base.get_config(**base.arguments(argument))
    config.semi.per_round = 5
    return config
