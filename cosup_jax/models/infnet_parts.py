"""The parts of Inf-Net after its backbone (Section III-A of its paper).

Where the paper leaves a size open, it is that of the authors' release. A convolution is followed by
batch normalisation and has no ReLU unless said; the release's `BasicConv2d` owns one it never
applies. Maps of logits are float32.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import (
    ConvNorm,
    ConvWeights,
    Policy,
    pointwise,
)
from cosup_jax.models.resizing import double_aligned, resize


class EdgeAttention(nn.Module):
    """EA: 1×1 and two 3×3 convolutions give the edge features e_att, one more the edge map S_e.

    Attributes:
      features: channels of e_att.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, f2: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Maps f2, (B, h, w, C), to e_att, (B, h, w, features), and S_e, (B, h, w, 1) float32."""
        x = f2
        for i, kernel in enumerate((1, 3, 3), 1):
            x = _conv(self.features, kernel, self.policy, f"conv{i}")(x, train)
        return x, _conv(1, 3, self.policy, "predict")(x, train).astype(jnp.float32)


class ReceptiveFieldBlock(nn.Module):
    """Four branches with growing receptive fields, concatenated, and a 1×1 shortcut; then ReLU.

    Branch 0 is a 1×1 convolution. Those of k = 3, 5, 7 go on with 1×k, k×1 and a 3×3 of dilation k.

    Attributes:
      features: output channels.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) to (B, h, w, features)."""
        branches = [_conv(self.features, 1, self.policy, "branch0")(x, train)]
        for i, k in enumerate((3, 5, 7), 1):
            y = _conv(self.features, 1, self.policy, f"branch{i}_reduce")(x, train)
            y = _conv(self.features, (1, k), self.policy, f"branch{i}_row")(y, train)
            y = _conv(self.features, (k, 1), self.policy, f"branch{i}_column")(y, train)
            y = _conv(self.features, 3, self.policy, f"branch{i}_dilated", dilation=k)(y, train)
            branches.append(y)
        y = _conv(self.features, 3, self.policy, "join")(jnp.concatenate(branches, -1), train)
        return nn.relu(y + _conv(self.features, 1, self.policy, "shortcut")(x, train))


class PartialDecoder(nn.Module):
    """PPD: S_g from the three deep maps, the deeper multiplied into the shallower (Wu et al. 2019).

    Attributes:
      policy: types and normalisation.
    """

    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x3: jax.Array, x4: jax.Array, x5: jax.Array, train: bool) -> jax.Array:
        """Maps x3, (B, h, w, C), x4 at half and x5 at a quarter of it to S_g, (B, h, w, 1)."""

        def conv(x: jax.Array, name: str) -> jax.Array:
            return _conv(x.shape[-1], 3, self.policy, name)(x, train)

        up = double_aligned
        y4 = x4 * conv(up(x5), "up5_to4")
        # Twice ×2, as released; with aligned corners this is not once ×4.
        y3 = x3 * conv(up(up(x5)), "up5_to3") * conv(up(x4), "up4_to3")
        y4 = conv(jnp.concatenate([y4, conv(up(x5), "up5_join")], -1), "join4")
        y3 = conv(jnp.concatenate([y3, conv(up(y4), "up4_join")], -1), "join3")
        return head(conv(y3, "conv"), "predict")


def head(x: jax.Array, name: str) -> jax.Array:
    """Convolves (B, h, w, C) by 1×1 to (B, h, w, 1) float32 logits; called in a compact method."""
    kernel, bias = ConvWeights(x.shape[-1], 1, name=name)()
    return pointwise(x, kernel[0, 0], bias)


class ReverseAttention(nn.Module):
    """RA: refines the next deeper map where that has not found infection yet (Eqs. 2, 3).

    The weight is A_i = 1 − σ(S_{i+1}). After publication the authors corrected Eq. 2: the weighted
    feature f_i ⊙ A_i is concatenated with e_att, and C is the convolutions over both, each with a
    ReLU. As printed, R_i = C(f_i, Dow(e_att)) ⊙ A_i. In both forms f_i has been reduced to
    `features` channels before the concatenation, and a last convolution of R_i plus S_{i+1} is S_i.

    Attributes:
      features: channels of R_i.
      kernel: side of the convolutions over both.
      convs: their number.
      predict_kernel: side of the last convolution.
      reverse_after_concat: whether A_i is applied where Eq. 2 has it in print.
      policy: types and normalisation.
    """

    features: int
    kernel: int = 3
    convs: int = 2
    predict_kernel: int = 3
    reverse_after_concat: bool = False
    policy: Policy = Policy()

    @nn.compact
    def __call__(
        self, f: jax.Array, deeper: jax.Array, e_att: jax.Array | None, train: bool
    ) -> jax.Array:
        """Computes S_i.

        Args:
          f: f_i, (B, h, w, C).
          deeper: S_{i+1} of any size, (B, …, …, 1) float32 logits; S_6 is S_g.
          e_att: edge features of any size, or None to do without.
          train: see `Policy.norm`.

        Returns:
          (B, h, w, 1) float32 logits.
        """
        size = (f.shape[1], f.shape[2])
        deeper = resize(deeper, size)
        a = nn.sigmoid(-deeper).astype(f.dtype)  # 1 − σ(S)
        x = f if self.reverse_after_concat else f * a
        x = _conv(self.features, 1, self.policy, "reduce")(x, train)
        if e_att is not None:
            x = jnp.concatenate([x, resize(e_att, size)], axis=-1)
        for i in range(1, self.convs + 1):
            x = nn.relu(_conv(self.features, self.kernel, self.policy, f"conv{i}")(x, train))
        if self.reverse_after_concat:
            x = x * a
        s = _conv(1, self.predict_kernel, self.policy, "predict")(x, train)
        return s.astype(jnp.float32) + deeper


def _conv(
    features: int, kernel: int | tuple[int, int], policy: Policy, name: str, dilation: int = 1
) -> ConvNorm:
    return ConvNorm(features, kernel, relu=False, policy=policy, dilation=dilation, name=name)
