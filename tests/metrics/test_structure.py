"""S_α by hand, and where it is defined by its special cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax.metrics import s_alpha

SQUARE = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def one(prob, truth=SQUARE, alpha=0.5, xp=np):
    maps = [xp.asarray(np.asarray(m, kind)[None]) for m, kind in ((prob, float), (truth, bool))]
    measure = jax.jit(s_alpha) if xp is jnp else s_alpha
    return float(measure(*maps, alpha=alpha)[0])


@pytest.mark.parametrize("xp", [np, jnp])
def test_by_hand(xp):
    # The centroid (0.5, 0.5) rounds to (0, 0): quarters of 1, 3, 3 and 9 pixels.
    # p is 1/2 in the lesion and 0 outside. Objects: 2 (1/2) / (1/4 + 1) = 0.8 inside, 1 outside.
    assert one(0.5 * SQUARE, alpha=1.0, xp=xp) == pytest.approx(0.25 * 0.8 + 0.75, abs=1e-6)
    # Regions: p = g / 2 everywhere, so σ_xy = σ_g² / 2, σ_p² = σ_g² / 4 and x = y / 2, hence
    # 4 (1/2)(1/2) / ((5/4)(5/4)) = 0.64 where g varies; 1 where p and g are constant (one pixel).
    assert one(0.5 * SQUARE, alpha=0.0, xp=xp) == pytest.approx((1 + 15 * 0.64) / 16, abs=1e-6)


@pytest.mark.parametrize("xp", [np, jnp])
def test_special_cases(xp):
    ramp = np.linspace(0, 1, 16).reshape(4, 4)
    assert one(ramp**2, np.zeros((4, 4)), xp=xp) == pytest.approx(1 - (ramp**2).mean(), abs=1e-6)
    assert one(ramp**2, np.ones((4, 4)), xp=xp) == pytest.approx((ramp**2).mean(), abs=1e-6)
    assert one(SQUARE, xp=xp) == pytest.approx(1, abs=1e-6)
    assert one(1 - SQUARE, xp=xp) == 0


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize("place", [(0, 0), (0, 5), (4, 0), (4, 5), (2, 3)])
def test_a_lesion_of_one_pixel_at_the_border(place, xp):
    truth = np.zeros((5, 6))
    truth[place] = 1
    assert one(truth, truth, xp=xp) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize("level", [0.1, 100 / 255, 0.7])
def test_a_constant_map_is_constant_in_every_quarter(level, xp):
    # Only the upper left quarter, a quarter of the slice, has infection, and no covariance.
    truth = np.zeros((8, 8))
    truth[1, 1], truth[3, 3], truth[5, 5] = 1, 1, 1
    flat = np.full((8, 8), level)
    assert one(flat, truth, alpha=0.0, xp=xp) == pytest.approx((4 * 4 + 4 * 4) / 64, abs=1e-6)


@pytest.mark.parametrize("xp", [np, jnp])
def test_a_faint_map_is_not_an_empty_one(xp):
    # Four equal quarters; the upper left one is missed, the lower right one faintly touched.
    truth, faint = np.zeros((8, 8)), np.zeros((8, 8))
    truth[3, 3], faint[6, 6] = 1, 1e-12
    assert one(0 * faint, truth, alpha=0.0, xp=xp) == pytest.approx(3 / 4)
    assert one(faint, truth, alpha=0.0, xp=xp) == pytest.approx(2 / 4)


def test_it_is_jitted_and_batched():
    rng = np.random.default_rng(0)
    prob = rng.random((3, 9, 7)).astype(np.float32)
    truth = rng.random((3, 9, 7)) < np.array([0, 0.4, 1])[:, None, None]
    wanted = [one(p, t) for p, t in zip(prob, truth, strict=True)]
    np.testing.assert_allclose(jax.jit(s_alpha)(prob, truth), wanted, atol=1e-6)
