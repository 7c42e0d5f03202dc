"""The comparators of Tables 2, 6, 7 and 8, trained like ResUNet_C2F.

    python train.py --config=configs/baseline.py:net=unet --workdir=runs/unet

`net=unet|unetpp|attention_unet|pspnet|deeplabv3plus|scrn|f3net|danet|acfnet|cenet|cpfnet`. On its
own dataset the paper names 85.56, 86.71, 87.40, 87.45, 87.81, 86.24, 87.99, 88.94, 83.25, 81.49 and
85.19 Dice (the last three are suspect, see the table's notes); on COVID-SemiSeg the Inf-Net paper
(Table II, its own protocol) names 43.9 for U-Net and 51.8 for U-Net++.

The paper does not say which backbones and losses its comparators had. Here they are those of the
networks' authors, and by default, `loss=joint`, all have the paper's joint loss: Dice of the
prediction, of further outputs times the authors' weights, and of an edge (SCRN) with weight 1.
`loss=own` takes the authors' loss, as far as they published one; it leaves the optimizer alone.
The U-Nets have the Dice loss of the prediction alone; with `--config.model.deep_supervision=True`
U-Net++ is supervised at three more of its outputs.

Networks with a ResNet take grey values in 0..1, and ImageNet's weights by `--config.init=FILE`.
PSPNet and ACFNet have a deep stem; plain ResNets fit them with `--config.model.deep=False`. Takes
`data=` as all configurations do.
"""

from typing import Any

from configs import base

_RESNET: dict[str, Any] = {"width": 64, "blocks": ()}
NETS: dict[str, dict[str, Any]] = {
    "unet": {"width": 64},
    "unetpp": {"width": 32, "deep_supervision": False},
    "attention_unet": {"width": 64},
    "pspnet": {**_RESNET, "backbone": "resnet50", "deep": True, "auxiliary": True},
    "deeplabv3plus": {**_RESNET, "backbone": "resnet101", "output_stride": 16, "classes": 1},
    "scrn": {**_RESNET, "units": 4},
    "f3net": _RESNET,
    "danet": {**_RESNET, "backbone": "resnet101", "deep": False, "multi_grid": (1, 2, 4)},
    "acfnet": {**_RESNET, "backbone": "resnet101", "deep": True},
    "cenet": _RESNET,
    "cpfnet": _RESNET,
}
# What the weights of further outputs are in the joint loss, where β is 0.4.
JOINT: dict[str, dict[str, Any]] = {
    "pspnet": {"omega": 1.0},
    "scrn": {"theta": 1.0},
    "f3net": {"omega": (2.5, 2.5, 1.25, 0.625, 0.3125)},
    "danet": {"omega": 2.5},
    "acfnet": {"omega": (2.14, 1.43)},
}
_ENTROPY = {"name": "maps_cross_entropy"}
OWN: dict[str, dict[str, Any]] = {
    "pspnet": {**_ENTROPY, "omega": 0.4},
    "deeplabv3plus": _ENTROPY,
    "scrn": {**_ENTROPY, "zeta": 1.0},
    # False is what the authors' code computes.
    "f3net": {"name": "infnet", "weighted_bce": False, "omega": (1.0, 1.0, 0.5, 0.25, 0.125)},
    "danet": {**_ENTROPY, "omega": 1.0},
    "acfnet": {**_ENTROPY, "prediction": 0.7, "omega": (0.6, 0.4), "hardest": 100_000},
    "cenet": {"name": "cross_entropy_dice", "eps": 0.0},
    "cpfnet": {"name": "cross_entropy_dice", "eps": 0.001, "background": True},
}


def get_config(argument: str = ""):
    arguments = base.arguments(argument, net=tuple(NETS), loss=("joint", "own"))
    net = arguments["net"]
    config = base.get_config(arguments["data"])
    # Another network has other settings, so the section is replaced as a whole.
    config.model = {"name": net, **NETS[net], "dtype": config.model.dtype}
    if "blocks" in NETS[net]:
        config.data.scaling = "unit"
    config.loss = {**config.loss.to_dict(), **JOINT.get(net, {})}
    if arguments["loss"] == "own" and net in OWN:
        config.loss = OWN[net]
    return config
