"""U-Net, and the parts its descendants in this folder share.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation,
MICCAI 2015.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.fusion import TopProjection
from cosup_jax.models.layers import DoubleConv, Policy, check_image, max_pool
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resunet import UpBlock

DOWNSAMPLING = 16


class Encoder(nn.Module):
    """The down-sampling path: five DoubleConv with 2×2 max-pooling in between.

    Attributes:
      width: channels of the first stage; they double from stage to stage.
      policy: types and normalisation.
    """

    width: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, ...]:
        """Maps (B, H, W, C) to S1..S5 at 1, 1/2, 1/4, 1/8 and 1/16 of the resolution."""
        maps: list[jax.Array] = []
        for i in range(5):
            x = max_pool(x) if i else x
            x = DoubleConv(self.width << i, self.policy, name=f"stage{i + 1}")(x, train)
            maps.append(x)
        return tuple(maps)


class UNet(nn.Module):
    """U-Net with one logit per pixel.

    As in the common re-implementations and unlike in the paper, the convolutions are padded, so
    that the output has the size of the image, and are followed by batch normalisation. Up-sampling
    is the paper's 2×2 transposed convolution; some resize instead, which changes the parameters.

    Attributes:
      width: channels at full resolution; 64, as in the paper, doubling to 1024 at the bottom.
      dtype: type of the computation; parameters, batch statistics and logits stay float32.
      axis_name: device axis over which batch statistics are averaged in training, or None.
    """

    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None

    multiple: ClassVar[int] = DOWNSAMPLING  # of the image's sides
    edge_stages: ClassVar[tuple[str, ...]] = ()
    mask_stages: ClassVar[tuple[str, ...]] = ()
    up_block: ClassVar[type[nn.Module]] = UpBlock  # from one resolution to the next, with the skip

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) normalised images of a floating type; 16 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Raises:
          ValueError: 16 does not divide H or W; the message says what to pad to.
        """
        check_image(x, self.multiple)
        size = (x.shape[1], x.shape[2])
        policy = Policy(self.dtype, self.axis_name)
        *skips, x = Encoder(self.width, policy, name="encoder")(x.astype(self.dtype), train)
        for i in (3, 2, 1, 0):
            x = self.up_block(self.width << i, policy, name=f"level{i + 1}")(x, skips[i], train)
        return SegOutput(logits=TopProjection(name="top")((x,), size))
