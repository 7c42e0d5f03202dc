"""ESM and ASSM: the heads that supervise single stages (Sections 3.2, 3.3; Figure 3).

Both have the same form and differ in the target alone: the edge of the mask (Eq. 1) or the mask
itself (Eq. 2).
"""

import flax.linen as nn
import jax

from cosup_jax.models.layers import ConvWeights, pointwise
from cosup_jax.models.resizing import resize


class SupervisionHeads(nn.Module):
    """Turns each of the chosen stages into one map of logits at the size of the image.

    The paper resizes a stage to H × W and then reduces it to one channel by a 1×1 convolution.
    Here the convolution comes first. The result is exactly the same: the convolution mixes channels
    at one place, the resize mixes places within one channel, so their order does not matter, and
    neither does the bias, because the weights of an interpolation sum to one. But what is resized
    has 1 channel instead of up to 512.

    Attributes:
      levels: the supervised stages, counted from 1.
      prefix: `stage` on the encoder (S_i), `level` on the decoder (X_i); the kernel and bias of a
        head are found under `{prefix}{i}`.
      classes: logits of a pixel.
    """

    levels: tuple[int, ...]
    prefix: str = "stage"
    classes: int = 1

    @nn.compact
    def __call__(self, maps: tuple[jax.Array, ...], size: tuple[int, int]) -> tuple[jax.Array, ...]:
        """Maps five (B, h_i, w_i, C_i) maps to one (B, `*size`, classes) float32 map per head."""
        logits = []
        for i in self.levels:
            stage = maps[i - 1]
            kernel, bias = ConvWeights(stage.shape[-1], self.classes, name=f"{self.prefix}{i}")()
            logits.append(resize(pointwise(stage, kernel[0, 0], bias), size))
        return tuple(logits)
