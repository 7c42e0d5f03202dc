"""Res2Net-50 v1b (26 w × 4 s): Inf-Net's backbone (Gao et al. 2021, and its release)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.backbones import Layer, Maps, max_pool_3
from cosup_jax.models.layers import ConvNorm, Policy

SCALES = 4


class Res2NetBlock(nn.Module):
    """A bottleneck whose middle is four groups of channels, each seeing more than the one before.

    The first three groups have a 3×3 convolution each. Group i is added to the result of group
    i − 1 before its convolution; the last group passes unchanged. In the block that opens a layer
    nothing is added, and the last group is average-pooled (3×3, border zeros counted).

    Attributes:
      planes: a group has ⌊26 · planes / 64⌋ channels, the output 4 · planes.
      stride: step of the 3×3 convolutions and of the shortcut.
      first: whether the block opens its layer.
      policy: types and normalisation.
    """

    planes: int
    stride: int = 1
    first: bool = False
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H / stride, W / stride, 4 · planes)."""
        policy, width = self.policy, 26 * self.planes // 64
        y = ConvNorm(SCALES * width, 1, policy=policy, name="conv1")(x, train)
        *groups, last = jnp.split(y, SCALES, axis=-1)
        done: list[jax.Array] = []
        for i, group in enumerate(groups):
            if done and not self.first:
                group = group + done[-1]
            conv = ConvNorm(width, 3, self.stride, policy=policy, name=f"group{i}")
            done.append(conv(group, train))
        if self.first:
            step = (self.stride, self.stride)
            last = nn.avg_pool(last, (3, 3), step, padding=((1, 1), (1, 1)))
        y = jnp.concatenate([*done, last], axis=-1)
        y = ConvNorm(4 * self.planes, 1, relu=False, policy=policy, name="conv3")(y, train)
        return nn.relu(y + self._shortcut(x, train))

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        if not self.first:
            return x
        if self.stride > 1:
            x = nn.avg_pool(x, (self.stride, self.stride), (self.stride, self.stride))
        norm = ConvNorm(4 * self.planes, 1, relu=False, policy=self.policy, name="shortcut")
        return norm(x, train)


class Res2Net(nn.Module):
    """Res2Net-50 v1b: three 3×3 convolutions as the stem, average pooling in the shortcuts.

    Attributes:
      width: channels of f1.
      blocks: blocks of the four layers.
      policy: types and normalisation.
    """

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> Maps:
        """Maps (B, H, W, 3) to f1..f5 as `ResNet` does, with an output stride of 32."""
        half = self.width // 2
        for i, (features, stride) in enumerate(((half, 2), (half, 1), (self.width, 1))):
            x = ConvNorm(features, 3, stride, policy=self.policy, name=f"stem{i}")(x, train)
        maps = [x]
        x = max_pool_3(x)
        for i, number in enumerate(self.blocks):
            stride = 1 if i == 0 else 2
            planes = self.width << i
            x = Layer(Res2NetBlock, planes, number, stride, self.policy, name=f"layer{i + 1}")(
                x, train
            )
            maps.append(x)
        return tuple(maps)
