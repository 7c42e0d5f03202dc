"""PSPNet, a pyramid of means over the map.

Zhao, Shi, Qi, Wang, Jia: Pyramid Scene Parsing Network, CVPR 2017.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import ConvNorm, Policy
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import average_bins, resize_aligned
from cosup_jax.models.zoo.comparator import Comparator, Head, at_image

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """A map beside its means over 1, 4, 9 and 36 bins, each convolved by 1×1.

    Attributes:
      features: channels of each of the four.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) to (B, h, w, C + 4 · features)."""
        parts, size = [x], (x.shape[1], x.shape[2])
        for bins in BINS:
            conv = ConvNorm(self.features, 1, policy=self.policy, name=f"bins{bins}")
            parts.append(resize_aligned(conv(average_bins(x, bins), train), size))
        return jnp.concatenate(parts, axis=-1)


class PSPNet(Comparator):
    """PSPNet with the deep stem of its release, at an output stride of 8.

    The paper's crops of 473×473 pixels make the corners of the 60×60 map fall on pixels; here maps
    are resized to the image, whatever it is.

    Attributes:
      backbone: `resnet50` or `resnet101`.
      deep: whether the stem is three 3×3 convolutions; False for the plain 7×7.
      auxiliary: whether the map of the third layer (C3) is supervised too.
    """

    deep: bool = True
    auxiliary: bool = True

    backbones: ClassVar[tuple[str, ...]] = ("resnet50", "resnet101")
    multiple: ClassVar[int] = 8

    @property
    def mask_stages(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the maps behind `SegOutput.mask_logits`."""
        return ("C3",) if self.auxiliary else ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 8 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch, and
            whether there is dropout.

        Raises:
          ValueError: 8 does not divide H or W; the message says what to pad to.
        """
        policy, wide = self.policy, 8 * self.width
        *_, c3, c4 = self.features(x, train, deep=self.deep, output_stride=8)
        y = PyramidPooling(wide, policy, name="pyramid")(c4, train)
        logits = Head(wide, policy=policy, name="head")(y, train)
        masks: tuple[jax.Array, ...] = ()
        if self.auxiliary:
            masks = (Head(4 * self.width, policy=policy, name="auxiliary")(c3, train),)
        return at_image(SegOutput(logits, mask_logits=masks), (x.shape[1], x.shape[2]))
