"""ResNet-50 and VGG-16 as extractors of five feature maps f1..f5; Res2Net has a file of its own.

Their convolutions and norms are those of the pre-trained ImageNet networks, without the classifier.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from cosup_jax.models.layers import ConvNorm, Policy, kernel_init

Maps = tuple[jax.Array, ...]


class Bottleneck(nn.Module):
    """The block of ResNet-50: 1×1, 3×3 and 1×1 convolutions and a shortcut, ReLU after the sum.

    Attributes:
      planes: channels inside; the output has four times as many.
      stride: step of the 3×3 convolution and of the shortcut.
      first: whether the block opens its layer; only then the shortcut has a convolution.
      policy: types and normalisation.
    """

    planes: int
    stride: int = 1
    first: bool = False
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H / stride, W / stride, 4 · planes)."""
        policy = self.policy
        y = ConvNorm(self.planes, 1, policy=policy, name="conv1")(x, train)
        y = ConvNorm(self.planes, 3, self.stride, policy=policy, name="conv2")(y, train)
        y = ConvNorm(4 * self.planes, 1, relu=False, policy=policy, name="conv3")(y, train)
        if self.first:
            x = ConvNorm(
                4 * self.planes, 1, self.stride, relu=False, policy=policy, name="shortcut"
            )(x, train)
        return nn.relu(x + y)


class Layer(nn.Module):
    """The blocks of one resolution, the first of which may halve it.

    Attributes:
      block: class of the blocks, with the attributes of `Bottleneck`.
      planes: channels inside the blocks.
      blocks: number of blocks.
      stride: step of the first block.
      policy: types and normalisation.
    """

    block: Callable[..., nn.Module]
    planes: int
    blocks: int
    stride: int = 1
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H / stride, W / stride, 4 · planes)."""
        for i in range(self.blocks):
            first = i == 0
            stride = self.stride if first else 1
            x = self.block(self.planes, stride, first, self.policy, name=f"block{i}")(x, train)
        return x


def residual_layers(
    block: Callable[..., nn.Module],
    stem: jax.Array,
    blocks: tuple[int, ...],
    policy: Policy,
    train: bool,
) -> Maps:
    """Max-pools the stem and runs `layer1` to `layer4`; called inside a compact method.

    Args:
      block: class of the blocks, with the attributes of `Bottleneck`.
      stem: (B, H / 2, W / 2, width).
      blocks: number of blocks of each layer.
      policy: types and normalisation.
      train: see `Policy.norm`.

    Returns:
      f1..f5 with 1, 4, 8, 16, 32 times `width` channels at 1/4, 1/4, 1/8, 1/16, 1/32.
    """
    maps = [nn.max_pool(stem, (3, 3), (2, 2), padding=((1, 1), (1, 1)))]
    for i, number in enumerate(blocks):
        planes, stride = stem.shape[-1] << i, 1 if i == 0 else 2
        layer = Layer(block, planes, number, stride, policy, name=f"layer{i + 1}")
        maps.append(layer(maps[-1], train))
    return tuple(maps)


class ResNet(nn.Module):
    """ResNet-50 in torchvision's form, where the 3×3 convolution of a block has the stride.

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
        """Maps (B, H, W, 3) to f1..f5, as `residual_layers` describes them."""
        stem = ConvNorm(self.width, 7, 2, policy=self.policy, name="stem")(x, train)
        return residual_layers(Bottleneck, stem, self.blocks, self.policy, train)


class VGG(nn.Module):
    """VGG-16 without batch normalisation, its convolutions with biases.

    As in Inf-Net's release, 2×2 average pooling stands between the blocks, where the network that
    was trained on ImageNet has max pooling.

    Attributes:
      width: channels of f1.
      blocks: 3×3 convolutions of the five blocks.
      policy: types; nothing is normalised.
    """

    width: int = 64
    blocks: tuple[int, ...] = (2, 2, 3, 3, 3)
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> Maps:
        """Maps (B, H, W, 3) to f1..f5 with 1, 2, 4, 8, 8 times `width` channels at 1..1/16."""
        maps: list[jax.Array] = []
        for i, number in enumerate(self.blocks):
            if maps:
                x = nn.avg_pool(x, (2, 2), (2, 2))
            for j in range(number):
                x = nn.relu(
                    nn.Conv(
                        self.width << min(i, 3),
                        (3, 3),
                        padding=1,
                        dtype=self.policy.dtype,
                        kernel_init=kernel_init,
                        name=f"block{i + 1}_conv{j + 1}",
                    )(x)
                )
            maps.append(x)
        return tuple(maps)
