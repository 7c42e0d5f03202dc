"""Soft Dice on logits and the joint loss of co-supervision and fusion (Eqs. 1, 2, 5, 6).

All functions are pure, work under `jit`, `grad` and `pmap`, and take targets of any real type: of
bool and whole numbers, not zero is infection, and floating ones are 0 to 1.

Two things differ from the equations as printed, neither in the gradient. Eqs. 1 and 2 read
1 − 2 Σ …, which is negative with more than one stage; Σ_i ζ_i (1 − Dice_i), used here, differs from
it by a constant. And ε is added to numerator and denominator, which they leave undefined for an
empty slice.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from cosup_jax.losses.maps import as_truth, check_maps

if TYPE_CHECKING:
    from cosup_jax.models.output import SegOutput

REDUCTIONS = ("batch", "slice")
Weights = float | Sequence[float] | jax.Array | np.ndarray


class DiceOptions(TypedDict, total=False):
    """The named arguments every loss hands on to `soft_dice`, which explains them."""

    reduction: str
    eps: float
    weights: jax.Array | None
    axis_name: str | None


def soft_dice(
    logits: jax.Array,
    target: jax.Array,
    *,
    reduction: str = "batch",
    eps: float = 1.0,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Computes the soft Dice coefficient of a prediction and its target.

    Dice = (2 Σ p g + ε) / (Σ p + Σ g + ε), with p = σ(logits) and g = target.

    Args:
      logits: (B, H, W, 1) floating.
      target: (B, H, W, 1), bool or whole numbers, of which not zero is 1, or floating, 0 to 1.
      reduction: `batch`: the sums run over all pixels of the whole batch, so a slice counts by its
        lesion; `slice`: one coefficient per slice, and their mean.
      eps: ε in pixels. An empty prediction on an empty target scores 1; one of n confident pixels
        on an empty target scores ε / (n + ε).
      weights: (B,), 0 for slices that are padding and 1 for all others; None means all 1.
      axis_name: inside `pmap`, the device axis. Sums run over all devices before anything is
        divided, so the result is that of one device holding the global batch. Gradients must then
        be averaged (`pmean`), not summed: each device's gradient of this global value already
        carries the factor of the number of devices.

    Returns:
      A float32 scalar in 0..1 (1 if all slices are padding).

    Raises:
      ValueError: an unknown reduction, or shapes that do not fit.

    Example:
      >>> sure = jnp.array([[20.0, 20.0], [-20.0, -20.0]]).reshape(1, 2, 2, 1)
      >>> truth = jnp.array([[1, 0], [1, 0]]).reshape(1, 2, 2, 1)
      >>> round(float(soft_dice(sure, truth, eps=0.0)), 4)
      0.5
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}, expected one of {', '.join(REDUCTIONS)}")
    check_maps(logits, target, weights)
    p = jax.nn.sigmoid(logits.astype(jnp.float32))
    g = as_truth(target)
    w = jnp.ones(len(p), jnp.float32) if weights is None else weights.astype(jnp.float32)
    overlap = 2 * jnp.sum(p * g, axis=(1, 2, 3))
    size = jnp.sum(p + g, axis=(1, 2, 3))
    if reduction == "batch":
        top, bottom = _global_sum((w @ overlap, w @ size), axis_name)
        return (top + eps) / (bottom + eps)
    total, count = _global_sum((w @ ((overlap + eps) / (size + eps)), jnp.sum(w)), axis_name)
    return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 1)


def _global_sum(
    sums: tuple[jax.Array, jax.Array], axis_name: str | None
) -> tuple[jax.Array, jax.Array]:
    return sums if axis_name is None else jax.lax.psum(sums, axis_name)


def dice_loss(logits: jax.Array, target: jax.Array, **options: Unpack[DiceOptions]) -> jax.Array:
    """Computes 1 − `soft_dice` of the same arguments."""
    return 1 - soft_dice(logits, target, **options)


def edge_loss(
    edge_logits: Sequence[jax.Array],
    edge: jax.Array,
    zeta: Weights = 1.0,
    **options: Unpack[DiceOptions],
) -> jax.Array:
    """Computes L_edge = Σ_i ζ_i (1 − Dice_i), a sum over the stages (Eq. 1).

    Args:
      edge_logits: one (B, H, W, 1) map per edge-supervised stage; none gives 0.
      edge: (B, H, W, 1), the edge of the mask.
      zeta: ζ_i, one number for all stages or one for each.
      **options: see `soft_dice`.

    Returns:
      A float32 scalar.

    Raises:
      ValueError: as many ζ_i as stages are needed.
    """
    each = [dice_loss(logits, edge, **options) for logits in edge_logits]
    return weighted_sum("zeta", zeta, each)


def semantic_loss(
    mask_logits: Sequence[jax.Array],
    mask: jax.Array,
    omega: Weights = 1.0,
    **options: Unpack[DiceOptions],
) -> jax.Array:
    """Computes L_semantic = Σ_i ω_i (1 − Dice_i), a sum over the stages (Eq. 2).

    Args:
      mask_logits: one (B, H, W, 1) map per mask-supervised stage; none gives 0.
      mask: (B, H, W, 1), 1 where there is infection.
      omega: ω_i, one number for all stages or one for each.
      **options: see `soft_dice`.

    Returns:
      A float32 scalar.

    Raises:
      ValueError: as many ω_i as stages are needed.
    """
    each = [dice_loss(logits, mask, **options) for logits in mask_logits]
    return weighted_sum("omega", omega, each)


def check_weights(letter: str, factors: Weights, heads: int) -> list[Any]:
    """Returns the factor of each of some heads.

    Args:
      letter: what to call the factors in a message.
      factors: one number for all heads or one for each.
      heads: how many there are.

    Raises:
      ValueError: as many factors as heads are needed.
    """
    shared = np.ndim(factors) == 0
    each = [factors] * heads if shared else list(factors)  # type: ignore[arg-type]
    if len(each) != heads:
        raise ValueError(
            f"{letter} is {factors!r}, but the network has {heads} such heads; give one number for "
            "all, or one for each head"
        )
    return each


def weighted_sum(letter: str, factors: Weights, losses: list[jax.Array]) -> jax.Array:
    """Adds up the losses of some heads, each with its factor.

    Args:
      letter: what to call the factors in a message.
      factors: one number for all heads or one for each.
      losses: scalars; none gives 0.

    Raises:
      ValueError: as many factors as heads are needed.
    """
    each = check_weights(letter, factors, len(losses))
    total = jnp.zeros((), jnp.float32)
    for factor, loss in zip(each, losses, strict=True):
        total = total + jnp.asarray(factor, jnp.float32) * loss
    return total


def fusion_loss(logits: jax.Array, mask: jax.Array, **options: Unpack[DiceOptions]) -> jax.Array:
    """Computes L_fusion = 1 − Dice of the prediction S_p (Eq. 5); arguments as `soft_dice`."""
    return dice_loss(logits, mask, **options)


def joint_loss(
    output: "SegOutput",
    mask: jax.Array,
    edge: jax.Array,
    *,
    theta: float = 0.8,
    beta: float = 0.4,
    zeta: Weights = 1.0,
    omega: Weights = 1.0,
    **options: Unpack[DiceOptions],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes L_total = θ L_edge + β L_semantic + L_fusion (Eq. 6; θ, β of Table 1).

    Args:
      output: what a network returned.
      mask: (B, H, W, 1), 1 where there is infection.
      edge: (B, H, W, 1), the edge of the mask.
      theta: θ, weight of the edge loss.
      beta: β, weight of the semantic loss.
      zeta: ζ_i, one number for all edge stages or one for each.
      omega: ω_i, one number for all mask stages or one for each.
      **options: `reduction`, `eps`, `weights` and `axis_name` of `soft_dice`.

    Returns:
      The float32 scalar L_total, and its parts before weighting by θ and β as a dictionary with
      the keys `edge`, `semantic`, `fusion` and, once more, `total`. Without heads a part is 0.

    Raises:
      ValueError: shapes, or the number of ζ_i or ω_i, do not fit.
    """
    parts = {
        "edge": edge_loss(output.edge_logits, edge, zeta, **options),
        "semantic": semantic_loss(output.mask_logits, mask, omega, **options),
        "fusion": fusion_loss(output.logits, mask, **options),
    }
    parts["total"] = theta * parts["edge"] + beta * parts["semantic"] + parts["fusion"]
    return parts["total"], parts
