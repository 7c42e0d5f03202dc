"""The comparators both papers lean on, one network a file.

They are what the papers call by these names, in the form of the common re-implementations: batch
normalisation after every convolution, padded convolutions, 2×2 max-pooling, five resolutions.
"""

from cosup_jax.models.zoo.attention_unet import AttentionUNet
from cosup_jax.models.zoo.unet import UNet
from cosup_jax.models.zoo.unetpp import UNetPP

__all__ = ["AttentionUNet", "UNet", "UNetPP"]
