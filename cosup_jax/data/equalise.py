"""Contrast-limited adaptive histogram equalisation of grey values, jitted (Zuiderveld, 1994)."""

import jax
import jax.numpy as jnp

BINS = 64
TILES = 4  # along each side


def binned(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns in which of `BINS` equal bins of 0..1 each value lies, and how far into it, 0..1."""
    scaled = x * BINS
    bins = jnp.clip(jnp.floor(scaled), 0, BINS - 1).astype(jnp.int32)
    return bins, scaled - bins


def equalise(x: jax.Array, limit: jax.Array | float, local: jax.Array | float = 1.0) -> jax.Array:
    """Equalises the histogram of a slice, tile by tile or as a whole.

    Each tile has the curve of its cumulative histogram, piecewise linear in the grey value; a pixel
    takes the mean of the curves of the four tiles around it, weighted bilinearly.

    Args:
      x: (h, w) float32 in 0..1, at least `TILES` pixels a side.
      limit: what one of the `BINS` bins of a histogram may hold, in multiples of an equal share;
        the rest is spread over all bins. 0 leaves the slice as it is, `BINS` limits nothing.
      local: 1 takes the histogram of each tile, 0 that of the whole slice for all; a share
        between mixes them.

    Returns:
      (h, w) float32 in 0..1.
    """
    h, w = x.shape
    bins, part = binned(x)
    tile = (jnp.arange(h) * TILES // h)[:, None] * TILES + (jnp.arange(w) * TILES // w)[None, :]
    counts = jnp.zeros(TILES * TILES * BINS).at[(tile * BINS + bins).ravel()].add(1.0)
    shares = counts.reshape(TILES * TILES, BINS)
    shares /= jnp.sum(shares, axis=1, keepdims=True)
    shares = local * shares + (1 - local) * jnp.mean(shares, axis=0, keepdims=True)
    clipped = jnp.minimum(shares, limit / BINS)
    clipped += (1 - jnp.sum(clipped, axis=1, keepdims=True)) / BINS
    curves = jnp.pad(jnp.cumsum(clipped, axis=1), [(0, 0), (1, 0)]).ravel()

    def between(n: int) -> tuple[jax.Array, jax.Array]:
        place = jnp.clip((jnp.arange(n) + 0.5) * (TILES / n) - 0.5, 0, TILES - 1)
        first = jnp.minimum(jnp.floor(place), TILES - 2).astype(jnp.int32)
        return first, place - first

    (top, down), (left, right) = between(h), between(w)
    result = jnp.zeros_like(x)
    for below in (0, 1):
        for beside in (0, 1):
            number = (top + below)[:, None] * TILES + (left + beside)[None, :]
            at = number * (BINS + 1) + bins
            value = curves[at] * (1 - part) + curves[at + 1] * part
            weight_y = down if below else 1 - down
            weight_x = right if beside else 1 - right
            result += weight_y[:, None] * weight_x[None, :] * value
    return jnp.clip(result, 0, 1)
