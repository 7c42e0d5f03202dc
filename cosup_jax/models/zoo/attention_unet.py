"""Attention U-Net, a U-Net that weighs its skips by what the level below sees.

Oktay et al.: Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import ConvNorm, DoubleConv, Policy
from cosup_jax.models.resizing import resize
from cosup_jax.models.zoo.unet import UNet


class AttentionGate(nn.Module):
    """Additive attention gate: x̂ = α · x with α = σ(ψ(ReLU(W_x x + W_g g))) (Eqs. 1, 2).

    The gating signal g has the resolution of x, because it is taken after the up-sampling, and
    W_x, W_g and ψ are 1×1 convolutions followed by batch normalisation, whose shift is the paper's
    bias. Both are as in the common 2-D re-implementations; in the paper g is one level coarser,
    W_x strides down to it, and α is resized.

    Attributes:
      features: channels F_int between W_x, W_g and ψ.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, g: jax.Array, train: bool) -> jax.Array:
        """Weighs the skip x (B, H, W, C) by one coefficient per pixel, seen from g (B, H, W, D)."""

        def linear(features: int, name: str) -> ConvNorm:
            return ConvNorm(features, 1, relu=False, policy=self.policy, name=name)

        seen = linear(self.features, "w_x")(x, train) + linear(self.features, "w_g")(g, train)
        return x * nn.sigmoid(linear(1, "psi")(nn.relu(seen), train))


class AttentionUpBlock(nn.Module):
    """Up-sampling with a 3×3 ConvNorm, concatenation with the gated skip, DoubleConv.

    Attributes:
      features: output channels; the gate has half as many inside.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) and the skip (B, 2h, 2w, D) to (B, 2h, 2w, features)."""
        x = resize(x, (skip.shape[1], skip.shape[2]))
        x = ConvNorm(self.features, policy=self.policy, name="up")(x, train)
        gate = AttentionGate(max(1, self.features // 2), self.policy, name="gate")
        x = jnp.concatenate([x, gate(skip, x, train)], axis=-1)
        return DoubleConv(self.features, self.policy, name="double")(x, train)


class AttentionUNet(UNet):
    """U-Net with an attention gate on each of its four skips, in 2-D.

    Up-sampling is bilinear, as in the authors' (3-D) code, with a 3×3 convolution behind it, as in
    the common 2-D re-implementations, some of which repeat pixels instead; the parameters are the
    same. The paper leaves the skip of the highest resolution without a gate; they do not.

    The attributes are those of `UNet`.
    """

    up_block: ClassVar[type[nn.Module]] = AttentionUpBlock
