"""ResNet and VGG-16 as extractors of five feature maps f1..f5; Res2Net has a file of its own.

Their convolutions and norms are those of the pre-trained ImageNet networks, without the classifier.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from cosup_jax.models.layers import ConvNorm, Policy, ResidualBlock, kernel_init

Maps = tuple[jax.Array, ...]
# name → block and blocks of the published network
RESNETS: dict[str, tuple[str, tuple[int, ...]]] = {
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
}


class Bottleneck(nn.Module):
    """The block of ResNet-50: 1×1, 3×3 and 1×1 convolutions and a shortcut, ReLU after the sum.

    Attributes:
      planes: channels inside; the output has four times as many.
      stride: step of the 3×3 convolution and of the shortcut.
      first: whether the block opens its layer; only then the shortcut has a convolution.
      policy: types and normalisation.
      dilation: of the 3×3 convolution.
    """

    planes: int
    stride: int = 1
    first: bool = False
    policy: Policy = Policy()
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H / stride, W / stride, 4 · planes)."""
        policy, dilation = self.policy, self.dilation
        y = ConvNorm(self.planes, 1, policy=policy, name="conv1")(x, train)
        y = ConvNorm(self.planes, 3, self.stride, policy=policy, dilation=dilation, name="conv2")(
            y, train
        )
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
      dilations: one for each block; () for blocks that know of none.
    """

    block: Callable[..., nn.Module]
    planes: int
    blocks: int
    stride: int = 1
    policy: Policy = Policy()
    dilations: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H / stride, W / stride, D), as the blocks do."""
        for i in range(self.blocks):
            first = i == 0
            stride = self.stride if first else 1
            dilated = {"dilation": self.dilations[i]} if self.dilations else {}
            block = self.block(self.planes, stride, first, self.policy, name=f"block{i}", **dilated)
            x = block(x, train)
        return x


def max_pool_3(x: jax.Array) -> jax.Array:
    """Maps (B, H, W, C) to the maxima of 3×3 pixels around every second one, as ResNets begin."""
    return nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))


def _basic(
    planes: int, stride: int, first: bool, policy: Policy, dilation: int, name: str
) -> ResidualBlock:
    """Returns the block of ResNet-34; its shortcut has a convolution where the shape changes."""
    return ResidualBlock(planes, stride, policy, dilation, name=name)


class ResNet(nn.Module):
    """ResNet in torchvision's form, where the 3×3 convolution of a bottleneck has the stride.

    At an output stride of 16 or 8 the last layers keep the resolution and dilate their 3×3
    convolutions by 2 and 4 instead. Which dilation the first block of such a layer has differs
    from code to code, with the same parameters.

    Attributes:
      width: channels of f1; with a deep stem f1 has twice as many.
      blocks: blocks of the four layers.
      policy: types and normalisation.
      block: `basic` (ResNet-34) or `bottleneck` (ResNet-50, -101).
      deep: whether the stem is three 3×3 convolutions of 1, 1 and 2 times `width`, not one of 7×7.
      output_stride: 32, 16 or 8, how far f5 is shrunk.
      first_dilation: `own` where the first block of a layer has the layer's dilation, `previous`
        where it has that of the layer before.
      multi_grid: factors of the dilations in the blocks of the last layer, repeated where it has
        more blocks; () for none. With them the first block has its own.
    """

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    policy: Policy = Policy()
    block: str = "bottleneck"
    deep: bool = False
    output_stride: int = 32
    first_dilation: str = "own"
    multi_grid: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> Maps:
        """Maps (B, H, W, 3) to f1..f5.

        Returns:
          The stem's map at 1/2, before it is max-pooled, and the four layers' at 1/4, 1/8, 1/16 and
          1/32, none smaller than 1 / `output_stride`, with 1, 2, 4 and 8 times `width` channels, of
          bottlenecks four times as many.
        """
        maps = [self._stem(x, train)]
        x = max_pool_3(maps[0])
        block: Callable[..., nn.Module] = Bottleneck if self.block == "bottleneck" else _basic
        for i, (stride, dilations) in enumerate(self._layers()):
            layer = Layer(
                block,
                self.width << i,
                self.blocks[i],
                stride,
                self.policy,
                dilations,
                name=f"layer{i + 1}",
            )
            x = layer(x, train)
            maps.append(x)
        return tuple(maps)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        if not self.deep:
            return ConvNorm(self.width, 7, 2, policy=self.policy, name="stem")(x, train)
        for i, (factor, stride) in enumerate(((1, 2), (1, 1), (2, 1))):
            x = ConvNorm(factor * self.width, 3, stride, policy=self.policy, name=f"stem{i}")(
                x, train
            )
        return x

    def _layers(self) -> list[tuple[int, tuple[int, ...]]]:
        """Returns of each layer its stride and the dilations of its blocks."""
        layers, shrunk, dilation = [], 4, 1
        for i, number in enumerate(self.blocks):
            stride, previous = (1 if i == 0 else 2), dilation
            if stride * shrunk > self.output_stride:
                dilation, stride = dilation * stride, 1
            shrunk *= stride
            dilations = [dilation] * number
            if i == 3 and self.multi_grid:
                grid = self.multi_grid
                dilations = [dilation * grid[j % len(grid)] for j in range(number)]
            elif self.first_dilation == "previous":
                dilations[0] = previous
            layers.append((stride, tuple(dilations)))
        return layers


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
