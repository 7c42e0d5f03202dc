"""DeepLabV3+, convolutions at several distances and a short decoder.

Chen, Zhu, Papandreou, Schroff, Adam: Encoder-Decoder with Atrous Separable Convolution for Semantic
Image Segmentation, ECCV 2018. The form is that of the common PyTorch re-implementation with a
ResNet, whose convolutions are not separable.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import ConvNorm, Dropout
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import resize_aligned
from cosup_jax.models.zoo.comparator import (
    ASPP_RATES,
    AtrousPyramid,
    Comparator,
    at_image,
    predict,
)


class DeepLabV3Plus(Comparator):
    """DeepLabV3+ with multi-grid (1, 2, 4) in the backbone's last layer.

    Attributes:
      backbone: `resnet101`, with which the papers compared here used it, or `resnet50`.
      output_stride: 16 or 8, how far the pyramid's map is shrunk.
      classes: logits of a pixel; of several, the background's first.
    """

    backbone: str = "resnet101"
    output_stride: int = 16
    classes: int = 1

    backbones: ClassVar[tuple[str, ...]] = ("resnet101", "resnet50")
    multiple: ClassVar[int] = 16

    def __post_init__(self) -> None:
        """Refuses settings that describe no network."""
        if self.output_stride not in ASPP_RATES:
            raise ValueError(f"output_stride is {self.output_stride}, expected 8 or 16")
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 16 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch, and
            whether there is dropout.

        Raises:
          ValueError: 16 does not divide H or W; the message says what to pad to.
        """
        policy, wide = self.policy, 4 * self.width
        _, f2, *_, f5 = self.features(
            x, train, output_stride=self.output_stride, multi_grid=(1, 2, 4)
        )
        rates = ASPP_RATES[self.output_stride]
        deep = AtrousPyramid(wide, rates, policy, name="aspp")(f5, train)
        deep = ConvNorm(wide, 1, policy=policy, name="project")(deep, train)
        deep = Dropout(0.5, policy=policy, name="dropout0")(deep, train)
        low = ConvNorm(3 * self.width // 4, 1, policy=policy, name="low")(f2, train)
        y = jnp.concatenate([resize_aligned(deep, (low.shape[1], low.shape[2])), low], axis=-1)
        for i, rate in ((1, 0.5), (2, 0.1)):
            y = ConvNorm(wide, policy=policy, name=f"conv{i}")(y, train)
            y = Dropout(rate, policy=policy, name=f"dropout{i}")(y, train)
        logits = predict(y, self.classes, "predict")
        return at_image(SegOutput(logits), (x.shape[1], x.shape[2]))
