"""The comparators both papers lean on, one network a file.

The U-Nets are what the papers call by these names, in the form of the common re-implementations:
batch normalisation after every convolution, padded convolutions, 2×2 max-pooling, five resolutions.
The others begin with a ResNet, and are those of their authors' code unless their file says more.
"""

from cosup_jax.models.zoo.acfnet import ACFNet
from cosup_jax.models.zoo.attention_unet import AttentionUNet
from cosup_jax.models.zoo.cenet import CENet
from cosup_jax.models.zoo.cpfnet import CPFNet
from cosup_jax.models.zoo.danet import DANet
from cosup_jax.models.zoo.deeplab import DeepLabV3Plus
from cosup_jax.models.zoo.f3net import F3Net
from cosup_jax.models.zoo.pspnet import PSPNet
from cosup_jax.models.zoo.scrn import SCRN
from cosup_jax.models.zoo.unet import UNet
from cosup_jax.models.zoo.unetpp import UNetPP

__all__ = [
    "SCRN",
    "ACFNet",
    "AttentionUNet",
    "CENet",
    "CPFNet",
    "DANet",
    "DeepLabV3Plus",
    "F3Net",
    "PSPNet",
    "UNet",
    "UNetPP",
]
