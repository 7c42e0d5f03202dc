"""Calibration and the tuned threshold, against plain forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax import metrics
from cosup_jax.evaluation.calibration import best_threshold, calibration, tuned


def slices(seed, n=3, shape=(9, 7)):
    rng = np.random.default_rng(seed)
    prob = rng.integers(0, 256, (n, *shape)) / 255
    return prob, rng.random(prob.shape) < prob * rng.random()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_bins_are_those_of_sorting_every_pixel(seed, bins):
    prob, truth = slices(seed)
    found = calibration(metrics.threshold_counts(prob, truth), bins)
    place = np.minimum((prob * bins).astype(int), bins - 1)
    error = 0.0
    for k in range(bins):
        here = place == k
        assert found.pixels[k] == here.sum()
        if not here.any():
            assert np.isnan(found.confidence[k])
            continue
        assert found.confidence[k] == pytest.approx(prob[here].mean())
        assert found.frequency[k] == pytest.approx(truth[here].mean())
        error += here.mean() * abs(prob[here].mean() - truth[here].mean())
    assert found.ece == pytest.approx(error)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_best_threshold_beats_all_others(seed):
    prob, truth = slices(seed)
    levels = metrics.threshold_counts(prob, truth)
    threshold = best_threshold(levels)

    def dice(k):
        return metrics.dice(metrics.confusion(np.rint(255 * prob) >= k, truth)).mean()

    best = dice(round(255 * threshold))
    assert best == pytest.approx(max(dice(k) for k in range(256)))
    found = tuned(levels, levels)
    assert found["threshold"] == threshold
    assert found["dice"]["mean"] == pytest.approx(best)


def test_of_equal_thresholds_the_one_next_to_a_half_is_taken():
    prob, truth = np.array([[[0.2, 1.0]]]), np.array([[[0, 1]]])
    assert best_threshold(metrics.threshold_counts(prob, truth)) == pytest.approx(0.5, abs=1 / 255)


def test_dice_is_reported_on_other_slices_than_the_threshold_is_chosen_on():
    truth = np.array([[[0, 1]]])
    levels = metrics.threshold_counts(np.array([[[0.2, 0.4]]]), truth)
    low = metrics.threshold_counts(np.array([[[0.0, 0.1]]]), truth)
    found = tuned(levels, low)
    assert 0 < found["threshold"] <= 0.1
    assert found["dice"] == {"mean": pytest.approx(2 / 3), "std": 0.0, "n": 1}
