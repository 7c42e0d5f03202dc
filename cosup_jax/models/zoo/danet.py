"""DANet, attention between all places of a map and between all its channels.

Fu et al.: Dual Attention Network for Scene Segmentation, CVPR 2019.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import ConvNorm, ConvWeights, Dropout, Policy, pointwise
from cosup_jax.models.output import SegOutput
from cosup_jax.models.zoo.comparator import Comparator, at_image, predict


def _gamma(module: nn.Module) -> jax.Array:
    """The factor of an attention, which starts at 0: at first a map passes unchanged."""
    gamma = module.param("gamma", nn.initializers.zeros, (1,), jnp.float32)
    return gamma[None, None]


class PositionAttention(nn.Module):
    """PAM: γ Σ_q softmax_q(Q_p · K_q) V_q + X_p over all places q (Eqs. 1, 2), without 1/√d.

    Attributes:
      policy: types.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, h, w, C) to the same shape."""
        b, h, w, c = x.shape

        def linear(features: int, name: str) -> jax.Array:
            kernel, bias = ConvWeights(c, features, name=name)()
            return pointwise(x, kernel[0, 0], bias).astype(x.dtype).reshape(b, h * w, features)

        query, key = linear(max(1, c // 8), "query"), linear(max(1, c // 8), "key")
        energy = jnp.einsum("bpc,bqc->bpq", query, key, preferred_element_type=jnp.float32)
        attention = nn.softmax(energy).astype(x.dtype)
        seen = jnp.einsum(
            "bpq,bqc->bpc", attention, linear(c, "value"), preferred_element_type=jnp.float32
        )
        added = (_gamma(self) * seen).astype(x.dtype)
        return added.reshape(x.shape) + x


class ChannelAttention(nn.Module):
    """CAM: γ Σ_j softmax_j(max_j E_ij − E_ij) X_j + X_i with E = X Xᵀ over all places.

    The paper's Eq. 3 has softmax(E); the authors' code turns likeness round, and is followed. E is
    a sum over all places, taken in float32.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, h, w, C) to the same shape."""
        flat = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
        energy = jnp.einsum("bpi,bpj->bij", flat, flat)
        attention = nn.softmax(energy.max(-1, keepdims=True) - energy)
        seen = jnp.einsum("bij,bpj->bpi", attention, flat)
        return (_gamma(self) * seen).astype(x.dtype).reshape(x.shape) + x


class DANet(Comparator):
    """DANet as its authors published it: plain stem, stride 8, multi-grid (1, 2, 4).

    Attributes:
      backbone: `resnet101` or `resnet50`.
      deep: whether the stem is three 3×3 convolutions.
      multi_grid: factors of the last layer's dilation 4; () for none.
    """

    backbone: str = "resnet101"
    deep: bool = False
    multi_grid: tuple[int, ...] = (1, 2, 4)

    backbones: ClassVar[tuple[str, ...]] = ("resnet101", "resnet50")
    multiple: ClassVar[int] = 8
    mask_stages: ClassVar[tuple[str, ...]] = ("PAM", "CAM")

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch: of both attentions' sum, and of each alone.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 8 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch, and
            whether there is dropout.

        Raises:
          ValueError: 8 does not divide H or W; the message says what to pad to.
        """
        policy, wide = self.policy, 8 * self.width
        *_, c4 = self.features(
            x,
            train,
            deep=self.deep,
            output_stride=8,
            first_dilation="previous",
            multi_grid=tuple(self.multi_grid),
        )
        a = ConvNorm(wide, policy=policy, name="pam_in")(c4, train)
        a = PositionAttention(policy, name="pam")(a)
        a = ConvNorm(wide, policy=policy, name="pam_out")(a, train)
        b = ConvNorm(wide, policy=policy, name="cam_in")(c4, train)
        b = ChannelAttention(name="cam")(b)
        b = ConvNorm(wide, policy=policy, name="cam_out")(b, train)
        logits = []
        for name, y in (("sum", a + b), ("pam", a), ("cam", b)):
            y = Dropout(0.1, True, policy, name=f"dropout_{name}")(y, train)
            logits.append(predict(y, 1, f"predict_{name}"))
        output = SegOutput(logits[0], mask_logits=tuple(logits[1:]))
        return at_image(output, (x.shape[1], x.shape[2]))
