"""Resizes and means over bins, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax.models.resizing import (
    average_bins,
    double_aligned,
    resize,
    resize_aligned,
    resize_planes,
)


def bilinear_1d(n_in: int, n_out: int) -> np.ndarray:
    """The (n_out, n_in) weights of half-pixel linear interpolation with clamped borders."""
    weights = np.zeros((n_out, n_in))
    for i in range(n_out):
        place = min(max((i + 0.5) * n_in / n_out - 0.5, 0), n_in - 1)
        low = int(np.floor(place))
        high = min(low + 1, n_in - 1)
        weights[i, low] += 1 - (place - low)
        weights[i, high] += place - low
    return weights


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 4, 8]))
def test_resize_is_half_pixel_bilinear(height, width, factor):
    x = np.random.default_rng(height * 7 + width).standard_normal((2, height, width, 3))
    size = (height * factor, width * factor)
    rows, columns = bilinear_1d(height, size[0]), bilinear_1d(width, size[1])
    wanted = np.einsum("yh,xw,bhwc->byxc", rows, columns, x)

    @jax.jit
    def both(x):
        return resize(x, size), resize_planes(x.transpose(3, 0, 1, 2), size)

    found, planes = both(x.astype(np.float32))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(planes, wanted.transpose(3, 0, 1, 2), atol=1e-5)


@pytest.mark.parametrize("size", [(4, 8), (9, 3), (2, 9)])
def test_planes_of_any_size_become_those_of_jax(size, strict_dtypes):
    x = np.random.default_rng(4).standard_normal((2, 3, 4, 3), np.float32)
    wanted = jax.image.resize(x, (2, 3, *size), "bilinear", antialias=False)
    np.testing.assert_allclose(resize_planes(jnp.asarray(x), size), wanted, atol=1e-6)


def test_resize_shrinks_without_antialiasing():
    x = jnp.arange(8, dtype=jnp.float32).reshape(1, 1, 8, 1)
    np.testing.assert_allclose(resize(x, (1, 2)).ravel(), [1.5, 5.5])


def test_resize_to_the_same_size_is_the_array_itself():
    x = jnp.ones((1, 4, 6, 2))
    assert resize(x, (4, 6)) is x


@pytest.mark.parametrize(
    ("size", "to"),
    [((1, 1), (2, 2)), ((1, 5), (9, 3)), ((2, 3), (2, 7)), ((7, 4), (3, 1)), ((4, 5), (9, 33))],
)
def test_with_aligned_corners_it_is_linear_between_them(size, to):
    wanted = x = np.random.default_rng(size[0]).standard_normal((2, *size, 3))
    for axis, n, m in ((1, size[0], to[0]), (2, size[1], to[1])):
        places = np.linspace(0, n - 1, m)
        wanted = np.apply_along_axis(
            lambda line, n=n, places=places: np.interp(places, np.arange(n), line), axis, wanted
        )
    found = jax.jit(resize_aligned, static_argnums=1)(jnp.asarray(x, jnp.float32), to)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    if to == (2 * size[0], 2 * size[1]):
        np.testing.assert_array_equal(found, double_aligned(jnp.asarray(x, jnp.float32)))


def test_resize_aligned_to_the_same_size_is_the_array_itself():
    x = jnp.ones((1, 4, 6, 2))
    assert resize_aligned(x, (4, 6)) is x


@pytest.mark.parametrize(("n", "bins"), [(1, 3), (4, 2), (5, 3), (8, 6), (32, 6), (33, 3)])
def test_bins_share_rows_where_they_do_not_divide(n, bins):
    x = np.random.default_rng(n).standard_normal((2, n, n + 1, 3)).astype(np.float32)
    edges = [[(i * m // bins, -(-(i + 1) * m // bins)) for i in range(bins)] for m in (n, n + 1)]
    wanted = [[x[:, a:b, c:d].mean((1, 2)) for c, d in edges[1]] for a, b in edges[0]]
    found = average_bins(jnp.asarray(x), bins)
    np.testing.assert_allclose(found, np.moveaxis(np.array(wanted), 2, 0), rtol=1e-5, atol=1e-6)
