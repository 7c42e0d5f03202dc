"""Networks that tell the classes of infection apart, guided by a map of all infection.

Inf-Net's paper, Section III-C, labels ground-glass and consolidation with FCN8s; its release does
it with a U-Net. Both take the slice and, as a second channel, the infection map that a network for
binary segmentation has found; without it they are FCN8s and U-Net as such.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.imagenet import imagenet_channels
from cosup_jax.models.layers import (
    ConvNorm,
    ConvWeights,
    Policy,
    check_image,
    kernel_init,
    max_pool,
    pointwise,
)
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import double_aligned

_FCN_DOWNSAMPLING, _UNET_DOWNSAMPLING = 32, 16


class FCN8s(nn.Module):
    """FCN8s (Long, Shelhamer, Darrell 2015) on VGG-16: scores at 1/32, 1/16 and 1/8, added upward.

    The paper leaves open how the infection map joins the slice; here it is a channel of the first
    convolution. Convolutions are padded to keep the size, where the original pads the image by 100
    and crops. There is no dropout. It is drawn uniformly as by Glorot and Bengio ("Xavier"), as the
    paper says, and no ImageNet weights are used.

    Attributes:
      classes: logits of a pixel, background first.
      width: channels of the first block; 64 in VGG-16, whose dense layers have 64 times as many.
      blocks: 3×3 convolutions of the five blocks.
      dtype: type of the computation; parameters and logits stay float32.
      axis_name: taken for the sake of all networks' common interface; nothing is normalised.
    """

    initial: ClassVar[str] = "xavier_uniform"

    classes: int = 3
    width: int = 64
    blocks: tuple[int, ...] = (2, 2, 3, 3, 3)
    dtype: Any = jnp.float32
    axis_name: str | None = None

    multiple: ClassVar[int] = _FCN_DOWNSAMPLING  # of the image's sides
    edge_stages: ClassVar[tuple[str, ...]] = ()
    mask_stages: ClassVar[tuple[str, ...]] = ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) slices or (B, H, W, 2) slices and infection maps; 32 must divide H and W.
          train: makes no difference.

        Returns:
          (B, H, W, classes) logits.

        Raises:
          ValueError: 32 does not divide H or W; the message says what to pad to.
        """
        check_image(x, self.multiple)
        x = x.astype(self.dtype)
        pools = []
        for i, number in enumerate(self.blocks):
            for j in range(number):
                x = self._conv(self.width << min(i, 3), 3, f"block{i + 1}_conv{j + 1}")(x)
            x = max_pool(x)
            pools.append(x)
        x = self._conv(64 * self.width, 7, "fc6")(x)
        x = self._conv(64 * self.width, 1, "fc7")(x)
        scores = self._score(x, "score")
        for level, factor in ((4, 2), (3, 2), (0, 8)):
            scores = nn.ConvTranspose(
                self.classes,
                (2 * factor, 2 * factor),
                strides=(factor, factor),
                use_bias=False,
                name=f"up{level}",
            )(scores)
            if level:
                scores = scores + self._score(pools[level - 1], f"score{level}")
        return SegOutput(scores)

    def _conv(self, features: int, kernel: int, name: str) -> nn.Module:
        conv = nn.Conv(
            features,
            (kernel, kernel),
            padding=kernel // 2,
            dtype=self.dtype,
            kernel_init=kernel_init,
            name=name,
        )
        return nn.Sequential([conv, nn.relu])

    def _score(self, x: jax.Array, name: str) -> jax.Array:
        kernel, bias = ConvWeights(x.shape[-1], self.classes, name=name)()
        return pointwise(x, kernel[0, 0], bias)


class _DoubleConv(nn.Module):
    """Two 3×3 ConvNorm with ReLU of `inner` and `features` channels."""

    inner: int
    features: int
    policy: Policy

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = ConvNorm(self.inner, policy=self.policy, name="conv1")(x, train)
        return ConvNorm(self.features, policy=self.policy, name="conv2")(x, train)


class MultiClassUNet(nn.Module):
    """The multi-class U-Net of Inf-Net's release, not of the paper, with six input channels.

    Slice and infection map, grey values in 0..1 both, become three equal channels each, normalised
    as ImageNet's. Maps are enlarged bilinearly with aligned corners. The release's convolutions
    have biases, which the normalisation behind them undoes; they are left out.

    Attributes:
      classes: logits of a pixel, background first.
      width: channels at full resolution, 64 in the release; 2, 4, 8 and 8 times as many below.
      dtype: type of the computation; parameters, batch statistics and logits stay float32.
      axis_name: device axis over which batch statistics are averaged in training, or None.
    """

    classes: int = 3
    width: int = 64
    dtype: Any = jnp.float32
    axis_name: str | None = None

    multiple: ClassVar[int] = _UNET_DOWNSAMPLING  # of the image's sides
    edge_stages: ClassVar[tuple[str, ...]] = ()
    mask_stages: ClassVar[tuple[str, ...]] = ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) slices or (B, H, W, 2) slices and infection maps, grey values in 0..1; 16
            must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Returns:
          (B, H, W, classes) logits.

        Raises:
          ValueError: 16 does not divide H or W; the message says what to pad to.
        """
        check_image(x, self.multiple)
        policy = Policy(self.dtype, self.axis_name)
        x = imagenet_channels(x).astype(self.dtype)
        maps: list[jax.Array] = []
        for i, factor in enumerate((1, 2, 4, 8, 8)):
            features = factor * self.width
            x = max_pool(x) if i else x
            x = _DoubleConv(features, features, policy, name=f"down{i + 1}")(x, train)
            maps.append(x)
        for level, factor in ((4, 4), (3, 2), (2, 1), (1, 1)):
            x = jnp.concatenate([maps[level - 1], double_aligned(x)], axis=-1)
            inner, features = x.shape[-1] // 2, factor * self.width
            x = _DoubleConv(inner, features, policy, name=f"up{level}")(x, train)
        kernel, bias = ConvWeights(x.shape[-1], self.classes, name="predict")()
        return SegOutput(pointwise(x, kernel[0, 0], bias))
