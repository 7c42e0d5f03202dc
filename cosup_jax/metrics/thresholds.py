"""A soft map cut at all 256 thresholds at once, as Inf-Net evaluates (Fan et al. 2020, §IV-B)."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from cosup_jax.metrics.arrays import Array, namespace, soft_slices
from cosup_jax.metrics.counts import Counts

THRESHOLDS = 256


def min_max(maps: Array) -> Array:
    """Stretches each map to 0..1: (p − min) / (max − min); a constant map stays as it is.

    Args:
      maps: (B, H, W, 1) or (B, H, W) of any real type; grey values 0..255 are divided by 255 first,
        or a constant map of them would stay above 1.

    Returns:
      The same shape, float64 for NumPy and float32 for JAX.

    Example:
      >>> import numpy as np
      >>> min_max(np.array([[[0.2, 0.3], [0.4, 0.6]]])).round(2).tolist()
      [[[0.0, 0.25], [0.5, 1.0]]]
    """
    xp, dtype = namespace(maps)
    maps = maps.astype(dtype, copy=False)
    axes = tuple(range(1, maps.ndim))
    low, high = maps.min(axis=axes, keepdims=True), maps.max(axis=axes, keepdims=True)
    constant = low == high
    stretched = maps - xp.where(constant, 0, low)
    stretched /= xp.where(constant, 1, high - low)
    return stretched


def threshold_counts(prob: Array, truth: Array) -> Counts:
    """Counts the pixels of each slice at the thresholds k / 255, k = 0..255, where p ≥ k / 255.

    A pixel at a threshold is infection there (`confusion` of σ > 0.5 has it otherwise). It is put
    into the level ⌊255 p⌋, and a cumulative sum over the histogram of levels does the rest: no
    threshold is applied by itself. For maps that were saved as 8-bit grey values u,
    p = u / 255 falls on the thresholds exactly, in float32 and float64, and is counted there. A map
    stretched from another range has values that meet a threshold only up to rounding; such a
    pixel may count one level lower.

    Args:
      prob: (B, H, W, 1) or (B, H, W), floating, 0..1; what lies outside counts as 0 or 1.
      truth: the same shape, bool or numbers; not zero is infection.

    Returns:
      Four (B, 256) int32 arrays by rising threshold, JAX or NumPy as the input was. The first
      column, threshold 0, has every pixel as infection.

    Raises:
      ValueError: the shapes differ or are not those of a batch of slices; the map's values are no
        probabilities.
      TypeError: the map is not of a floating type.

    Example:
      >>> import numpy as np
      >>> c = threshold_counts(np.array([[[0.0, 0.5, 0.5, 1.0]]]), np.array([[[0, 0, 1, 1]]]))
      >>> [int(n[0, 127]) for n in c], [int(n[0, 128]) for n in c]
      ([2, 1, 0, 1], [1, 0, 1, 2])
    """
    p, g = soft_slices(prob, truth)
    xp, _ = namespace(p)
    batch = p.shape[0]
    place = xp.clip((p * (THRESHOLDS - 1)).astype(int), 0, THRESHOLDS - 1)
    place += THRESHOLDS * g.astype(place.dtype)
    place += 2 * THRESHOLDS * xp.arange(batch)[:, None, None]
    histogram = _histogram(place.ravel(), 2 * batch * THRESHOLDS)
    reached = histogram.reshape(batch, 2, THRESHOLDS)[:, :, ::-1]
    reached = xp.cumsum(reached, axis=2, dtype="int32")[:, :, ::-1]
    fp, tp = reached[:, 0], reached[:, 1]
    return Counts(tp=tp, fp=fp, fn=tp[:, :1] - tp, tn=fp[:, :1] - fp)


def _histogram(values: Array, length: int) -> Array:
    if namespace(values)[0] is np:
        return np.bincount(values, minlength=length)
    return jnp.bincount(values, length=length)


def threshold_mean(score: Callable[[Counts], Array], counts: Counts) -> Array:
    """Computes the mean of a score over thresholds, where one without overlap counts 0.

    This is how Inf-Net's evaluation makes Dice, sensitivity and specificity of a soft map: where no
    pixel is both predicted and true at a threshold, each of them is 0 there, specificity too. A
    slice without infection therefore has 0 in all three, whatever was predicted.

    Args:
      score: a function of `scores`, such as `dice`.
      counts: (B, 256) each, from `threshold_counts`.

    Returns:
      (B,) in 0..1.

    Example:
      >>> import numpy as np
      >>> from cosup_jax.metrics.scores import specificity
      >>> c = threshold_counts(np.array([[[0.0, 0.6, 0.5, 0.5]]]), np.array([[[0, 0, 1, 1]]]))
      >>> float(threshold_mean(specificity, c)[0]) == 127 * 0.5 / 256
      True
    """
    xp, _ = namespace(counts.tp)
    return xp.where(counts.tp > 0, score(counts), 0).mean(axis=-1)
