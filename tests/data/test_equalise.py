"""Equalisation on the device: against plain loops, and at the ends of its settings."""

import jax
import numpy as np
import pytest

from cosup_jax.data.equalise import BINS, TILES, equalise

run = jax.jit(equalise)


def picture(seed=0, shape=(40, 52)):
    """Dark air, a brighter body with a gradient, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    body = np.hypot(y - shape[0] / 2, x - shape[1] / 2) < 0.4 * min(shape)
    values = np.where(body, 0.3 + 0.4 * x / shape[1], 0.05) + rng.normal(0, 0.05, shape)
    return np.clip(values, 0, 1).astype(np.float32)


def plain(x, limit, local):
    """The same in loops over tiles and pixels, by np.histogram and np.interp."""
    h, w = x.shape
    rows, columns = (np.arange(n) * TILES // n for n in (h, w))
    shares = np.zeros((TILES, TILES, BINS))
    for i in range(TILES):
        for j in range(TILES):
            tile = x[np.ix_(rows == i, columns == j)]
            shares[i, j] = np.histogram(tile, BINS, (0, 1))[0] / tile.size
    shares = local * shares + (1 - local) * shares.mean((0, 1))
    kept = np.minimum(shares, limit / BINS)
    kept += (1 - kept.sum(-1, keepdims=True)) / BINS
    out = np.zeros_like(x)
    for r in range(h):
        for c in range(w):
            value = 0.0
            for i in range(TILES):
                for j in range(TILES):
                    far = (
                        abs(np.clip((p + 0.5) * TILES / n - 0.5, 0, TILES - 1) - k)
                        for p, n, k in ((r, h, i), (c, w, j))
                    )
                    weight = np.prod([max(0.0, 1 - d) for d in far])
                    if weight:
                        curve = np.concatenate([[0.0], np.cumsum(kept[i, j])])
                        value += weight * np.interp(x[r, c] * BINS, np.arange(BINS + 1), curve)
            out[r, c] = value
    return out


@pytest.mark.parametrize(("limit", "local"), [(3.0, 1.0), (64.0, 0.0), (8.0, 0.5)])
def test_it_is_the_plain_form(limit, local):
    x = picture()
    np.testing.assert_allclose(run(x, limit, local), plain(x, limit, local), atol=2e-5)


def test_the_lower_the_limit_the_less_changes():
    x = picture(1)
    np.testing.assert_allclose(run(x, 0.0), x, atol=1e-5)
    changes = [np.abs(np.asarray(run(x, limit)) - x).mean() for limit in (0.0, 1.0, 4.0, 64.0)]
    assert (np.diff(changes) > 0.01).all()


def test_without_limit_the_histogram_of_the_whole_slice_becomes_flat():
    x = np.random.default_rng(0).beta(2, 8, (96, 96)).astype(np.float32)
    out = np.asarray(run(x, float(BINS), 0.0))
    counts = np.histogram(out, 8, (0, 1))[0]
    assert np.histogram(x, 8, (0, 1))[0].max() > 0.3 * x.size
    np.testing.assert_allclose(counts / x.size, 1 / 8, atol=0.01)


def test_the_order_of_grey_values_stays_where_it_is_one_curve():
    x = picture(2)
    out = np.asarray(run(x, 10.0, 0.0))
    assert (np.diff(out.ravel()[np.argsort(x.ravel())]) >= -1e-6).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_slice_stays_constant_and_within_the_range(value):
    out = np.asarray(run(np.full((16, 16), value, np.float32), 4.0))
    assert np.isfinite(out).all()
    assert 0 <= out.min() <= out.max() <= 1
    assert np.ptp(out) < 1e-6
