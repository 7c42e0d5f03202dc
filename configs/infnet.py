"""Inf-Net and its ablations (Fan et al. 2020, Tables II and IV), trained as in its Section III-D.

    python train.py --config=configs/infnet.py:row=ppd+ra+ea --workdir=runs/infnet

352×352 in 0..1, batch 16, Adam 1e-4, 100 epochs, multi-scale at 0.75, 1 and 1.25. From the authors'
code, not from the paper: gradients are clipped to ±0.5 and the rate is multiplied by 0.1 after 50
epochs. The paper starts from ImageNet's weights of Res2Net-50, `--config.init=FILE`, and on
COVID-SemiSeg, `:data=covid_semiseg`, names 68.2 Dice (Table II, its own protocol); from random
weights expect less. Full size wants a GPU.

`row=backbone|ppd|ra|ppd+ra|ppd+ra+ea`, the last by default: the parallel partial decoder, reverse
attention and edge attention. The paper does not say what predicts without the decoder. Here a 1×1
convolution of f_5 to one channel stands in for its map S_g: it is the prediction of `backbone`, and
guides the first reverse attention of `ra`, whose prediction is S_3. Table IV names 44.2, 66.9,
62.5, 65.5 and 73.9 Dice, all measured with the semi-supervised schedule (its last row is
Semi-Inf-Net), so those are not what this configuration should reach. Takes `data=` as all
configurations do.
"""

from configs import base

ROWS = ("ppd+ra+ea", "backbone", "ppd", "ra", "ppd+ra")


def get_config(argument: str = ""):
    arguments = base.arguments(argument, row=ROWS)
    modules = arguments["row"].split("+")
    config = base.get_config(arguments["data"])
    config.epochs = 100
    config.batch_size = 16
    config.data.size = (352, 352)
    config.data.scaling = "unit"
    config.data.scales = (0.75, 1.0, 1.25)
    config.model = {
        "name": "infnet",
        "backbone": "res2net50",
        "width": 64,
        "blocks": (),
        "partial_decoder": "ppd" in modules,
        "reverse_attention": "ra" in modules,
        "edge_attention": "ea" in modules,
        "reverse_after_concat": False,
        "dtype": config.model.dtype,
    }
    # False is what the authors' code computes.
    config.loss = {"name": "infnet", "weighted_bce": True}
    config.clip = 0.5
    config.step_decay.epochs = 50
    # The rate follows the steps above alone, and all epochs are trained.
    config.plateau.patience = 100
    config.early_stopping.patience = 100
    return config
