"""The losses that the comparators' authors train with: cross-entropy of several maps, and Dice.

With one logit, cross-entropy over two classes is `mean_cross_entropy`.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from cosup_jax.losses.cross_entropy import mean_cross_entropy
from cosup_jax.losses.joint import Weights, soft_dice, weighted_sum
from cosup_jax.losses.maps import as_truth, check_maps

if TYPE_CHECKING:
    from cosup_jax.models.output import SegOutput

Parts = dict[str, jax.Array]


def maps_cross_entropy_loss(
    output: "SegOutput",
    mask: jax.Array,
    edge: jax.Array,
    *,
    prediction: float = 1.0,
    omega: Weights = 1.0,
    zeta: Weights = 1.0,
    hardest: int = 0,
    sure: float = 0.7,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> tuple[jax.Array, Parts]:
    """Computes p CE(S_p) + Σ_i ω_i CE(mask map i) + Σ_i ζ_i CE(edge map i).

    So train DeepLabV3+, PSPNet (ω = 0.4), DANet, SCRN, and, with the hardest pixels of its
    prediction alone, ACFNet (p = 0.7, ω = 0.6 and 0.4).

    Args:
      output: what a network returned.
      mask: (B, H, W, 1), 1 where there is infection.
      edge: (B, H, W, 1), the edge of the mask.
      prediction: p, the weight of the prediction.
      omega: ω_i, one number for all mask stages or one for each.
      zeta: ζ_i, one number for all edge stages or one for each.
      hardest: with a number above 0 only pixels of the prediction count whose true class has a
        probability below `sure`, and at least so many, the least probable ones (online hard
        example mining); 0 counts all.
      sure: that probability.
      weights: (B,), 0 for slices that are padding and 1 for all others; None means all 1.
      axis_name: inside `pmap`, the device axis, see `losses.soft_dice`.

    Returns:
      The float32 scalar, and its parts: `edge`, `semantic`, `prediction` and `total`.

    Raises:
      ValueError: shapes, or the number of ω_i or ζ_i, do not fit.
    """

    def entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
        return mean_cross_entropy(logits, target, weights=weights, axis_name=axis_name)

    parts = {
        "edge": weighted_sum("zeta", zeta, [entropy(e, edge) for e in output.edge_logits]),
        "semantic": weighted_sum("omega", omega, [entropy(s, mask) for s in output.mask_logits]),
        "prediction": entropy(output.logits, mask)
        if hardest == 0
        else hard_cross_entropy(
            output.logits, mask, hardest, sure, weights=weights, axis_name=axis_name
        ),
    }
    parts["total"] = parts["edge"] + parts["semantic"] + prediction * parts["prediction"]
    return parts["total"], parts


def hard_cross_entropy(
    logits: jax.Array,
    target: jax.Array,
    hardest: int,
    sure: float,
    *,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Computes the mean cross-entropy of the pixels whose true class has too little probability.

    Those below `sure`, and where they are fewer than `hardest`, as many as that, the least probable
    of the whole batch; of equally probable ones all.

    Args:
      logits: (B, H, W, 1) floating.
      target: (B, H, W, 1), bool or whole numbers, of which not zero is 1, or floating, 0 to 1.
      hardest: at least 1; all pixels where the batch has fewer.
      sure: a probability.
      weights: as for `mean_cross_entropy`.
      axis_name: as for `mean_cross_entropy`.

    Returns:
      A float32 scalar (0 if all slices are padding).

    Raises:
      ValueError: shapes do not fit.
    """
    check_maps(logits, target, weights)
    each = optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), as_truth(target)).reshape(
        len(logits), -1
    )
    real = jnp.ones(len(each), bool) if weights is None else weights > 0
    # −log p of the true class: the larger, the harder. Of padding it is less than any.
    hard = jax.lax.stop_gradient(jnp.where(real[:, None], each, -1.0))
    everywhere = hard if axis_name is None else jax.lax.all_gather(hard, axis_name)
    order = jnp.sort(everywhere.ravel())
    bound = jnp.minimum(order[-min(hardest, order.size)], -jnp.log(jnp.float32(sure)))
    chosen = (hard >= bound) & (hard >= 0)
    sums = jnp.sum(jnp.where(chosen, each, 0)), jnp.sum(chosen).astype(jnp.float32)
    total, count = sums if axis_name is None else jax.lax.psum(sums, axis_name)
    return total / jnp.maximum(count, 1)


def cross_entropy_dice_loss(
    output: "SegOutput",
    mask: jax.Array,
    edge: jax.Array,
    *,
    background: bool = False,
    eps: float = 1.0,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> tuple[jax.Array, Parts]:
    """Computes CE + 1 − Dice of the prediction, with sums over the batch.

    So train CE-Net (ε = 0) and, with the mean over infection and background, CPFNet (ε = 0.001).

    Args:
      output: what a network returned; its edge and mask maps are not looked at.
      mask: (B, H, W, 1), 1 where there is infection.
      edge: not looked at.
      background: whether Dice is the mean over infection and background.
      eps: ε added to both sides of Dice's fraction. CE-Net's authors have 0, which is NaN where
        neither prediction nor mask has anything.
      weights: (B,), 0 for slices that are padding and 1 for all others; None means all 1.
      axis_name: inside `pmap`, the device axis, see `losses.soft_dice`.

    Returns:
      The float32 scalar, and its parts: `cross_entropy`, `dice` (1 − Dice) and `total`.

    Raises:
      ValueError: shapes do not fit.
    """
    where: dict[str, Any] = {"weights": weights, "axis_name": axis_name}
    truth = as_truth(mask)
    dice = soft_dice(output.logits, truth, eps=eps, **where)
    if background:
        dice = (dice + soft_dice(-output.logits, 1 - truth, eps=eps, **where)) / 2
    parts = {
        "cross_entropy": mean_cross_entropy(output.logits, mask, **where),
        "dice": 1 - dice,
    }
    parts["total"] = parts["cross_entropy"] + parts["dice"]
    return parts["total"], parts
