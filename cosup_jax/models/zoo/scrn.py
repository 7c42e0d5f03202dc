"""SCRN, whose maps of the object and of its edge refine each other.

Wu, Su, Huang: Stacked Cross Refinement Network for Edge-Aware Salient Object Detection, ICCV 2019.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import ConvNorm, Policy
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import double_aligned, resize_aligned
from cosup_jax.models.zoo.comparator import Comparator, at_image, predict

Maps = list[jax.Array]


class _Convs(nn.Module):
    """Convolutions with norms and without ReLU, one after the other; `kernels` are their sides."""

    features: int
    kernels: tuple[int, ...]
    policy: Policy

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for i, k in enumerate(self.kernels):
            conv = ConvNorm(self.features, k, relu=False, policy=self.policy, name=f"conv{i}")
            x = conv(x, train)
        return x


class CrossRefinement(nn.Module):
    """One unit: s_i + F_i([s_i, e_i, deeper e]) and e_i + G_i(e_i · s_i · deeper s), i = 1..4.

    Deeper maps are resized and have a 1×1 convolution each. Both see the s and e that came in. The
    products are taken in float32.

    Attributes:
      policy: types and normalisation.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, s: Maps, e: Maps, train: bool) -> tuple[Maps, Maps]:
        """Maps four s and four e, (B, h_i, w_i, C) from fine to coarse, to such."""
        features = s[0].shape[-1]

        def deeper(maps: Maps, i: int, which: str) -> Maps:
            size = (maps[i].shape[1], maps[i].shape[2])
            return [
                _Convs(features, (1,), self.policy, name=f"{which}{j + 1}_to{i + 1}")(
                    resize_aligned(maps[j], size), train
                )
                for j in range(i + 1, 4)
            ]

        new_s, new_e = [], []
        for i in range(4):
            joined = jnp.concatenate([s[i], e[i], *deeper(e, i, "e")], axis=-1)
            conv = _Convs(features, (3, 3), self.policy, name=f"s{i + 1}")
            new_s.append(s[i] + conv(joined, train))
            product = e[i].astype(jnp.float32)
            for other in (s[i], *deeper(s, i, "s")):
                product = product * other.astype(jnp.float32)
            conv = _Convs(features, (3, 3), self.policy, name=f"e{i + 1}")
            new_e.append(e[i] + conv(product.astype(e[i].dtype), train))
        return new_s, new_e


class Decoder(nn.Module):
    """Four maps joined from the coarsest to the finest, and a logit.

    Attributes:
      policy: types and normalisation.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, maps: Maps, train: bool) -> jax.Array:
        """Maps four (B, h_i, w_i, C), each half as large as the last, to (B, h_1, w_1, 1)."""
        features = maps[0].shape[-1]

        def convs(wide: int, kernels: tuple[int, ...], name: str) -> _Convs:
            return _Convs(wide, kernels, self.policy, name=name)

        y = maps[3]
        for i in (3, 2, 1):
            up = convs(features, (3,), f"up{i}")(double_aligned(y), train)
            y = jnp.concatenate([maps[i - 1], up], axis=-1)
            y = convs(2 * features, (3,), f"wide{i}")(y, train)
            y = convs(features, (1,), f"narrow{i}")(y, train)
        return predict(convs(features, (3,), "last")(y, train), 1, "predict")


class SCRN(Comparator):
    """SCRN with ResNet-50. There is no ReLU behind the backbone.

    Kernels are drawn as in the authors' code, normal with a deviation of 0.01: with larger ones the
    products overflow where batch statistics are still the initial ones.

    Attributes:
      units: how often the maps refine each other.
    """

    units: int = 4

    initial: ClassVar[str] = "normal_0.01"
    edge_stages: ClassVar[tuple[str, ...]] = ("Se",)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch, and those of the edge.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 32 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Raises:
          ValueError: 32 does not divide H or W; the message says what to pad to.
        """
        policy = self.policy
        _, *maps = self.features(x, train)

        def reduced(which: str) -> Maps:
            return [
                _Convs(self.width // 2, (1, 3, 3), policy, name=f"reduce_{which}{i}")(f, train)
                for i, f in enumerate(maps, 1)
            ]

        s, e = reduced("s"), reduced("e")
        for i in range(1, self.units + 1):
            s, e = CrossRefinement(policy, name=f"unit{i}")(s, e, train)
        logits, edge = (
            Decoder(policy, name=f"decoder_{which}")(maps, train)
            for which, maps in (("s", s), ("e", e))
        )
        return at_image(SegOutput(logits, (edge,)), (x.shape[1], x.shape[2]))
