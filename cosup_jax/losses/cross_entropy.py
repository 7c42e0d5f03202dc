"""The joint loss with cross-entropy beside Dice, which also teaches from slices without infection.

On a slice without infection the Dice coefficient says little: its gradient is nearly the same for
ten marked pixels as for a thousand. Dice and cross-entropy together are the field's usual loss
(Isensee et al., Nature Methods 18, 2021: nnU-Net), with equal weights.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from cosup_jax.losses.joint import joint_loss
from cosup_jax.losses.maps import as_truth, check_maps

if TYPE_CHECKING:
    from cosup_jax.models.output import SegOutput


def mean_cross_entropy(
    logits: jax.Array,
    target: jax.Array,
    *,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Computes −g log p − (1 − g) log(1 − p) with p = σ(logits), the mean over all pixels.

    Args:
      logits: (B, H, W, 1) floating.
      target: (B, H, W, 1), bool or whole numbers, of which not zero is 1, or floating, 0 to 1.
      weights: (B,), 0 for slices that are padding and 1 for all others; None means all 1.
      axis_name: inside `pmap`, the device axis; the mean is then that over all devices, of which
        gradients are averaged as `losses.soft_dice` says.

    Returns:
      A float32 scalar (0 if all slices are padding).

    Raises:
      ValueError: shapes do not fit.
    """
    check_maps(logits, target, weights)
    each = optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), as_truth(target)).mean(
        axis=(1, 2, 3)
    )
    w = jnp.ones_like(each) if weights is None else weights.astype(jnp.float32)
    sums = w @ each, jnp.sum(w)
    total, count = sums if axis_name is None else jax.lax.psum(sums, axis_name)
    return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 0)


def joint_cross_entropy_loss(
    output: "SegOutput",
    mask: jax.Array,
    edge: jax.Array,
    *,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
    **options: Any,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes L_total of Eq. 6 plus the mean cross-entropy of the prediction S_p.

    The edge and semantic heads keep the paper's losses and weights.

    Args:
      output: what a network returned.
      mask: (B, H, W, 1), 1 where there is infection.
      edge: (B, H, W, 1), the edge of the mask.
      weights: as for `mean_cross_entropy`.
      axis_name: as for `mean_cross_entropy`.
      **options: the others of `losses.joint_loss`.

    Returns:
      The float32 scalar, and its parts: those of `joint_loss` and `cross_entropy`.
    """
    shared: dict[str, Any] = {"weights": weights, "axis_name": axis_name}
    _, parts = joint_loss(output, mask, edge, **shared, **options)
    parts["cross_entropy"] = mean_cross_entropy(output.logits, mask, **shared)
    parts["total"] = parts["total"] + parts["cross_entropy"]
    return parts["total"], parts
