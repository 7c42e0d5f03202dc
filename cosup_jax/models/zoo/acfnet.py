"""ACFNet, which shows each pixel the centres of the classes it may belong to.

Zhang et al.: ACFNet: Attentional Class Feature Network for Semantic Segmentation, ICCV 2019.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.layers import ConvNorm, ConvWeights, Dropout, Policy, pointwise
from cosup_jax.models.output import SegOutput
from cosup_jax.models.zoo.comparator import AtrousPyramid, Comparator, Head, at_image, predict

RATES = (12, 24, 36)
LEAK = 0.01  # of the last activation


def class_centres(probabilities: jax.Array, features: jax.Array) -> jax.Array:
    """Returns for each pixel its classes' mean features: Σ_n P_n(p) (Σ_q P_n(q) F(q) / Σ_q P_n(q)).

    Args:
      probabilities: (B, h, w, N) float32, whose sum over N is 1.
      features: (B, h, w, C).

    Returns:
      (B, h, w, C) float32.
    """
    b, h, w, n = probabilities.shape
    p = probabilities.reshape(b, h * w, n)
    f = features.astype(jnp.float32).reshape(b, h * w, -1)
    centres = jnp.einsum("bpn,bpc->bnc", p, f) / (p.sum(1)[..., None] + 1e-12)
    return jnp.einsum("bpn,bnc->bpc", p, centres).reshape(b, h, w, -1)


class ClassFeatures(nn.Module):
    """ACF: features of 1×1 convolution, replaced at each pixel by its `class_centres`.

    Attributes:
      features: channels.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, coarse: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) and coarse logits (B, h, w, 1) to (B, h, w, features)."""
        x = ConvNorm(self.features, 1, policy=self.policy, name="conv")(x, train)
        x = Dropout(0.2, True, self.policy, name="dropout")(x, train)
        p = nn.sigmoid(coarse)
        seen = class_centres(jnp.concatenate([1 - p, p], axis=-1), x).astype(x.dtype)
        kernel, bias = ConvWeights(self.features, self.features, name="out")()
        return pointwise(seen, kernel[0, 0], bias).astype(x.dtype)


class ACFNet(Comparator):
    """ACFNet with the class centres of the paper, over infection and background.

    The paper's authors have published no code. The sizes are those of the one public
    re-implementation, without its channel attention in the backbone. Its centres are not the
    paper's: it takes a softmax over channels of what DANet's channel attention would, and raw
    logits in place of probabilities.

    Attributes:
      backbone: `resnet101` or `resnet50`.
      deep: whether the stem is three 3×3 convolutions.
    """

    backbone: str = "resnet101"
    deep: bool = True

    backbones: ClassVar[tuple[str, ...]] = ("resnet101", "resnet50")
    multiple: ClassVar[int] = 8
    mask_stages: ClassVar[tuple[str, ...]] = ("coarse", "C3")

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch: fine, coarse, and of the third layer.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 8 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch, and
            whether there is dropout.

        Raises:
          ValueError: 8 does not divide H or W; the message says what to pad to.
        """
        policy, wide = self.policy, 8 * self.width
        *_, c3, c4 = self.features(x, train, deep=self.deep, output_stride=8)
        pyramid = AtrousPyramid(wide, RATES, policy, name="aspp")(c4, train)
        y = ConvNorm(wide, 1, policy=policy, name="coarse_in")(pyramid, train)
        y = Dropout(0.5, True, policy, name="coarse_dropout")(y, train)
        coarse = Head(wide, policy=policy, name="coarse")(y, train)
        auxiliary = Head(4 * self.width, policy=policy, name="auxiliary")(c3, train)
        acf = ClassFeatures(wide, policy, name="acf")(pyramid, coarse, train)
        y = jnp.concatenate([acf, pyramid], axis=-1)
        y = ConvNorm(2 * wide, relu=False, policy=policy, name="fine")(y, train)
        y = Dropout(0.1, True, policy, name="fine_dropout")(nn.leaky_relu(y, LEAK), train)
        output = SegOutput(predict(y, 1, "predict"), mask_logits=(coarse, auxiliary))
        return at_image(output, (x.shape[1], x.shape[2]))
