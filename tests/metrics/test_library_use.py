"""What people hand over that is no map, no mask, no setting: refused, and never counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import losses, metrics

TRUTH = np.zeros((2, 4, 4), bool)
TRUTH[:, 1:3, 1:3] = True
PROB = np.where(TRUTH, 0.75, 0.25)
SOFT = ("mae", "s_alpha", "e_phi_mean", "e_phi_max", "threshold_counts")


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("xp", [np, jnp])
def test_maps_that_are_no_probabilities_are_refused(name, xp):
    score = getattr(metrics, name)
    holed = PROB.copy()
    holed[0, 0, 0] = np.nan
    for wrong, said in ((255 * PROB, "from 63.75 to 191.25"), (holed, "from nan to nan")):
        with pytest.raises(ValueError, match=f"{said}, expected probabilities 0..1"):
            score(xp.asarray(wrong), TRUTH)
    score(xp.asarray(PROB[:0]), TRUTH[:0])  # an empty batch has no values


@pytest.mark.parametrize("name", SOFT)
def test_under_jit_nothing_is_known_of_values(name):
    score = getattr(metrics, name)
    wanted = jax.tree.leaves(score(jnp.asarray(PROB), TRUTH))
    for found, value in zip(jax.tree.leaves(jax.jit(score)(PROB, TRUTH)), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-6)


@pytest.mark.parametrize("count", [metrics.confusion, metrics.mae])
def test_slices_of_a_volume_are_a_batch_and_no_channels(count):
    volume = TRUTH[None]  # (1, Z, Y, X)
    with pytest.raises(ValueError, match=r"shape \(1, 2, 4, 4\) has 4 channels, expected 1"):
        count(volume, volume)


def test_logits_that_are_none_and_thresholds_that_are_none_are_refused():
    logits, truth = np.zeros((1, 2, 2, 1), np.float32), np.ones((1, 2, 2, 1), bool)
    with pytest.raises(ValueError, match="the logits hold NaN"):
        metrics.from_logits(np.nan + logits, truth)
    for threshold in (-0.1, 2.0, np.nan):
        with pytest.raises(ValueError, match=f"threshold is {threshold}, expected a probability"):
            metrics.from_logits(logits, truth, threshold)


def test_settings_of_volumes_that_mean_nothing_are_refused():
    spacing = (5.0, 1.0, 1.0)
    for tolerance in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"tolerance is {tolerance}, expected a distance"):
            metrics.volume_scores(TRUTH, TRUTH, spacing, tolerance=tolerance)
    for given in ({"overlap": 0.0}, {"overlap": 1.5}, {"smallest_ml": -1.0}, {"overlap": np.nan}):
        with pytest.raises(ValueError, match="expected a volume in mL and a share"):
            metrics.lesion_scores(TRUTH, TRUTH, spacing, **given)


def test_dice_of_a_volume_is_that_of_all_its_voxels():
    found = np.roll(TRUTH, 1, axis=2)
    assert metrics.volume_scores(found, TRUTH, (5.0, 1.0, 1.0)).dice == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_floating_mask_of_0_and_255_is_that_of_0_and_1(dtype):
    logits = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype(np.float32)
    wanted = losses.soft_dice(logits, TRUTH[..., None])
    found = jax.jit(losses.soft_dice)(logits, (255 * TRUTH[..., None]).astype(dtype))
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)
