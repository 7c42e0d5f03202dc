"""Scores per slice from pixel counts (Eqs. 7, 9, 10, 12), with a named policy for empty masks.

Every score is a ratio, and a ratio can be 0 / 0. `empty` says what it is then:

- `"one"`: 1 if both the prediction and the truth are empty, for nothing was there and nothing was
  found; otherwise 0.
- `"paper"`: 1, also where only one of them is empty. This is how the code of the co-supervision
  paper counts.
- `"nan"`: NaN for every 0 / 0, so that `nanmean` leaves such slices out.

| slice | dice, iou | sensitivity | precision |
| --- | --- | --- | --- |
| truth empty, prediction empty | 0/0 → 1 | 0/0 → 1 | 0/0 → 1 |
| truth empty, something predicted | 0 | 0/0 → 0, paper 1 | 0 |
| lesion, nothing predicted | 0 | 0 | 0/0 → 0, paper 1 |

A mean over slices with `"paper"` is the paper's figure; of Dice, `"one"` gives the same. NumPy
counts give float64 NumPy scores, JAX counts float32 JAX scores.
"""

import numpy as np

from cosup_jax.metrics.arrays import (
    Array,
    check_floating,
    check_range,
    check_slices,
    namespace,
    pixel_mean,
)
from cosup_jax.metrics.counts import Counts

EMPTY = ("one", "nan", "paper")


def dice(counts: Counts, empty: str = "one") -> Array:
    """Computes Dice = 2 TP / (2 TP + FP + FN) (Eq. 7), also known as F1; (B,) in 0..1.

    Example:
      >>> import numpy as np
      >>> one = Counts(*(np.array([n]) for n in (1, 1, 1, 1)))
      >>> float(dice(one)[0])
      0.5
    """
    tp, fp, fn, _ = counts
    return _ratio(2 * tp, 2 * tp + fp + fn, tp + fp + fn == 0, empty)


def iou(counts: Counts, empty: str = "one") -> Array:
    """Computes IoU = TP / (TP + FP + FN), the Jaccard index; (B,) in 0..1."""
    tp, fp, fn, _ = counts
    return _ratio(tp, tp + fp + fn, tp + fp + fn == 0, empty)


def sensitivity(counts: Counts, empty: str = "one") -> Array:
    """Computes sensitivity = TP / (TP + FN) (Eq. 9), the share of infection found; (B,) in 0..1."""
    tp, fp, fn, _ = counts
    return _ratio(tp, tp + fn, tp + fp + fn == 0, empty)


def precision(counts: Counts, empty: str = "one") -> Array:
    """Computes precision = TP / (TP + FP) (Eq. 10), the share of the found that is right."""
    tp, fp, fn, _ = counts
    return _ratio(tp, tp + fp, tp + fp + fn == 0, empty)


def specificity(counts: Counts, empty: str = "one") -> Array:
    """Computes specificity = TN / (TN + FP), the share of healthy pixels left alone; (B,).

    It is 0 / 0 only where the truth is infection everywhere. The empty thing is then the healthy
    region, and under `"one"` the score is 1 if the prediction has no healthy pixel either.
    """
    _, fp, fn, tn = counts
    return _ratio(tn, tn + fp, tn + fp + fn == 0, empty)


def mae(prob: Array, truth: Array) -> Array:
    """Computes the mean absolute error of each slice, mean `|p − g|` over its pixels (Eq. 12).

    Args:
      prob: (B, H, W, 1) or (B, H, W) probabilities 0..1, floating, or a binary map, bool.
      truth: the same shape, bool or numbers; not zero is infection.

    Returns:
      (B,) in 0..1.

    Raises:
      ValueError: the shapes differ, or the map's values are no probabilities.
      TypeError: the map holds whole numbers, as grey values 0..255.
    """
    check_slices(prob, truth)
    if prob.dtype != bool:
        check_floating(prob)
        check_range(prob)
    xp, dtype = namespace(prob, truth)
    error = truth.astype(bool).astype(dtype)
    error -= prob.astype(dtype, copy=False)
    return pixel_mean(xp.abs(error))


def _ratio(top: Array, bottom: Array, nothing: Array, empty: str) -> Array:
    """Divides, and has `empty` decide where `bottom` is 0; `nothing` marks what is empty twice."""
    if empty not in EMPTY:
        raise ValueError(f"empty is {empty!r}, expected one of {', '.join(EMPTY)}")
    xp, dtype = namespace(top, bottom)
    undefined = bottom == 0
    # A NumPy scalar, so that under `jax_debug_nans` NaN is only where it is the answer.
    scalar = np.dtype(dtype).type
    instead = {"one": nothing.astype(dtype), "nan": scalar(np.nan), "paper": scalar(1)}[empty]
    safe = xp.where(undefined, xp.ones_like(bottom), bottom).astype(dtype)
    return xp.where(undefined, instead, xp.asarray(top).astype(dtype) / safe)
