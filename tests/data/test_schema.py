"""The feature schema: lossless storage, and the refusal of what does not fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cosup_jax.data import schema

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)
GREY = {"grey8": np.uint8, "grey16": np.uint16, "hu": np.int16}


def example(image=None, **kwargs):
    image = np.zeros((2, 3), np.int16) if image is None else image
    return schema.make_example(image, **{"intensity": "hu", "case_id": "scan", **kwargs})


@given(st.data(), st.sampled_from(sorted(GREY)))
def test_every_grey_value_survives_storage(data, intensity):
    image = data.draw(hnp.arrays(GREY[intensity], SHAPES))
    stored = example(image, intensity=intensity)
    assert stored["image"].dtype == np.int16
    restored = schema.true_values(stored)[..., 0]
    np.testing.assert_array_equal(restored, image.astype(np.float64))


def test_16_bit_limits_by_hand():
    image = np.array([[0, 1, 32767, 32768, 65535]], np.uint16)
    stored = example(image, intensity="grey16")
    assert stored["image"][..., 0].tolist() == [[-32768, -32767, -1, 0, 32767]]
    assert (stored["rescale_slope"], stored["rescale_intercept"]) == (1.0, 32768.0)


def test_all_fields_are_present_whatever_is_known():
    bare, full = (
        example(),
        example(
            patient_id="p",
            slice_index=4,
            mask=np.array([[0, 1, 2], [3, 0, 0]]),
            lung=np.ones((2, 3), bool),
            spacing=(5.0, 0.7, 0.8),
        ),
    )
    assert set(bare) == set(full) == set(schema.features())
    assert not bare["has_mask"]
    assert not bare["has_lung"]
    assert not bare["mask"].any()
    assert bare["patient_id"] == schema.UNKNOWN_PATIENT
    assert np.isnan(bare["spacing"]).all()
    assert full["has_mask"]
    assert full["mask"][..., 0].tolist() == [[0, 1, 2], [3, 0, 0]]
    assert full["lung"].sum() == 6
    np.testing.assert_allclose(full["spacing"], [5.0, 0.7, 0.8], rtol=1e-6)


def test_a_labelled_slice_with_nothing_on_it_is_not_an_unlabelled_one():
    assert example(mask=np.zeros((2, 3), np.uint8))["has_mask"]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"case_id": ""}, "case_id is empty"),
        ({"intensity": "gray"}, "'gray', expected one of"),
        ({"image": np.zeros((2, 3, 1), np.int16)}, r"shape \(2, 3, 1\), expected \(H, W\)"),
        ({"image": np.zeros((0, 3), np.int16)}, "not empty"),
        ({"image": np.zeros((2, 3), np.float32)}, "image of float32, expected int16"),
        ({"mask": np.zeros((3, 2), np.uint8)}, r"mask of shape \(3, 2\), but the image is"),
        ({"mask": np.zeros((2, 3), np.float32)}, "mask of float32, expected an integer"),
        ({"mask": np.full((2, 3), 255)}, r"values \[255\], expected 0..3"),
        ({"mask": np.full((2, 3), -1)}, r"values \[-1\]"),
        ({"lung": np.full((2, 3), 3)}, r"lung holds the values \[3\], expected 0..2"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kwargs, message):
    with pytest.raises(schema.ExampleError, match=message):
        example(**kwargs)
