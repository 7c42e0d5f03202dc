"""The box around the lungs: what it must hold, and when a picture stays whole."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cosup_jax import phantom
from cosup_jax.data import chest, preprocess

AIR, TISSUE = 0.0, 0.8


def slice_with(*lungs, shape=(120, 160), air=0.2):
    """Returns a body of tissue in air, with boxes of lung in it."""
    picture = np.full(shape, AIR, np.float32)
    picture[15:105, 10:150] = TISSUE
    for rows, columns in lungs:
        picture[slice(*rows), slice(*columns)] = air
    return picture


RIGHT, LEFT = ((30, 80), (30, 70)), ((30, 80), (90, 130))


def holds(box, rows, columns):
    """Whether rows and columns lie in a box."""
    return all(
        part.start <= first and last <= part.stop
        for part, (first, last) in zip(box, (rows, columns), strict=True)
    )


@pytest.mark.parametrize("scale", [1.0, 255.0, 65535.0])
def test_the_lungs_lie_in_it_and_much_else_does_not(scale):
    box = chest.find_box([scale * slice_with(RIGHT, LEFT)] * 10)
    assert holds(box, (30, 80), (30, 130))
    assert (box[0].stop - box[0].start) * (box[1].stop - box[1].start) < 0.5 * 120 * 160


def test_one_box_serves_all_slices_of_a_volume():
    upper, lower = slice_with(((30, 50), (60, 100))), slice_with(RIGHT, LEFT)
    box = chest.find_box([upper, lower] * 5)
    assert box == chest.find_box([lower, upper] * 5)
    assert holds(box, (30, 80), (30, 130))


@pytest.mark.parametrize("lung", [RIGHT, LEFT])
def test_a_lung_without_air_lies_in_it_too(lung):
    assert holds(chest.find_box([slice_with(lung)]), (30, 80), (30, 130))


def test_a_single_slice_has_a_wider_margin():
    alone, many = (chest.find_box([slice_with(RIGHT, LEFT)] * n) for n in (1, 20))
    assert holds(alone, *((part.start, part.stop) for part in many))
    assert alone != many


@pytest.mark.parametrize(
    "picture",
    [
        slice_with(RIGHT, LEFT)[25:85, 25:135],  # cut to the lungs before
        slice_with(),  # no air in the body
        np.zeros((120, 160), np.float32),
        np.full((1, 1), 3.0, np.float32),
        np.eye(7, dtype=np.float32),
    ],
    ids=["cut", "no air", "empty", "one pixel", "tiny"],
)
def test_a_picture_without_a_chest_to_cut_out_stays_whole(picture):
    assert chest.find_box([picture]) == (slice(0, picture.shape[0]), slice(0, picture.shape[1]))


@pytest.mark.parametrize("shape", [(3, 512), (3, 1000), (512, 3), (1, 4096), (700, 1), (5, 640)])
def test_a_narrow_picture_has_a_box_within_it(shape):
    for values in (np.random.default_rng(0).random(shape), np.zeros(shape)):
        box = chest.find_box([values])
        for side, size in zip(box, shape, strict=True):
            assert 0 <= side.start < side.stop <= size


def test_slices_of_several_sizes_have_no_common_box():
    assert chest.find_box([slice_with(RIGHT), slice_with(RIGHT, shape=(121, 160))]) is None
    assert chest.find_box([]) is None


def test_pixels_beyond_the_last_coarse_one_are_kept():
    picture = np.full((301, 403), TISSUE, np.float32)
    picture[:40] = picture[:, :3] = AIR
    picture[80:301, 40:360] = 0.2  # the picture ends within the lungs
    picture[80:301, 190:210] = TISSUE
    assert chest.find_box([picture])[0].stop == 301


@pytest.mark.parametrize("seed", [0, 3])
def test_phantoms_lose_no_lung(seed):
    volume = phantom.draw_volume(seed, infected=True)
    grey = [preprocess.apply_window(values, preprocess.LUNG_WINDOW) for values in volume.image]
    box = chest.find_box(grey)
    inside = volume.lung[:, box[0], box[1]]
    assert np.count_nonzero(inside) == np.count_nonzero(volume.lung)
    assert inside.size < 0.9 * volume.lung.size


sides = st.builds(lambda first, length: slice(first, first + length), *[st.integers(1, 60)] * 2)


@hypothesis.given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_a_closer_box_holds_the_lungs_of_its_slice(box, place):
    lung = np.zeros((120, 120), bool)
    lung[place] = True
    found = chest.closer(box, lung)
    seen = lung[box]
    outside = lung.copy()
    outside[found] = False
    for part, whole in zip(found, box, strict=True):
        assert whole.start <= part.start < part.stop <= whole.stop
        assert part.stop - part.start >= (whole.stop - whole.start) / 2
    if seen.sum() >= 0.001 * lung.size:
        assert not outside[box].any()
        left, right = found[1].start - box[1].start, box[1].stop - found[1].stop
        assert abs(left - right) <= 1
    else:
        assert found == box


def test_a_closer_box_is_a_good_deal_closer_where_lungs_are_small():
    lung = np.zeros((120, 160), bool)
    lung[50:60, 60:100] = True
    rows, columns = chest.closer((slice(20, 100), slice(20, 140)), lung)
    assert (rows, columns) == (slice(35, 75), slice(50, 110))
    lung[70:80, 30:40] = True
    rows, columns = chest.closer((slice(20, 100), slice(20, 140)), lung)
    assert (rows, columns) == (slice(45, 85), slice(26, 134))
