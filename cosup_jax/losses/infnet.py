"""The losses of Inf-Net (Eqs. 1, 4 and 5 of its paper): weighted IoU and BCE, deep supervision.

All functions are pure, work under `jit`, `grad` and `pmap`, and take targets as `joint` does. A
loss is one number per slice and then their mean, so over devices it is the mean of the devices'
means; summing over the slices and their count first, as here, is that, and holds with padding too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

import jax
import jax.numpy as jnp
import optax

from cosup_jax.losses.joint import Weights, weighted_sum
from cosup_jax.losses.maps import as_truth, check_maps

if TYPE_CHECKING:
    from cosup_jax.models.output import SegOutput

_SIDE = 31  # of the neighbourhood that decides a pixel's weight


class MeanOptions(TypedDict, total=False):
    """The named arguments of the mean over slices, which `structure_loss` explains."""

    weights: jax.Array | None
    axis_name: str | None


def border_weights(mask: jax.Array) -> jax.Array:
    """Computes `1 + 5 |mean(mask) − mask|`, the weight of a pixel in both parts of L_seg.

    The mean is that of the 31×31 pixels around it, of which those beyond the border of the image
    count as 0. So the weight is 1 deep inside and far away, and grows towards the mask's border.

    Args:
      mask: (B, H, W, 1), bool or whole numbers, of which not zero is 1, or floating, 0 to 1.

    Returns:
      (B, H, W, 1) float32 in 1..6.

    Example:
      >>> pixel = jnp.zeros((1, 33, 33, 1)).at[0, 16, 16, 0].set(1)
      >>> found = border_weights(pixel)[0, 16, :, 0]  # 1 + 5 · 960 / 961, 1 + 5 / 961, 1
      >>> [round(float(found[i]), 4) for i in (16, 17, 31, 32)]
      [5.9948, 1.0052, 1.0052, 1.0]
    """
    g = as_truth(mask)
    total = g
    for axis in (1, 2):  # rows, then columns: 2 · 31 additions for each pixel instead of 31²
        window, padding = [1] * 4, [(0, 0)] * 4
        window[axis], padding[axis] = _SIDE, (_SIDE // 2, _SIDE // 2)
        total = jax.lax.reduce_window(total, 0.0, jax.lax.add, window, [1] * 4, padding)
    return 1 + 5 * jnp.abs(total / _SIDE**2 - g)


def structure_loss(
    logits: jax.Array,
    mask: jax.Array,
    *,
    weighted_bce: bool = True,
    weights: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Computes L_seg = L_IoU^w + L_BCE^w (Eq. 4; Wei, Wang and Huang 2020, F3Net).

    With p = σ(logits), g = mask and the weights α of `border_weights`, for each slice

      L_IoU^w = 1 − (Σ α p g + 1) / (Σ α (p + g − p g) + 1),
      L_BCE^w = Σ α BCE(p, g) / Σ α.

    Args:
      logits: (B, H, W, 1) floating.
      mask: (B, H, W, 1), bool or whole numbers, of which not zero is 1, or floating, 0 to 1.
      weighted_bce: False for the plain mean of BCE, without α. This is what the authors' code
        computes, since the way it asks for unreduced BCE yields the mean.
      weights: (B,), 0 for slices that are padding and 1 for all others; None means all 1.
      axis_name: inside `pmap`, the device axis. The mean then runs over the slices of all devices.
        Gradients must be averaged (`pmean`), not summed, as `losses.soft_dice` explains.

    Returns:
      A float32 scalar, the mean over slices (0 if all are padding).

    Raises:
      ValueError: shapes do not fit.
    """
    check_maps(logits, mask, weights)
    g, alpha = as_truth(mask), border_weights(mask)
    z = logits.astype(jnp.float32)
    p = jax.nn.sigmoid(z)
    overlap, union = _slice_sum(alpha * p * g), _slice_sum(alpha * (p + g - p * g))
    iou = 1 - (overlap + 1) / (union + 1)
    gamma = alpha if weighted_bce else jnp.ones_like(alpha)
    bce = _slice_sum(gamma * optax.sigmoid_binary_cross_entropy(z, g)) / _slice_sum(gamma)
    return mean_over_slices(iou + bce, weights, axis_name)


def edge_bce(
    edge_logits: Sequence[jax.Array], edge: jax.Array, **options: Unpack[MeanOptions]
) -> jax.Array:
    """Computes L_edge, the binary cross-entropy of the edge maps.

    Eq. 1 prints a sum over pixels; here it is their mean, as in the authors' code. A sum would be
    some hundred thousand times larger than the other terms of Eq. 5.

    Args:
      edge_logits: the (B, H, W, 1) edge maps, whose losses are added; none gives 0.
      edge: (B, H, W, 1), the edge of the mask, of the types of a mask.
      **options: `weights` and `axis_name` of `structure_loss`.

    Returns:
      A float32 scalar.

    Raises:
      ValueError: shapes do not fit.
    """
    total = jnp.zeros((), jnp.float32)
    for logits in edge_logits:
        check_maps(logits, edge, options.get("weights"))
        bce = optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), as_truth(edge))
        total += mean_over_slices(jnp.mean(bce, axis=(1, 2, 3)), **options)
    return total


def infnet_loss(
    output: "SegOutput",
    mask: jax.Array,
    edge: jax.Array,
    *,
    weighted_bce: bool = True,
    omega: Weights = 1.0,
    **options: Unpack[MeanOptions],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes L_total = L_seg(S_g) + L_edge + Σ_{i=3..5} L_seg(S_i) (Eq. 5).

    F3Net's loss is twice its authors' with `omega` = (1, 1, 1/2, 1/4, 1/8).

    Args:
      output: what a network returned: S_3 as `logits`, S_g, S_5, S_4 as `mask_logits`, S_e as
        `edge_logits`. Any network of the package will do; Eq. 5 sums over the maps there are.
      mask: (B, H, W, 1), 1 where there is infection.
      edge: (B, H, W, 1), the edge of the mask.
      weighted_bce: see `structure_loss`.
      omega: the weights of `mask_logits`, one number for all or one for each.
      **options: `weights` and `axis_name` of `structure_loss`.

    Returns:
      The float32 scalar L_total, and its parts as a dictionary with the keys `edge` (L_edge),
      `semantic` (the sum over `mask_logits`), `prediction` (that of `logits`) and `total`.

    Raises:
      ValueError: shapes, or the number of weights, do not fit.
    """

    def seg(logits: jax.Array) -> jax.Array:
        return structure_loss(logits, mask, weighted_bce=weighted_bce, **options)

    parts = {
        "edge": edge_bce(output.edge_logits, edge, **options),
        "semantic": weighted_sum("omega", omega, [seg(s) for s in output.mask_logits]),
        "prediction": seg(output.logits),
    }
    parts["total"] = parts["edge"] + parts["semantic"] + parts["prediction"]
    return parts["total"], parts


def _slice_sum(x: jax.Array) -> jax.Array:
    return jnp.sum(x, axis=(1, 2, 3))


def mean_over_slices(
    per_slice: jax.Array, weights: jax.Array | None = None, axis_name: str | None = None
) -> jax.Array:
    """Returns the mean of (B,) losses; arguments as `structure_loss`. 0 if all are padding."""
    w = jnp.ones_like(per_slice) if weights is None else weights.astype(jnp.float32)
    sums = (w @ per_slice, jnp.sum(w))
    total, count = sums if axis_name is None else jax.lax.psum(sums, axis_name)
    return total / jnp.maximum(count, 1)
