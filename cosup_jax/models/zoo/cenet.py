"""CE-Net, a U-shaped ResNet with dilated convolutions and pools of several sizes at its bottom.

Gu et al.: CE-Net: Context Encoder Network for 2D Medical Image Segmentation, IEEE TMI 2019.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import ConvNorm, Policy, kernel_init
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import resize
from cosup_jax.models.zoo.comparator import Comparator, predict_3

POOLS = (2, 3, 5, 6)


def _conv(features: int, kernel: int, policy: Policy, name: str, dilation: int = 1) -> nn.Conv:
    """A convolution with a bias and nothing behind it."""
    return nn.Conv(
        features,
        (kernel, kernel),
        padding=dilation * (kernel // 2),
        kernel_dilation=dilation,
        dtype=policy.dtype,
        kernel_init=kernel_init,
        name=name,
    )


def _doubling(features: int, kernel: int, policy: Policy, name: str, bias: bool) -> nn.Module:
    """A transposed convolution with stride 2 that doubles the size, by 3×3 or 4×4.

    The padding is 1 in PyTorch's terms, by 3×3 with an output padding of 1.
    """
    before = 1 if kernel == 3 else 2
    return nn.ConvTranspose(
        features,
        (kernel, kernel),
        (2, 2),
        padding=((before, 2), (before, 2)),
        use_bias=bias,
        dtype=policy.dtype,
        kernel_init=kernel_init,
        name=name,
    )


class DenseAtrous(nn.Module):
    """DAC: a map and four chains of dilated convolutions of it, which share their kernels.

    Attributes:
      policy: types.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, h, w, C) to the same shape."""
        c = x.shape[-1]
        d1, d3, d5 = (_conv(c, 3, self.policy, f"dilated{d}", d) for d in (1, 3, 5))
        one = _conv(c, 1, self.policy, "one")
        a = d1(x)
        b = d3(a)
        return x + nn.relu(a) + nn.relu(one(d3(x))) + nn.relu(one(b)) + nn.relu(one(d5(b)))


class MultiPooling(nn.Module):
    """RMP: maxima of four sizes, each one channel by a shared convolution, before the map.

    Attributes:
      policy: types.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, h, w, C) to (B, h, w, 4 + C); rows that fill no window are not pooled."""
        one, size = _conv(1, 1, self.policy, "one"), (x.shape[1], x.shape[2])
        pooled = [one(nn.max_pool(x, (k, k), (k, k))) for k in POOLS]
        return jnp.concatenate([*(resize(p, size) for p in pooled), x], axis=-1)


class _DoublingNorm(nn.Module):
    """A transposed convolution by 3×3, normalisation and ReLU."""

    features: int
    policy: Policy

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = _doubling(self.features, 3, self.policy, "conv", bias=False)(x)
        return nn.relu(self.policy.norm(train, "norm")(x))


class UpBlock(nn.Module):
    """1×1, transposed 3×3 and 1×1 convolutions, the first two of a quarter of the channels.

    Attributes:
      features: output channels.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) to (B, 2h, 2w, features)."""
        inner = x.shape[-1] // 4
        x = ConvNorm(inner, 1, policy=self.policy, name="conv1")(x, train)
        x = _DoublingNorm(inner, self.policy, name="up")(x, train)
        return ConvNorm(self.features, 1, policy=self.policy, name="conv3")(x, train)


class CENet(Comparator):
    """CE-Net with ResNet-34. Images must have sides of at least 192."""

    backbone: str = "resnet34"

    backbones: ClassVar[tuple[str, ...]] = ("resnet34",)
    smallest: ClassVar[int] = 32 * max(POOLS)  # 6×6 pixels are pooled at 1/32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 32 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Raises:
          ValueError: 32 does not divide H or W, or one of them is below 192.
        """
        policy = self.policy
        _, *skips, y = self.features(x, train)
        y = MultiPooling(policy, name="rmp")(DenseAtrous(policy, name="dac")(y))
        for i, skip in zip((4, 3, 2), reversed(skips), strict=True):
            y = UpBlock(skip.shape[-1], policy, name=f"decoder{i}")(y, train) + skip
        y = UpBlock(self.width, policy, name="decoder1")(y, train)
        y = nn.relu(_doubling(self.width // 2, 4, policy, "last_up", bias=True)(y))
        y = nn.relu(_conv(self.width // 2, 3, policy, "last")(y))
        return SegOutput(predict_3(y, 1, "predict"))
