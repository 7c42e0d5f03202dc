"""F3Net, two decoders of which the second gets back what the first has found.

Wei, Wang, Huang: F³Net: Fusion, Feedback and Focus for Salient Object Detection, AAAI 2020.
"""

from typing import ClassVar

import flax.linen as nn
import jax

from cosup_jax.models.backbones import Maps
from cosup_jax.models.layers import ConvNorm, Policy
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import resize
from cosup_jax.models.zoo.comparator import Comparator, predict_3


class CrossFeature(nn.Module):
    """CFM: a fine map and a coarser one, each with its own features and what both share.

    Attributes:
      policy: types and normalisation.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, left: jax.Array, down: jax.Array, train: bool) -> tuple[jax.Array, ...]:
        """Maps (B, h, w, C) and (B, …, …, C) to two of (B, h, w, C)."""

        def conv(x: jax.Array, name: str) -> jax.Array:
            return ConvNorm(left.shape[-1], policy=self.policy, name=name)(x, train)

        down = resize(down, (left.shape[1], left.shape[2]))
        h1, v1 = conv(left, "conv1h"), conv(down, "conv1v")
        fused = conv(h1, "conv2h") * conv(v1, "conv2v")
        h3, v3 = conv(fused, "conv3h") + h1, conv(fused, "conv3v") + v1
        return conv(h3, "conv4h"), conv(v3, "conv4v")


class Decoder(nn.Module):
    """From the coarsest of four maps to the finest; a map fed back is added to each first.

    Attributes:
      policy: types and normalisation.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, maps: Maps, feedback: jax.Array | None, train: bool) -> Maps:
        """Maps x2..x5, (B, h_i, w_i, C), and p of x2's size to the next x2..x5 and p."""
        if feedback is not None:
            maps = tuple(x + resize(feedback, (x.shape[1], x.shape[2])) for x in maps)
        x2, x3, x4, x5 = maps
        x4, v = CrossFeature(self.policy, name="cfm45")(x4, x5, train)
        x3, v = CrossFeature(self.policy, name="cfm34")(x3, v, train)
        x2, p = CrossFeature(self.policy, name="cfm23")(x2, v, train)
        return x2, x3, x4, x5, p


class F3Net(Comparator):
    """F3Net with ResNet-50, supervised at six maps, of which the second decoder's p predicts."""

    mask_stages: ClassVar[tuple[str, ...]] = ("p1", "x2", "x3", "x4", "x5")

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
        _, *deep = self.features(x, train)
        maps: Maps = tuple(
            ConvNorm(self.width, 1, policy=policy, name=f"squeeze{i}")(f, train)
            for i, f in enumerate(deep, 2)
        )
        *maps_1, p1 = Decoder(policy, name="decoder1")(maps, None, train)
        *maps_2, p2 = Decoder(policy, name="decoder2")(tuple(maps_1), p1, train)
        size = (x.shape[1], x.shape[2])
        heads = [("p2", p2), ("p1", p1), *((f"x{i}", m) for i, m in enumerate(maps_2, 2))]
        logits, *masks = (resize(predict_3(m, 1, f"predict_{name}"), size) for name, m in heads)
        return SegOutput(logits, mask_logits=tuple(masks))
