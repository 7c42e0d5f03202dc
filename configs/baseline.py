"""The comparators of Table 2: U-Net, U-Net++ and Attention U-Net, trained like ResUNet_C2F.

    python train.py --config=configs/baseline.py:net=unet --workdir=runs/unet

`net=unet|unetpp|attention_unet`. On its own dataset the paper names 85.56, 86.71 and 87.40 Dice;
on COVID-SemiSeg the Inf-Net paper (Table II, its own protocol) names 43.9 for U-Net and 51.8 for
U-Net++. The loss is the Dice loss of the prediction alone; with
`--config.model.deep_supervision=True` U-Net++ is supervised at three more of its outputs. Takes
`data=` as all configurations do.
"""

from configs import base

NETS = {
    "unet": {"width": 64},
    "unetpp": {"width": 32, "deep_supervision": False},
    "attention_unet": {"width": 64},
}


def get_config(argument: str = ""):
    arguments = base.arguments(argument, net=tuple(NETS))
    net = arguments["net"]
    config = base.get_config(arguments["data"])
    # Another network has other settings, so the section is replaced as a whole.
    config.model = {"name": net, **NETS[net], "dtype": config.model.dtype}
    return config
