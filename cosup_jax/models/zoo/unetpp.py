"""U-Net++, nested U-Nets of all depths that share their encoder.

Zhou, Rahman Siddiquee, Tajbakhsh, Liang: UNet++: A Nested U-Net Architecture for Medical Image
Segmentation, DLMIA 2018.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.fusion import TopProjection
from cosup_jax.models.layers import DoubleConv, Policy, check_image
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import resize
from cosup_jax.models.supervision import SupervisionHeads
from cosup_jax.models.zoo.unet import DOWNSAMPLING, Encoder


class UNetPP(nn.Module):
    """U-Net++: nodes X^{i,j}, level i (0 at the top) and column j, densely connected (Eq. 1).

    X^{i,0} is the encoder. X^{i,j} sees all nodes to its left on its level and the up-sampled
    X^{i+1,j−1}; X^{0,4} makes the prediction. Up-sampling is bilinear, as in the common
    re-implementations; the authors' Keras code has transposed convolutions.

    Attributes:
      width: channels of level 0; 32, as in the paper, doubling to 512 at the bottom.
      deep_supervision: whether X^{0,1}..X^{0,3} are supervised by the mask too. The paper gives the
        four outputs equal weight and can average them; here X^{0,4} alone is the prediction, and
        the joint loss weighs the other three by β ω_i.
      dtype: type of the computation; parameters, batch statistics and logits stay float32.
      axis_name: device axis over which batch statistics are averaged in training, or None.
    """

    width: int = 32
    deep_supervision: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    multiple: ClassVar[int] = DOWNSAMPLING  # of the image's sides
    edge_stages: ClassVar[tuple[str, ...]] = ()

    @property
    def mask_stages(self) -> tuple[str, ...]:
        """Names of the nodes behind `SegOutput.mask_logits`, in its order."""
        return ("X0,1", "X0,2", "X0,3") if self.deep_supervision else ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) normalised images of a floating type; 16 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Raises:
          ValueError: 16 does not divide H or W; the message says what to pad to.
        """
        check_image(x, self.multiple)
        size = (x.shape[1], x.shape[2])
        policy = Policy(self.dtype, self.axis_name)
        stages = Encoder(self.width, policy, name="encoder")(x.astype(self.dtype), train)
        levels = [[stage] for stage in stages]  # levels[i][j] is X^{i,j}
        for j in range(1, 5):
            for i in range(5 - j):
                below = resize(levels[i + 1][j - 1], (size[0] >> i, size[1] >> i))
                node = DoubleConv(self.width << i, policy, name=f"x{i}_{j}")
                levels[i].append(node(jnp.concatenate([*levels[i], below], axis=-1), train))
        _, *supervised, last = levels[0]
        mask_logits: tuple[jax.Array, ...] = ()
        if self.deep_supervision:
            mask_logits = SupervisionHeads((1, 2, 3), "x0_", name="heads")(tuple(supervised), size)
        return SegOutput(TopProjection(name="top")((last,), size), mask_logits=mask_logits)
