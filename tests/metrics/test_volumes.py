"""Volumes: by hand, against the surface-distance package, and on empty masks."""

import math

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cosup_jax import metrics
from cosup_jax.metrics import surface

SPACING = (5.0, 0.7, 0.9)
CUBE = np.zeros((6, 9, 9), bool)
CUBE[2:4, 3:6, 3:6] = True
NOTHING = np.zeros_like(CUBE)


def lesions(seed, share=0.9):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((6, 14, 13)), 1.5)
    return field > np.quantile(field, share)


# The package calls SciPy by names SciPy has given up.
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING, (1.5, 3.0, 0.5)])
@pytest.mark.parametrize("seed", range(4))
def test_agreement_with_the_surface_distance_package(seed, spacing):
    truth = lesions(seed)
    pred = np.roll(truth, seed, axis=1) ^ (lesions(seed + 100, 0.98))
    ours = metrics.measure_surfaces(pred, truth, spacing)
    theirs = surface_distance.compute_surface_distances(truth, pred, spacing)
    for name, key in (("pred_area", "surfel_areas_pred"), ("truth_area", "surfel_areas_gt")):
        np.testing.assert_allclose(np.sort(getattr(ours, name)), np.sort(theirs[key]))
    for name, key in (("pred_distance", "pred_to_gt"), ("truth_distance", "gt_to_pred")):
        np.testing.assert_allclose(np.sort(getattr(ours, name)), theirs[f"distances_{key}"])
    for tolerance in (0.0, 1.0, 2.5):
        wanted = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert metrics.surface_dice(ours, tolerance) == pytest.approx(wanted, abs=1e-9)
    wanted = surface_distance.compute_robust_hausdorff(theirs, 95)
    assert metrics.hd95(ours) == pytest.approx(wanted, abs=1e-9)


def test_areas_by_hand():
    area = surface.areas(SPACING)
    z, y, x = SPACING
    assert area[0] == area[255] == 0
    assert area[0b00001111] == pytest.approx(y * x)  # a cut across z
    assert area[0b00110011] == pytest.approx(z * x)
    assert area[0b01010101] == pytest.approx(z * y)
    corner = math.sqrt((y * x) ** 2 + (z * x) ** 2 + (z * y) ** 2) / 8  # a triangle of midpoints
    assert area[0b00000001] == area[0b11111110] == pytest.approx(corner)
    np.testing.assert_allclose(area, area[::-1])


def test_a_shifted_cube_by_hand():
    found = metrics.volume_scores(np.roll(CUBE, 1, axis=2), CUBE, SPACING)
    assert found.dice == pytest.approx(2 / 3)
    assert found.volume_ml == found.true_volume_ml == pytest.approx(18 * 5 * 0.7 * 0.9 / 1000)
    assert found.volume_error_ml == 0
    assert found.hd95_mm == pytest.approx(0.9)
    assert found.surface_dice == 1
    far = metrics.volume_scores(np.roll(CUBE, 1, axis=0), CUBE, SPACING)
    assert far.hd95_mm == pytest.approx(5)
    assert far.surface_dice < 1


def test_the_tolerance_is_in_millimetres_and_includes_its_end():
    shifted = np.roll(CUBE, 2, axis=1)
    at, below = (metrics.volume_scores(shifted, CUBE, (4, 1, 1), tolerance=t) for t in (2, 1.99))
    assert at.surface_dice == 1 > below.surface_dice


@pytest.mark.parametrize("side", [1 - 3e-6, 1.0, 1 + 2.35e-8, 1 + 3e-6])
def test_the_rounding_of_voxel_sides_decides_nothing(side):
    """Sides read from an oblique affine in single precision are a little more or less."""
    found = metrics.volume_scores(np.roll(CUBE, 1, axis=2), CUBE, (side,) * 3)
    assert found.surface_dice == 1


def test_volumes_and_their_error():
    truth = np.zeros((4, 10, 10), bool)
    truth[1:3, :5, :5] = True
    pred = np.zeros_like(truth)
    pred[1:3, :5, :3] = True
    found = metrics.volume_scores(pred, truth, (2.5, 0.8, 0.8))
    assert found.true_volume_ml == pytest.approx(50 * 1.6 / 1000)
    assert found.volume_error_ml == pytest.approx(20 * 1.6 / 1000)
    assert found.dice == pytest.approx(60 / 80)


# prediction, truth: (dice, hd95, surface Dice) under "one" and under "nan"
EMPTY = {
    "both": (NOTHING, NOTHING, (1, 0, 1), (math.nan,) * 3),
    "missed": (NOTHING, CUBE, (0, math.inf, 0), (0, math.inf, 0)),
    "false alarm": (CUBE, NOTHING, (0, math.inf, 0), (0, math.inf, 0)),
    "neither": (CUBE, CUBE, (1, 0, 1), (1, 0, 1)),
}


@pytest.mark.parametrize("case", EMPTY)
def test_empty_masks(case):
    pred, truth, *wanted = EMPTY[case]
    for empty, values in zip(("one", "nan"), wanted, strict=True):
        found = metrics.volume_scores(pred, truth, SPACING, empty=empty)
        np.testing.assert_equal((found.dice, found.hd95_mm, found.surface_dice), values)
        assert found.volume_error_ml == abs(found.volume_ml - found.true_volume_ml)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_prediction_and_truth_may_be_swapped_and_place_does_not_matter(seed):
    a, b = lesions(seed), lesions(seed + 1)
    found, swapped = metrics.volume_scores(a, b, SPACING), metrics.volume_scores(b, a, SPACING)
    moved = metrics.volume_scores(*(np.pad(m, ((2, 0), (0, 3), (1, 1))) for m in (a, b)), SPACING)
    for name in ("dice", "hd95_mm", "surface_dice", "volume_error_ml"):
        assert getattr(found, name) == pytest.approx(getattr(swapped, name))
        assert getattr(found, name) == pytest.approx(getattr(moved, name))


@pytest.mark.parametrize(
    ("pred", "truth", "spacing", "error", "message"),
    [
        (CUBE[0], CUBE[0], SPACING, ValueError, r"\(9, 9\).*\(Z, Y, X\)"),
        (CUBE[1:], CUBE, SPACING, ValueError, r"\(5, 9, 9\) and truth of shape \(6, 9, 9\)"),
        (CUBE * 0.5, CUBE, SPACING, TypeError, "prediction is float64"),
        (CUBE, CUBE, (1, 1), ValueError, r"spacing is \(1, 1\)"),
        (CUBE, CUBE, (5, 0, 1), ValueError, "three positive numbers"),
    ],
)
def test_what_does_not_fit_is_refused(pred, truth, spacing, error, message):
    with pytest.raises(error, match=message):
        metrics.volume_scores(pred, truth, spacing)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="'zero'.*one, nan"):
        metrics.hd95(metrics.measure_surfaces(CUBE, CUBE, SPACING), "zero")


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0, 1, 1), (-1, 1, 1), (math.nan, 1, 1), 1.0])
@pytest.mark.parametrize(
    "measure",
    [
        metrics.voxel_ml,
        lambda spacing: metrics.lesion_volume(CUBE, spacing),
        lambda spacing: metrics.lesion_scores(CUBE, CUBE, spacing),
        lambda spacing: metrics.volume_scores(CUBE, CUBE, spacing),
    ],
)
def test_no_volume_is_made_of_a_wrong_spacing(measure, spacing):
    with pytest.raises(ValueError, match="spacing is .*, expected three positive numbers"):
        measure(spacing)


@pytest.mark.parametrize(
    "measure",
    [
        lambda mask: metrics.lesion_volume(mask, SPACING),
        lambda mask: metrics.lesion_scores(mask, CUBE, SPACING),
        lambda mask: metrics.lesion_scores(CUBE, mask, SPACING),
        lambda mask: metrics.measure_surfaces(mask, CUBE, SPACING),
    ],
)
def test_probabilities_are_no_mask(measure):
    with pytest.raises(TypeError, match="float64, expected bool or an integer type: cut prob"):
        measure(np.full(CUBE.shape, 0.01))


def test_a_volume_without_slices_is_empty():
    none = NOTHING[:0]
    assert metrics.volume_scores(none, none, SPACING)[:3] == (1, 0, 0)
