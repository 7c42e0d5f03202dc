"""Counts at 256 thresholds, what is made of them, and E_φ, each against its plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax import metrics
from cosup_jax.metrics import Counts


def of(xp, function):
    """The function, compiled whole for JAX: each of its operations would be for itself."""
    return function if xp is np else jax.jit(function)


def maps(seed, shape=(2, 5, 4)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape) / 255, rng.random(shape) < rng.random()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_counts_are_those_of_cutting_at_each_threshold(seed):
    prob, truth = maps(seed)
    found = metrics.threshold_counts(prob, truth)
    for k in range(256):
        wanted = metrics.confusion(np.rint(255 * prob).astype(int) >= k, truth)
        for some, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(some[:, k], other)


@pytest.mark.parametrize("xp", [np, jnp])
def test_a_pixel_at_a_threshold_reaches_it(xp, strict_dtypes):
    prob = (np.arange(256) / 255).astype(np.float32).reshape(1, 16, 16)
    run = of(xp, metrics.threshold_counts)
    found = run(xp.asarray(prob), xp.ones((1, 16, 16), bool))
    assert found.tp.dtype == np.int32
    assert isinstance(found.tp, jax.Array) == (xp is jnp)
    np.testing.assert_array_equal(np.asarray(found.tp)[0], 256 - np.arange(256))


@pytest.mark.parametrize("xp", [np, jnp])
def test_values_between_and_outside_of_the_thresholds(xp):
    prob = xp.asarray([[[-0.5, 0.1249, 0.9999, 1.5]]])
    tp = np.asarray(of(xp, metrics.threshold_counts)(prob, xp.ones((1, 1, 4), bool)).tp)[0]
    assert [int(tp[k]) for k in (0, 1, 31, 32, 254, 255)] == [4, 3, 3, 2, 2, 1]


def test_min_max_stretches_each_map_and_leaves_constants():
    stack = np.array([[[2.0, 4.0], [3.0, 6.0]], [[0.3, 0.3], [0.3, 0.3]]])
    wanted = [[[0, 0.5], [0.25, 1]], [[0.3, 0.3], [0.3, 0.3]]]
    for xp in (np, jnp):
        run = of(xp, metrics.min_max)
        np.testing.assert_allclose(run(xp.asarray(stack)), wanted, rtol=1e-6)
        with_channel = np.asarray(run(xp.asarray(stack[..., None])))
        np.testing.assert_allclose(with_channel[..., 0], wanted, rtol=1e-6)


def test_a_threshold_without_overlap_counts_0():
    # Infection is met at thresholds 0..51 of 256 only; the healthy 0.6 stays up to 153.
    prob, truth = np.array([[[0.2, 0.6, 0.0, 0.0]]]), np.array([[[1, 0, 0, 0]]])
    counts = metrics.threshold_counts(prob, truth)
    wanted = {
        "dice": (2 / 5 + 51 * 2 / 3) / 256,
        "sensitivity": 52 / 256,
        "specificity": (0 + 51 * 2 / 3) / 256,
    }
    for name, value in wanted.items():
        found = metrics.threshold_mean(getattr(metrics, name), counts)
        np.testing.assert_allclose(found, [value], err_msg=name)


def test_without_infection_all_means_are_0():
    counts = metrics.threshold_counts(np.zeros((1, 3, 3)), np.zeros((1, 3, 3), bool))
    for score in (metrics.dice, metrics.sensitivity, metrics.specificity):
        assert metrics.threshold_mean(score, counts) == [0]


def plain_e(pred, truth):
    """E_φ of one binary map, pixel by pixel from its definition."""
    if truth.all() or not truth.any():
        return (pred == truth).sum() / (truth.size - 1)
    a, b = pred - pred.mean(), truth - truth.mean()
    aligned = 2 * a * b / (a * a + b * b)
    return ((aligned + 1) ** 2 / 4).sum() / (truth.size - 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_e_is_that_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    pred, truth = (rng.random((3, 4, 5)) < rng.choice([0, 0.2, 0.7, 1]) for _ in range(2))
    found = metrics.e_phi(metrics.confusion(pred, truth))
    wanted = [plain_e(p, t) for p, t in zip(pred, truth, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-9)


# tp, fp, fn, tn and E by hand; 4 × 4 pixels, so the sum is over 15.
GOLDEN = {
    "perfect": ((4, 0, 0, 12), 16 / 15),
    "empty on empty": ((0, 0, 0, 16), 16 / 15),
    "false alarm on empty": ((0, 4, 0, 12), 12 / 15),
    "all infected, half found": ((8, 0, 8, 0), 8 / 15),
    "nothing found": ((0, 0, 4, 12), 4 / 15),  # a is 0, so ξ = 0 and φ = 1/4 everywhere
    "everything is the reverse": ((0, 8, 8, 0), 0),  # ξ = −1
    "half and half": ((4, 4, 4, 4), 8 / 15),  # ξ = ±1
}


@pytest.mark.parametrize("xp", [np, jnp])
def test_e_by_hand(xp, strict_dtypes):
    counts = Counts(*(xp.array([row[0][i] for row in GOLDEN.values()], "int32") for i in range(4)))
    wanted = [row[1] for row in GOLDEN.values()]
    found = of(xp, metrics.e_phi)(counts)
    np.testing.assert_allclose(found, wanted, atol=1e-6, err_msg=str(list(GOLDEN)))


def test_mean_and_maximum_are_those_of_the_curve():
    prob, truth = maps(3)
    curve = metrics.e_phi(metrics.threshold_counts(prob, truth))
    assert curve.shape == (2, 256)
    np.testing.assert_allclose(metrics.e_phi_mean(prob, truth), curve.mean(axis=1))
    np.testing.assert_array_equal(metrics.e_phi_max(prob, truth), curve.max(axis=1))
