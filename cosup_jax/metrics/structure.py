"""Structure measure S_α: how alike the objects and regions of two maps are (Fan et al. 2017)."""

from collections.abc import Sequence

import jax

from cosup_jax.metrics.arrays import EPS, Array, namespace, pixel_mean, soft_slices


def s_alpha(prob: Array, truth: Array, alpha: float = 0.5) -> Array:
    """Computes S_α = α S_o + (1 − α) S_r of each slice (Eq. 8; Fan et al. 2017).

    S_o, object-aware, compares lesion and healthy pixels each with a uniform map of its own:
    2 m / (m² + 1 + s), with m and s mean and standard deviation of p over the lesion, and of 1 − p
    over the rest, weighted by their shares of the slice. S_r, region-aware, cuts the slice in four
    at the lesion's centroid and adds up the structural similarity of the quarters,
    4 x y σ_xy / ((x² + y²)(σ_x² + σ_y²)), weighted by area. (Eq. 8 has 1 − α at S_o; at the 0.5
    that everybody uses this is the same.)

    Special cases, each part of the definition: with an empty truth S_α is 1 − mean p, with one
    that fills the slice it is mean p; below 0 it is 0. The centroid is rounded half to even
    and its row and column belong to the upper and left quarters. A quarter without pixels
    counts nothing. A quarter in which p and truth are both constant, or both 0, scores 1. One
    without infection therefore scores 1 if p is exactly constant there, and 0 if it is not, however
    faint: the S_α of a soft map and that of the same map saved with 8 bits can differ much.

    Args:
      prob: (B, H, W, 1) or (B, H, W), floating, 0..1. The values are used as they are; evaluations
        of saved maps normalise them first (`thresholds.min_max`).
      truth: the same shape, bool or numbers; not zero is infection. At most 1600 pixels a side
        when JAX arrays, for the centroid is computed in int32.
      alpha: α, weight of the objects.

    Returns:
      (B,) in 0..1; float64 for NumPy, float32 for JAX (about 1e-6 from float64).

    Raises:
      ValueError: the shapes differ or are not those of a batch of slices.
      TypeError: the map is not of a floating type.

    Example:
      >>> import numpy as np
      >>> truth = np.array([[[0, 0, 0], [0, 1, 1], [0, 1, 1]]])
      >>> round(float(s_alpha(truth.astype(float), truth)[0]), 6)
      1.0
    """
    p, g = soft_slices(prob, truth)
    xp, dtype = namespace(p)
    g = g.astype(dtype)
    area, lesion = g.shape[1] * g.shape[2], g.sum(axis=2).sum(axis=1)
    mean = pixel_mean(p)
    with jax.default_matmul_precision("highest"):  # GPUs round the factors to ten bits otherwise
        mixed = alpha * _objects(p, g) + (1 - alpha) * _regions(p, g)
    score = xp.where(lesion == area, mean, xp.maximum(mixed, 0))
    return xp.where(lesion == 0, 1 - mean, score)


def _objects(p: Array, g: Array) -> Array:
    """S_o: how close to 1 and uniform p is in the lesion, and 1 − p outside, by their shares."""
    healthy = 1 - g
    share = pixel_mean(g)
    lesion_mean, lesion_deviation = _moments(p, g)
    healthy_mean, healthy_deviation = _moments(p, healthy)
    return share * _uniformity(lesion_mean, lesion_deviation) + (1 - share) * _uniformity(
        1 - healthy_mean, healthy_deviation
    )


def _moments(p: Array, where: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of p where `where` is 1."""
    xp, _ = namespace(p)
    n = where.sum(axis=2).sum(axis=1)
    mean = xp.einsum("bhw,bhw->b", p, where) / xp.maximum(n, 1)
    deviation = p - mean[:, None, None]
    squares = xp.einsum("bhw,bhw,bhw->b", where, deviation, deviation)
    return mean, xp.sqrt(squares / xp.maximum(n - 1, 1))


def _uniformity(mean: Array, deviation: Array) -> Array:
    return 2 * mean / (mean**2 + 1 + deviation + EPS)


def _regions(p: Array, g: Array) -> Array:
    """S_r: the structural similarity of the four quarters by their areas.

    Values are taken relative to a pixel of their quarter, the slice's corner, so that a constant
    deviates by 0 exactly, and then to the mean, so that float32 is enough.
    """
    xp, _ = namespace(p)
    rows, columns = _halves(g.sum(axis=2)), _halves(g.sum(axis=1))

    def total(*factors: Array) -> Array:
        maps = ",".join(["bhw"] * len(factors))
        halves = [xp.einsum(f"bh,{maps}->bw", side, *factors) for side in rows]
        return _quarters(halves, columns)

    def spread(quarters: Array) -> Array:
        left = columns[0][:, None] > 0
        halves = xp.where(left, quarters[:, :, :1], quarters[:, :, 1:])
        return xp.where(rows[0][:, :, None] > 0, halves[:, :1], halves[:, 1:])

    area = _quarters([r.sum(axis=1)[:, None] for r in rows], columns)
    n, degrees = xp.maximum(area, 1), xp.maximum(area - 1, 1)
    corner = p[:, [0, -1]][:, :, [0, -1]]
    deviation = spread(corner)
    deviation -= p  # in place, for new memory takes NumPy longer than the sums
    x, lesion = corner - total(deviation) / n, total(g)
    y = lesion / n
    deviation = spread(x)
    deviation -= p
    var_x, var_y = total(deviation, deviation) / degrees, lesion * (area - lesion) / (n * degrees)
    alike = -4 * x * y * total(deviation, g) / degrees
    most = (x * x + y * y) * (var_x + var_y)
    # Asked of the factors, for their product would underflow in float32 where p is faint.
    same = ((x == 0) & (y == 0)) | ((var_x == 0) & (var_y == 0))
    similarity = xp.where(same, 1, alike / (most + EPS))
    return (similarity * area).sum(axis=(1, 2)) / area.sum(axis=(1, 2))


def _quarters(halves: Sequence[Array], columns: Sequence[Array]) -> Array:
    """Sums the upper and the lower half, (B, W) each, over the left and the right: (B, 2, 2)."""
    xp, _ = namespace(*halves)
    return xp.stack(
        [xp.stack([(half * side).sum(axis=1) for side in columns], axis=1) for half in halves],
        axis=1,
    )


def _halves(profile: Array) -> tuple[Array, Array]:
    """Which places of an axis lie up to the centroid, and which behind: two (B, N).

    The centroid is the mean place, rounded half to even, from how many pixels lie at each place.
    """
    xp, dtype = namespace(profile)
    profile = profile.astype("int32")
    places = xp.arange(profile.shape[1], dtype=xp.int32)[None]
    n = xp.maximum(profile.sum(axis=1, dtype="int32"), 1)
    total = (profile * places).sum(axis=1, dtype="int32")
    whole, rest = total // n, total % n
    up = (2 * rest > n) | ((2 * rest == n) & (whole % 2 == 1))
    before = places <= (whole + up.astype("int32"))[:, None]
    return before.astype(dtype), (~before).astype(dtype)
