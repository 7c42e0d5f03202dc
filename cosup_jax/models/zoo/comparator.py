"""What the comparators with a ResNet share: their settings, and parts that several of them have."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.backbones import RESNETS, Maps, ResNet
from cosup_jax.models.imagenet import imagenet_channels
from cosup_jax.models.layers import ConvNorm, ConvWeights, Dropout, Policy, check_image, pointwise
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import resize_aligned

ASPP_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}  # by output stride


class Comparator(nn.Module):
    """A network that begins with a ResNet, as pre-trained on ImageNet.

    It takes grey values in 0..1, and makes of them three channels in ImageNet's normalisation. The
    channels behind the backbone are in proportion to `width`. Convolutions that the authors give
    biases and then normalise have none here.

    Attributes:
      backbone: one of the class's `backbones`.
      width: channels of the backbone's first layer; 64 in the published networks.
      blocks: blocks of the backbone's layers; () for the published ones.
      dtype: type of the computation; parameters, batch statistics and logits stay float32.
      axis_name: device axis over which batch statistics are averaged in training, or None.

    Raises:
      ValueError: a setting is outside what is described here.
    """

    backbone: str = "resnet50"
    width: int = 64
    blocks: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    axis_name: str | None = None

    backbones: ClassVar[tuple[str, ...]] = ("resnet50",)
    multiple: ClassVar[int] = 32  # of the image's sides
    smallest: ClassVar[int] = 0  # that the image's sides may be
    edge_stages: ClassVar[tuple[str, ...]] = ()
    mask_stages: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuses settings that describe no network."""
        if self.backbone not in self.backbones:
            known = ", ".join(self.backbones)
            raise ValueError(f"backbone is {self.backbone!r}, expected one of {known}")
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width is {self.width}, expected a multiple of 4")
        published = RESNETS[self.backbone][1]
        object.__setattr__(self, "blocks", tuple(self.blocks) or published)
        if len(self.blocks) != len(published) or min(self.blocks) < 1:
            raise ValueError(
                f"blocks is {self.blocks}, expected {len(published)} numbers of at least 1, or () "
                f"for {published}"
            )
        super().__post_init__()

    @property
    def policy(self) -> Policy:
        """Types and normalisation."""
        return Policy(self.dtype, self.axis_name)

    def features(self, x: jax.Array, train: bool, **settings: Any) -> Maps:
        """Returns the backbone's maps f1..f5 of (B, H, W, 1) grey values.

        Args:
          x: the images.
          train: see `Policy.norm`.
          **settings: the attributes of `ResNet` that are not said by those here.

        Raises:
          ValueError: `multiple` does not divide H or W, or one is below `smallest`; the message
            says what to pad to.
        """
        check_image(x, self.multiple, self.smallest)
        block, _ = RESNETS[self.backbone]
        backbone = ResNet(self.width, self.blocks, self.policy, block, **settings, name="backbone")
        return backbone(imagenet_channels(x).astype(self.dtype), train)


def predict(x: jax.Array, classes: int, name: str) -> jax.Array:
    """Convolves (B, h, w, C) by 1×1 to (B, h, w, classes) float32; called in a compact method."""
    kernel, bias = ConvWeights(x.shape[-1], classes, name=name)()
    return pointwise(x, kernel[0, 0], bias)


def predict_3(x: jax.Array, classes: int, name: str) -> jax.Array:
    """The same by 3×3, padded to keep the size."""
    kernel, bias = ConvWeights(x.shape[-1], classes, 3, name=name)()
    y = jax.lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (1, 1),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        preferred_element_type=jnp.float32,
    )
    return y + bias[None, None, None]


class Head(nn.Module):
    """A convolution with ReLU, dropout and a 1×1 convolution to logits.

    Attributes:
      features: channels between.
      classes: logits of a pixel.
      rate: of dropping a channel.
      policy: types and normalisation.
    """

    features: int
    classes: int = 1
    rate: float = 0.1
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) to (B, h, w, classes) float32."""
        x = ConvNorm(self.features, policy=self.policy, name="conv")(x, train)
        x = Dropout(self.rate, True, self.policy, name="dropout")(x, train)
        return predict(x, self.classes, "predict")


class AtrousPyramid(nn.Module):
    """ASPP: what a map shows at a pixel, around it at three distances, and on the whole.

    Attributes:
      features: channels of each of the five branches.
      rates: dilations of the three 3×3 convolutions.
      policy: types and normalisation.
    """

    features: int
    rates: tuple[int, ...] = ASPP_RATES[16]
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) to (B, h, w, 5 · features), the mean of the map last."""
        branches = [ConvNorm(self.features, 1, policy=self.policy, name="branch0")(x, train)]
        for i, rate in enumerate(self.rates, 1):
            conv = ConvNorm(self.features, policy=self.policy, dilation=rate, name=f"branch{i}")
            branches.append(conv(x, train))
        mean = x.mean((1, 2), keepdims=True)
        mean = ConvNorm(self.features, 1, policy=self.policy, name="pool")(mean, train)
        branches.append(jnp.broadcast_to(mean, branches[0].shape))
        return jnp.concatenate(branches, axis=-1)


def at_image(output: SegOutput, size: tuple[int, int]) -> SegOutput:
    """Resizes all logits to the image's (height, width), corners aligned."""
    return jax.tree.map(lambda logits: resize_aligned(logits, size), output)
