"""ResUNet, the backbone: encoder S1..S5, bridge and decoder X5..X1 (Section 3.1, Figure 2).

The encoder is the authors' one: a 3×3 stem at full resolution instead of ResNet's 7×7 with stride,
2×2 max-pooling, then the four layers of ResNet-34.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import (
    ConvNorm,
    DoublingConv,
    Policy,
    ResidualBlock,
    light,
    max_pool,
)

Maps = tuple[jax.Array, ...]

DOWNSAMPLING = 16
_CHANNELS = (1, 1, 2, 4, 8)  # of S1..S5 in multiples of the width


class Stage(nn.Module):
    """Residual blocks of one resolution, the first of which may halve it.

    Attributes:
      features: output channels.
      blocks: number of residual blocks.
      stride: step of the first block.
      policy: types and normalisation.
      pool: whether 2×2 maxima are taken first.
    """

    features: int
    blocks: int
    stride: int
    policy: Policy = Policy()
    pool: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to half the resolution or, with neither pool nor stride, the same."""
        if self.pool:
            x = max_pool(x)
        for i in range(self.blocks):
            stride = self.stride if i == 0 else 1
            x = ResidualBlock(self.features, stride, self.policy, name=f"block{i}")(x, train)
        return x


class Encoder(nn.Module):
    """The down-sampling path S1..S5.

    Attributes:
      width: channels of S1; S2..S5 have 1, 2, 4, 8 times as many.
      blocks: residual blocks of S2..S5.
      policy: types and normalisation.
    """

    width: int
    blocks: tuple[int, ...]
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> Maps:
        """Maps (B, H, W, C) to S1..S5 at 1, 1/2, 1/4, 1/8 and 1/16 of the resolution."""
        x = light(ConvNorm, 2)(self.width, policy=self.policy, name="stage1")(x, train)
        maps = [x]
        for i, blocks in enumerate(self.blocks):
            features, first = _CHANNELS[i + 1] * self.width, i == 0
            stage = light(Stage, 2)(
                features, blocks, 1 if first else 2, self.policy, first, name=f"stage{i + 2}"
            )
            x = stage(x, train)
            maps.append(x)
        return tuple(maps)


class UpBlock(nn.Module):
    """2×2 transposed convolution, concatenation with the skip, two 3×3 ConvNorm.

    Attributes:
      features: output channels.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) and the skip (B, 2h, 2w, D) to (B, 2h, 2w, features)."""
        x = DoublingConv(self.features, self.policy, name="up")(x)
        x = jnp.concatenate([x, skip], axis=-1)
        x = ConvNorm(self.features, policy=self.policy, name="conv1")(x, train)
        return ConvNorm(self.features, policy=self.policy, name="conv2")(x, train)


class Decoder(nn.Module):
    """The up-sampling path X4..X1 above the bridge X5.

    Attributes:
      width: channels of X1 and X2; X3 and X4 have 2 and 4 times as many.
      policy: types and normalisation.
    """

    width: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, bridge: jax.Array, stages: Maps, train: bool) -> Maps:
        """Maps the bridge and S1..S5 to X1..X5, X1 at full resolution and X5 the bridge."""
        maps = [bridge]
        for level in (4, 3, 2, 1):
            features = _CHANNELS[level - 1] * self.width
            block = light(UpBlock, 3)(features, self.policy, name=f"level{level}")
            maps.append(block(maps[-1], stages[level - 1], train))
        return tuple(reversed(maps))
