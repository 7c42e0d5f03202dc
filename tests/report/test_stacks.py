"""Volumes as pictures: how far values may move, and that a budget holds."""

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cosup_jax.report import stacks


def opened(stack):
    """The codes of a stack, (Z, h, w), read by the library's own decoder."""
    return np.stack(
        [
            np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))[..., 0]
            if file
            else np.zeros(stack.size, np.uint8)
            for file in stack.pictures
        ]
    )


def test_every_hounsfield_unit_moves_by_half_a_step_at_most():
    values = np.arange(-1024, 1381, dtype=np.int16).reshape(1, 37, 65)
    (stack,) = stacks.fit([stacks.Coded(values, stacks.HU_LEVELS)], 1 << 20)
    error = np.abs(stacks.HU_LEVELS[opened(stack)] - values)
    assert stack.quality is None
    assert error.max() <= 20
    assert error[values <= 300].max() <= 4
    assert error[(values >= -200) & (values <= 300)].max() <= 2


def test_what_lies_outside_of_the_levels_is_clipped():
    values = np.array([[[-3024, -1024, 1380, 3071]]], np.int16)
    (stack,) = stacks.fit([stacks.Coded(values, stacks.HU_LEVELS)], 1 << 20)
    assert stacks.HU_LEVELS[opened(stack)].ravel().tolist() == [-1024, -1024, 1380, 1380]


@pytest.mark.parametrize(
    ("values", "first", "last"),
    [([0, 7, 200], 0, 255), ([0.0, 0.5, 1.0], 0, 1), ([-3, 900], -3, 900)],
)
def test_grey_levels_are_whole_where_values_are_and_else_span_the_range(values, first, last):
    levels = stacks.grey_levels(np.array(values))
    assert (levels[0], levels[-1], len(levels)) == (first, last, 256)
    np.testing.assert_allclose(np.diff(levels), (last - first) / 255, rtol=1e-3)


def test_a_constant_volume_has_levels():
    assert (np.diff(stacks.grey_levels(np.full((2, 3, 4), 1000.0))) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1), side=st.integers(1, 40))
def test_masks_come_back_voxel_for_voxel(seed, share, side):
    mask = np.random.default_rng(seed).random((3, side, 41 - side)) < share
    stack = stacks.pack_mask(mask)
    np.testing.assert_array_equal(opened(stack) > 127, mask)
    assert [len(file) > 0 for file in stack.pictures] == mask.any((1, 2)).tolist()


@pytest.fixture(scope="module")
def two_volumes():
    rng = np.random.default_rng(0)
    return [
        stacks.Coded(rng.normal(-500, 300, (4, 64, 80)), stacks.HU_LEVELS),
        stacks.Coded(rng.random((4, 64, 80)), stacks.PROBABILITY_LEVELS),
    ]


@pytest.fixture(scope="module")
def least(two_volumes):
    """The bytes that the smallest pictures take, as the refusal names them."""
    with pytest.raises(ValueError, match="4 slices take") as refusal:
        stacks.fit(two_volumes, 0)
    return int(re.search(r"take ([\d,]+) bytes", str(refusal.value))[1].replace(",", ""))


@settings(max_examples=15, deadline=None)
@given(room=st.integers(0, 60_000))
def test_pictures_fit_the_room_or_the_smallest_would_not(two_volumes, least, room):
    if room < least:
        with pytest.raises(ValueError, match=f"{least:,} bytes .* room for {room:,}"):
            stacks.fit(two_volumes, room)
        return
    fitted = stacks.fit(two_volumes, room)
    assert sum(stack.nbytes for stack in fitted) <= room
    assert len({(stack.size, stack.quality) for stack in fitted}) == 1


def test_detail_is_given_up_only_as_far_as_needed():
    rng = np.random.default_rng(0)
    volume = stacks.Coded(rng.normal(-500, 300, (2, 64, 80)), stacks.HU_LEVELS)
    found = [stacks.fit([volume], room)[0] for room in (30_000, 12_000, 8_000, 5_000, 3_000)]
    assert found[0].quality is None
    assert found[0].size == found[1].size == (64, 80)
    assert found[-1].size < (64, 80)
    order = [(stack.size, 100 if stack.quality is None else stack.quality) for stack in found]
    assert order == sorted(order, reverse=True)


def test_smaller_pictures_are_means_over_areas():
    volume = stacks.Coded(
        np.kron(np.array([[0, 200], [80, 120]]), np.ones((32, 32)))[None], np.arange(256)
    )
    small = volume.picture(0, (1, 1), None)
    assert np.asarray(Image.open(io.BytesIO(small)).convert("L")).item() == 100
