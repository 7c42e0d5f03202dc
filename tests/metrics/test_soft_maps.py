"""S, E and MAE against pysodmetrics: NumPy to 1e-6, JAX in float32 to 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import metrics
from tests.metrics.sod_cases import blurred, pysodmetrics, real, synthetic, truths


def measure(grey, truth, xp=np):
    """Our S, MAE and E of (B, H, W) grey maps."""

    def all_of(prob, truth):
        prob = metrics.min_max(prob)
        curve = metrics.e_phi(metrics.threshold_counts(prob, truth))
        return {"s": metrics.s_alpha(prob, truth), "mae": metrics.mae(prob, truth), "e": curve}

    return (jax.jit(all_of) if xp is jnp else all_of)(xp.asarray(grey / 255), xp.asarray(truth))


@pytest.mark.parametrize(("xp", "within"), [(np, 1e-6), (jnp, 1e-5)])
def test_they_agree_with_pysodmetrics(xp, within):
    grey, truth = synthetic()
    found = measure(grey, truth, xp)
    for i in range(len(grey)):
        for name, wanted in pysodmetrics(grey[i], truth[i]).items():
            np.testing.assert_allclose(found[name][i], wanted, rtol=0, atol=within, err_msg=name)


def test_they_agree_on_a_map_that_has_to_be_stretched():
    truth = truths()["lesions"]
    grey = (40 + blurred(truth) // 2).astype(np.uint8)
    found = measure(grey[None], truth[None])
    for name, wanted in pysodmetrics(grey, truth).items():
        np.testing.assert_allclose(found[name][0], wanted, rtol=0, atol=1e-6, err_msg=name)


def test_they_agree_on_real_masks():
    for grey, truth in real(6):
        found = measure(grey[None], truth[None])
        for name, wanted in pysodmetrics(grey, truth).items():
            np.testing.assert_allclose(found[name][0], wanted, rtol=0, atol=1e-6, err_msg=name)


def test_float32_is_enough_for_large_slices():
    grey = np.random.default_rng(0).integers(0, 256, (1, 320, 320), np.uint8)
    truth = np.zeros(grey.shape, bool)
    truth[0, 100:180, 40:250] = True
    wanted, found = measure(grey, truth), measure(grey, truth, jnp)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("xp", [np, jnp])
def test_types_and_the_channel_axis(xp, strict_dtypes):
    grey, truth = synthetic()
    prob, truth = xp.asarray((grey[:5] / 255).astype(np.float32)), xp.asarray(truth[:5])
    for function in (metrics.s_alpha, metrics.e_phi_mean, metrics.e_phi_max, metrics.mae):
        function = jax.jit(function) if xp is jnp else function
        found = function(prob, truth)
        assert found.dtype == (np.float64 if xp is np else np.float32)
        assert isinstance(found, jax.Array) == (xp is jnp)
        np.testing.assert_array_equal(function(prob[..., None], truth[..., None]), found)


@pytest.mark.parametrize(
    "function", [metrics.s_alpha, metrics.e_phi_mean, metrics.e_phi_max, metrics.threshold_counts]
)
def test_what_is_no_soft_map_is_refused(function):
    grey = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(TypeError, match="uint8.*divide grey values by 255"):
        function(grey, grey)
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) and truth of shape \(1, 4, 4, 1\)"):
        function(np.zeros((1, 4, 4)), grey[..., None])
    with pytest.raises(ValueError, match="3 channels, expected 1"):
        function(np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 3), bool))
