r"""Semi-Inf-Net (Fan et al. 2020, Table II: 73.9 Dice on COVID-SemiSeg, its own protocol).

    python train.py --config=configs/semi_infnet.py:data=covid_semiseg \
      --config.data.source=FOLDER --config.init=res2net50_v1b_26w_4s.pth

Inf-Net is trained on the labelled slices, labels K = 5 unlabelled slices in each of 320 rounds, and
trains on in each. Then it is pre-trained on the 1,600 pseudo labels (100 epochs, batch 24), and
fine-tuned on the labelled slices (100 epochs, batch 16). The paper does not say how long a round
trains; its release says nine epochs (`--config.semi.epochs=9`), which makes the 50 hours that the
paper names. One epoch a round is the value here. Everything else, `row=` included, is
configs/infnet.py. Full size wants a GPU.

Patients of a set that is scored later are left out with
`--config.semi.exclude_patients="('coronacases_001',)"`. With another `data=`, name the split of
which no labels are used as `--config.semi.unlabelled`.
"""

from configs import infnet


def get_config(argument: str = ""):
    config = infnet.get_config(argument)
    config.semi.per_round = 5
    return config
