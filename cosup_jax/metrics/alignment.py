"""Enhanced-alignment measure E_φ of binary maps, from their counts (Fan et al., IJCAI 2018)."""

from cosup_jax.metrics.arrays import EPS, Array, namespace
from cosup_jax.metrics.counts import Counts
from cosup_jax.metrics.thresholds import threshold_counts


def e_phi(counts: Counts) -> Array:
    """Computes E_φ = Σ φ / (H W − 1), φ = (ξ + 1)² / 4 (Eq. 11; Fan et al. 2018).

    ξ = 2 a b / (a² + b²) aligns a, the prediction less its mean, with b, the truth less its mean.
    Pixels of a kind (tp, fp, fn, tn) have the same ξ, so the four counts are all it takes. With an
    empty truth φ is 1 where nothing was predicted and 0 elsewhere; with a truth that fills the
    slice it is the reverse. Eq. 11 divides by H W; the authors' definition by H W − 1, which is
    followed, and by which a perfect map scores H W / (H W − 1).

    Args:
      counts: of `confusion`, (B,) each, or `threshold_counts`, (B, 256) each: then the result is
        the curve over thresholds.

    Returns:
      The shape of one of the counts; float64 for NumPy, float32 for JAX.

    Example:
      >>> import numpy as np
      >>> perfect = Counts(*(np.array([n]) for n in (2, 0, 0, 3)))
      >>> round(float(e_phi(perfect)[0]), 6)
      1.25
    """
    xp, dtype = namespace(counts.tp)
    area = (counts.tp + counts.fp + counts.fn + counts.tn).astype(dtype)
    tp, fp, fn, tn = (n.astype(dtype) for n in counts)
    predicted, missed = (tp + fp) / area, (fn + tn) / area
    lesion, healthy = (tp + fn) / area, (fp + tn) / area
    total = (
        tp * _enhanced(missed, healthy)
        + fp * _enhanced(missed, -lesion)
        + fn * _enhanced(-predicted, healthy)
        + tn * _enhanced(-predicted, -lesion)
    )
    total = xp.where(lesion == 0, tn, xp.where(healthy == 0, tp, total))
    return total / xp.maximum(area - 1, 1)


def _enhanced(a: Array, b: Array) -> Array:
    aligned = 2 * a * b / (a * a + b * b + EPS)
    return (aligned + 1) ** 2 / 4


def e_phi_mean(prob: Array, truth: Array) -> Array:
    """Computes the mean of E_φ over 256 thresholds of each soft map; (B,).

    Args:
      prob: (B, H, W, 1) or (B, H, W), floating, 0..1.
      truth: the same shape, bool or numbers; not zero is infection.

    Raises:
      ValueError: the shapes differ or are not those of a batch of slices.
      TypeError: the map is not of a floating type.
    """
    return e_phi(threshold_counts(prob, truth)).mean(axis=-1)


def e_phi_max(prob: Array, truth: Array) -> Array:
    """Computes E_φ of each soft map at the best of its 256 thresholds; (B,).

    Arguments and errors are those of `e_phi_mean`. The figure salient object detection reports for
    a set is another: the maximum of the mean curve, `e_phi(counts).mean(axis=0).max()`.
    """
    return e_phi(threshold_counts(prob, truth)).max(axis=-1)
