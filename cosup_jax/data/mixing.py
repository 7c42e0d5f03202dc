"""Augmentation from a second slice of the batch: its histogram, or a part of it, jitted.

Slices of a batch are partners two by two, the first of the second, the third of the fourth and so
on, wherever they lie: a device that has an even share of the batch has both.
"""

import jax
import jax.numpy as jnp

from cosup_jax.data.equalise import BINS, binned


def partners(batch: jax.Array) -> jax.Array:
    """Returns (B, …) with each slice's partner in its place; without one a slice is its own."""
    n = len(batch)
    other = jnp.arange(n) ^ 1
    return batch[jnp.where(other < n, other, n - 1)]


def match(x: jax.Array, other: jax.Array, share: jax.Array | float = 1.0) -> jax.Array:
    """Gives a slice the histogram of another, by a monotone curve of its grey values.

    What equalisation, windows and scanners have made of grey values so becomes what they have made
    of another slice's.

    Args:
      x: (h, w) float32 in 0..1.
      other: (h', w') float32 in 0..1, whose histogram it takes.
      share: 1 takes it whole, 0 leaves the slice as it is, a share between takes so much of the
        difference.

    Returns:
      (h, w) float32 in 0..1.
    """
    bins, part = binned(x)
    grid = jnp.linspace(0, 1, BINS + 1)
    curve = jnp.interp(_cumulative(bins), _cumulative(binned(other)[0]), grid)
    matched = curve[bins] * (1 - part) + curve[bins + 1] * part
    return jnp.clip(x + share * (matched - x), 0, 1)


def _cumulative(bins: jax.Array) -> jax.Array:
    """Returns the share of pixels up to each border of the bins, (BINS + 1,), strictly rising."""
    # A thousandth of an even share in each bin, so that the curve has an inverse.
    counts = jnp.full(BINS, 1e-3 * bins.size / BINS).at[bins.ravel()].add(1.0)
    return jnp.pad(jnp.cumsum(counts) / jnp.sum(counts), (1, 0))


def box(key: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Draws a box as CutMix does (Yun et al., 2019): its area is uniform, its centre too.

    Returns:
      (h, w) bool, True in the box, of which what lies beyond the border is cut off.
    """
    area, centre = jax.random.split(key)
    side = jnp.sqrt(jax.random.uniform(area))
    place = jax.random.uniform(centre, (2,))
    inside = [jnp.abs((jnp.arange(n) + 0.5) / n - place[i]) < side / 2 for i, n in enumerate(size)]
    return inside[0][:, None] & inside[1][None, :]
