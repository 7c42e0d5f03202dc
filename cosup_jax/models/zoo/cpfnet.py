"""CPFNet, pyramids of context in the skips and at the bottom of a U-shaped ResNet.

Feng et al.: CPFNet: Context Pyramid Fusion Network for Medical Image Segmentation, IEEE TMI 2020.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.backbones import Maps
from cosup_jax.models.layers import ConvNorm, Policy, kernel_init
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import double_aligned, resize_aligned
from cosup_jax.models.zoo.comparator import Comparator, predict, predict_3


class GlobalGuidance(nn.Module):
    """GPG: a map and all deeper ones, joined and seen at as many dilations.

    Attributes:
      policy: types and normalisation.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, maps: Maps, train: bool) -> jax.Array:
        """Maps c_k, (B, h, w, C), and the deeper ones to (B, h, w, C)."""
        policy, (_, h, w, wide) = self.policy, maps[0].shape
        joined = jnp.concatenate(
            [
                resize_aligned(ConvNorm(wide, policy=policy, name=f"conv{level}")(x, train), (h, w))
                for level, x in zip((5, 4, 3, 2), reversed(maps), strict=False)
            ],
            axis=-1,
        )
        seen = []
        for i in range(len(maps)):
            y = ConvNorm(
                joined.shape[-1],
                relu=False,
                policy=policy,
                dilation=1 << i,
                depthwise=True,
                name=f"depthwise{i}",
            )(joined, train)
            seen.append(ConvNorm(wide, 1, policy=policy, name=f"pointwise{i}")(y, train))
        last = ConvNorm(wide, 1, relu=False, policy=policy, name="join")
        return last(jnp.concatenate(seen, axis=-1), train)


class _Kernel(nn.Module):
    """The kernel of a 3×3 convolution that is used several times."""

    @nn.compact
    def __call__(self, channels: int) -> jax.Array:
        return self.param("kernel", kernel_init, (3, 3, channels, channels), jnp.float32)


class ScaleAwarePyramid(nn.Module):
    """SAPF: one 3×3 kernel at dilations 1, 2 and 4, the three mixed pixel by pixel, two by two.

    As in the authors' code, both mixtures have the same weights, and dilation 1 alone a bias, which
    the norm behind it undoes and which is left out.

    Attributes:
      policy: types and normalisation.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) to the same shape."""
        c = x.shape[-1]
        kernel = _Kernel(name="conv")(c).astype(x.dtype)

        def branch(dilation: int, name: str) -> jax.Array:
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                (1, 1),
                ((dilation, dilation),) * 2,
                rhs_dilation=(dilation, dilation),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            return self.policy.norm(train, name)(y)

        fuse = Fuse(self.policy, name="fuse")
        y = fuse(branch(1, "norm"), branch(2, "norm_dilated2"))
        y = fuse(y, branch(4, "norm_dilated4"))
        gamma = self.param("gamma", nn.initializers.zeros, (1,), jnp.float32).astype(x.dtype)
        gamma = gamma[None, None, None]
        return nn.relu(gamma * y + (1 - gamma) * x)


class Fuse(nn.Module):
    """Mixes two maps of a shape by a softmax that sees both.

    Attributes:
      policy: types.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, u: jax.Array, v: jax.Array) -> jax.Array:
        """Maps two (B, h, w, C) to one."""
        c = u.shape[-1]
        options = {"dtype": self.policy.dtype, "kernel_init": kernel_init}
        y = jnp.concatenate([u, v], axis=-1)
        y = nn.relu(nn.Conv(c, (1, 1), **options, name="conv1")(y))
        y = nn.relu(nn.Conv(c // 2, (3, 3), padding=1, **options, name="conv2")(y))
        a = nn.softmax(predict_3(y, 2, "conv3")).astype(u.dtype)
        return a[..., :1] * u + a[..., 1:] * v


class UpBlock(nn.Module):
    """3×3 ConvNorm, ×2 with aligned corners, 1×1 ConvNorm.

    Attributes:
      features: output channels.
      first: whether there is the 3×3 convolution.
      policy: types and normalisation.
    """

    features: int
    first: bool = True
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) to (B, 2h, 2w, features)."""
        if self.first:
            x = ConvNorm(x.shape[-1], policy=self.policy, name="conv3")(x, train)
        x = double_aligned(x)
        return ConvNorm(self.features, 1, policy=self.policy, name="conv1")(x, train)


class CPFNet(Comparator):
    """CPFNet with ResNet-34, and only what reaches its output.

    The authors' file has 12.6 M parameters more: the classifier, a pyramid in each block of the
    decoder, a second set of weights of the mixture and a 3×3 convolution, all unused.
    """

    backbone: str = "resnet34"

    backbones: ClassVar[tuple[str, ...]] = ("resnet34",)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 32 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Raises:
          ValueError: 32 does not divide H or W; the message says what to pad to.
        """
        policy = self.policy
        c1, *deep = self.features(x, train)
        y = ScaleAwarePyramid(policy, name="sapf")(deep[-1], train)
        y = ConvNorm(8 * self.width, 1, policy=policy, name="sapf_out")(y, train)
        for i, k in enumerate((4, 3, 2)):
            skip = GlobalGuidance(policy, name=f"gpg{k}")(tuple(deep[k - 2 :]), train)
            up = UpBlock(skip.shape[-1], i > 0, policy, name=f"decoder{k + 1}")
            y = nn.relu(up(y, train) + skip)
        y = UpBlock(c1.shape[-1], True, policy, name="decoder2")(y, train) + c1
        y = double_aligned(y)
        for name, kernel in (("head1", 1), ("head3", 3)):
            y = ConvNorm(self.width // 2, kernel, policy=policy, name=name)(y, train)
        return SegOutput(predict(y, 1, "predict"))
