"""Pixel counts per slice, from which the scores are computed."""

from typing import NamedTuple

import jax
import numpy as np

from cosup_jax.metrics.arrays import Array, check_slices

THRESHOLD = 0.5  # a more probable pixel counts as infected


class Counts(NamedTuple):
    """Pixels per slice by what was predicted and what is true; each (B,) int32.

    Attributes:
      tp: infection found.
      fp: healthy, predicted as infection.
      fn: infection missed.
      tn: healthy, and predicted so.
    """

    tp: Array
    fp: Array
    fn: Array
    tn: Array


def confusion(pred: Array, truth: Array) -> Counts:
    """Counts the pixels of each slice.

    Args:
      pred: (B, H, W, 1) or (B, H, W), bool or integer; not zero is infection.
      truth: the same shape, bool or integer.

    Returns:
      Four (B,) int32 arrays, JAX or NumPy as the input was; exact up to 2³¹ pixels a slice.

    Raises:
      ValueError: the shapes differ or are not those of a batch of slices.
      TypeError: a map is neither bool nor integer, as probabilities that nobody cut at a threshold.

    Example:
      >>> import numpy as np
      >>> found, true = np.array([[[1, 1, 0, 0]]]), np.array([[[1, 0, 1, 0]]])
      >>> [int(n[0]) for n in confusion(found, true)]
      [1, 1, 1, 1]
    """
    check_slices(pred, truth, "prediction")
    for name, values in (("prediction", pred), ("truth", truth)):
        if values.dtype.kind not in "biu":
            raise TypeError(
                f"the {name} is {values.dtype}, expected bool or an integer type: cut "
                "probabilities at a threshold first, as `from_logits` does"
            )
    p, t = pred.astype(bool), truth.astype(bool)
    axes = tuple(range(1, p.ndim))

    def count(pixels: Array) -> Array:
        return pixels.sum(axis=axes, dtype="int32")

    return Counts(tp=count(p & t), fp=count(p & ~t), fn=count(~p & t), tn=count(~p & ~t))


def from_logits(logits: Array, mask: Array, threshold: float = THRESHOLD) -> Counts:
    """Counts the pixels of a prediction given as logits.

    Args:
      logits: (B, H, W, 1) floating.
      mask: (B, H, W, 1) bool or integer; not zero is infection.
      threshold: a pixel is infection where σ(logit) is greater than this.

    Returns:
      Four (B,) int32 JAX arrays.

    Raises:
      ValueError: the shapes differ; or, where they are known, logits are NaN or the threshold is no
        probability.
    """
    known = not isinstance(logits, jax.core.Tracer)
    if known and np.isnan(np.asarray(logits)).any():
        raise ValueError("the logits hold NaN, of which nobody knows whether it is infection")
    if isinstance(threshold, int | float) and not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}, expected a probability 0..1")
    return confusion(jax.nn.sigmoid(logits) > threshold, mask)
