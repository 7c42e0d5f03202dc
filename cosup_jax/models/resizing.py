"""How maps change their size: bilinear in the two conventions, and means over a grid of bins."""

import jax
import jax.numpy as jnp
import numpy as np


def resize(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes (B, h, w, C) maps to (B, `*size`, C), bilinear with half-pixel centres.

    There is no anti-aliasing, as in the frameworks whose published results the package compares
    with. The same size returns `x` itself.
    """
    if x.shape[1:3] == tuple(size):
        return x
    shape = (x.shape[0], *size, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def resize_planes(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes (P, B, h, w) planes to (P, B, `*size`) as `resize` does maps."""
    planes, b, h, w = x.shape
    if (h, w) == size:
        return x
    stacked = jnp.moveaxis(x, 2, 0).reshape(h, planes * b, w)
    weights = [half_pixel(n, m) for n, m in zip((h, w), size, strict=True)]
    return rows_and_columns(stacked, *weights).reshape(planes, b, *size)


def half_pixel(n: int, m: int) -> np.ndarray:
    """The (m, n) weights of n samples in each of m, of a bilinear resize without anti-aliasing."""
    return _linear(np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1), n)


def rows_and_columns(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Takes weighted sums along both axes of planes, as two products of large matrices.

    Args:
      x: (k, B, l).
      rows: (H, k) weights.
      columns: (W, l) weights.

    Returns:
      (B, H, W).
    """
    k, b, _ = x.shape
    down, across = (jnp.asarray(weights, x.dtype) for weights in (rows, columns))
    exact = jax.lax.Precision.HIGHEST
    x = jnp.einsum("kbl,wl->kbw", x, across, precision=exact)
    x = jnp.dot(down, x.reshape(k, -1), precision=exact)
    return jnp.moveaxis(x.reshape(len(rows), b, len(columns)), 0, 1)


def resize_aligned(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes (B, h, w, C) maps to (B, `*size`, C), bilinear with aligned corners.

    The corner pixels of both grids have the same centres: of H output rows, row i stands at input
    row i (h − 1) / (H − 1). `resize` instead aligns their outer borders. A single row is repeated,
    and where one is asked for, it is the first. The same size returns `x` itself.
    """
    if x.shape[1:3] == tuple(size):
        return x
    weights = [_aligned(n, m) for n, m in zip(x.shape[1:3], size, strict=True)]
    return _by_rows_and_columns(x, weights)


def double_aligned(x: jax.Array) -> jax.Array:
    """Enlarges (B, h, w, C) to (B, 2h, 2w, C) as `resize_aligned` does."""
    return resize_aligned(x, (2 * x.shape[1], 2 * x.shape[2]))


def average_bins(x: jax.Array, bins: int) -> jax.Array:
    """Averages (B, h, w, C) maps over `bins` × `bins` rectangles: (B, bins, bins, C).

    Bin i of n rows has those from ⌊i n / bins⌋ to ⌈(i + 1) n / bins⌉, the last excluded; where
    `bins` does not divide n, neighbours share a row ("adaptive" average pooling).
    """
    return _by_rows_and_columns(x, [_means(n, bins) for n in x.shape[1:3]])


def _by_rows_and_columns(x: jax.Array, weights: list[np.ndarray]) -> jax.Array:
    """Takes weighted sums of the rows of (B, h, w, C), then of its columns."""
    rows, columns = (jnp.asarray(w, x.dtype) for w in weights)
    exact = jax.lax.Precision.HIGHEST
    x = jnp.einsum("Hh,bhwc->bHwc", rows, x, precision=exact)
    return jnp.einsum("Ww,bHwc->bHWc", columns, x, precision=exact)


def _aligned(n: int, m: int) -> np.ndarray:
    """The (m, n) weights of n samples in each of m."""
    return _linear(np.linspace(0, n - 1, m), n)


def _linear(places: np.ndarray, n: int) -> np.ndarray:
    """The weights of n samples at each place from 0 to n - 1, which the nearest two share."""
    apart = np.abs(places[:, None] - np.arange(n)[None])
    return np.maximum(0, 1 - apart).astype(np.float32)


def _means(n: int, bins: int) -> np.ndarray:
    """The (bins, n) weights of n samples in the mean of each bin."""
    i, place = np.arange(bins)[:, None], np.arange(n)[None]
    inside = (place >= i * n // bins) & (place < -(-(i + 1) * n // bins))
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)
