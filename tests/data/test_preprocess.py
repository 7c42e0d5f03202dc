"""Preprocessing: golden values, properties, and what must never happen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from cosup_jax.data import preprocess, schema
from cosup_jax.data.preprocess import Preprocessing

SMALL = Preprocessing(size=(16, 16))


def stored(image, mask=None, **kwargs):
    """An example as it comes back from disk."""
    example = schema.make_example(image, case_id="c", mask=mask, slice_index=3, **kwargs)
    return {
        **example,
        "case_id": b"c",
        "patient_id": b"p",
        "intensity": schema.INTENSITIES.index(example["intensity"]),
    }


def test_window_maps_its_ends_to_0_and_1():
    hu = np.array([-3000.0, -1350.0, -600.0, 150.0, 3000.0], np.float32)
    assert preprocess.apply_window(hu, (-600.0, 1500.0)).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_window_applies_to_hu_alone():
    image = np.linspace(0, 255, 256).reshape(16, 16).astype(np.uint8)
    grey = preprocess.prepare_image(image.astype(np.float32), "grey8", SMALL)
    raised = preprocess.prepare_image(image.astype(np.float32) + 1000, "grey8", SMALL)
    np.testing.assert_allclose(grey, raised, atol=1e-4)
    hu = preprocess.prepare_image(image.astype(np.float32) + 1000, "hu", SMALL)
    assert not hu.any()  # all above the window: constant, and so zero


@given(value=st.floats(-3e4, 3e4, width=32), intensity=st.sampled_from(schema.INTENSITIES))
def test_a_constant_slice_becomes_zero_not_nan(value, intensity):
    image = np.full((20, 12), value, np.float32)
    np.testing.assert_array_equal(preprocess.prepare_image(image, intensity, SMALL), 0.0)


@given(hnp.arrays(np.int16, (16, 16)))
@settings(max_examples=50)
def test_z_score_has_mean_0_and_deviation_1(image):
    out = preprocess.prepare_image(image.astype(np.float32), "unknown", SMALL)
    assert out.shape == (16, 16, 1)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert abs(out.mean()) < 1e-3
    assert out.std() == pytest.approx(1.0, abs=1e-3) or not out.any()


def test_shrinking_by_two_averages_and_growing_interpolates_at_half_pixels():
    grown = preprocess.resize_image(np.array([[0.0, 4.0]], np.float32), (1, 4))
    np.testing.assert_allclose(grown, [[0.0, 1.0, 3.0, 4.0]])
    checkers = (np.indices((16, 16)).sum(0) % 2).astype(np.float32)
    shrunk = preprocess.resize_image(checkers, (8, 8))
    np.testing.assert_allclose(shrunk[1:-1, 1:-1], 0.5, atol=1e-6)
    np.testing.assert_array_equal(preprocess.resize_image(checkers, (16, 16)), checkers)


def test_labels_are_resized_without_new_values():
    labels = np.zeros((10, 10), np.uint8)
    labels[3:7, 3:7] = 3
    out = preprocess.resize_labels(labels, (16, 12))
    assert out.shape == (16, 12)
    assert set(np.unique(out)) == {0, 3}


def brute_force_edges(mask):
    """Dilation minus erosion by the cross, pixel by pixel; outside the picture nothing counts."""
    h, w = mask.shape
    out = np.zeros((h, w), np.uint8)
    for y in range(h):
        for x in range(w):
            near = [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            values = [mask[a, b] for a, b in near if 0 <= a < h and 0 <= b < w]
            out[y, x] = max(values) - min(values)
    return out


@given(hnp.arrays(np.uint8, (7, 9), elements=st.integers(0, 1)))
def test_edges_are_the_morphological_gradient(mask):
    np.testing.assert_array_equal(preprocess.edges(mask), brute_force_edges(mask))


def test_edge_of_a_square_is_two_pixels_wide():
    mask = np.zeros((9, 9), np.uint8)
    mask[3:6, 3:6] = 1
    golden = ndimage.grey_dilation(mask, footprint=ndimage.generate_binary_structure(2, 1)) - (
        ndimage.grey_erosion(mask, footprint=ndimage.generate_binary_structure(2, 1))
    )
    np.testing.assert_array_equal(preprocess.edges(mask), golden)
    assert preprocess.edges(mask).sum() == 8 + 12


def test_all_infection_classes_become_one():
    mask = np.zeros((16, 16), np.uint8)
    mask[0, :3] = [1, 2, 3]
    image = np.zeros((16, 16), np.int16)
    out = preprocess.prepare_example(stored(image, mask, intensity="hu"), SMALL)
    assert out["mask"].sum() == 3
    assert set(np.unique(out["mask"])) == {0, 1}
    assert (out["case_id"], out["patient_id"], out["slice_index"]) == ("c", "p", 3)


def test_sixteen_bit_sources_give_what_they_hold():
    image = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    out = preprocess.prepare_example(
        stored(image, np.zeros((16, 16), np.uint8), intensity="grey16"), SMALL
    )
    expected = preprocess.z_score(image.astype(np.float64))
    np.testing.assert_allclose(out["image"][..., 0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("intensity", "low", "high"), [("grey8", 0, 255), ("grey16", 0, 65535), ("hu", -1350, 150)]
)
def test_unit_scaling_maps_the_known_range_to_0_and_1(intensity, low, high):
    unit = Preprocessing(size=(16, 16), scaling="unit")
    image = np.full((16, 16), low, np.float32)
    image[0] = high
    image[1] = (low + high) / 2
    out = preprocess.prepare_image(image, intensity, unit)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[[0, 1, 2], 0, 0], [1.0, 0.5, 0.0], atol=1e-6)
    darker = preprocess.prepare_image(image * 0.5 if low == 0 else image, intensity, unit)
    assert darker.max() == pytest.approx(0.5 if low == 0 else 1.0)  # not the slice's own range


def test_unit_scaling_of_an_unknown_range_takes_the_slice_s_own():
    unit = Preprocessing(size=(16, 16), scaling="unit")
    image = np.linspace(-3, 9, 256, dtype=np.float32).reshape(16, 16)
    out = preprocess.prepare_image(image, "unknown", unit)
    assert (out.min(), out.max()) == (0.0, 1.0)
    constant = preprocess.prepare_image(np.full((16, 16), 4.0, np.float32), "unknown", unit)
    assert not constant.any()


def test_an_unknown_scaling_is_refused():
    with pytest.raises(
        ValueError, match=r"data\.scaling is 'zscore', expected one of z_score, unit"
    ):
        Preprocessing(scaling="zscore")


def test_an_unlabelled_slice_is_refused_by_name():
    with pytest.raises(preprocess.UnlabelledSliceError, match="'c', slice 3 has no mask"):
        preprocess.prepare_example(stored(np.zeros((16, 16), np.int16), intensity="hu"), SMALL)


@pytest.mark.parametrize("width", [0, -1350.0, np.nan])
def test_a_window_without_width_is_refused(width):
    with pytest.raises(ValueError, match=r"expected \(centre, width\) in HU, a width above 0"):
        preprocess.apply_window(np.zeros((2, 2)), (150.0, width))
