"""Scans that are unlike those trained on are flagged: each phantom that is so, and no other."""

import numpy as np
import pytest

from cosup_jax import phantom
from cosup_jax.prediction import lungs, unlike

WHOLE = (4.0, 3.8, 3.8)


@pytest.fixture(scope="module")
def chest():
    """A chest between two slices without lung, and its lungs as a finder would find them."""
    volume = phantom.draw_volume(5, size=64, slices=16, infected=False)
    x = np.nonzero(volume.image[8] > -200)[1]
    image = volume.image.astype(np.int16)
    body = np.where(volume.lung[[0]] > 0, np.int16(40), image[[0]])
    labels = np.concatenate([0 * volume.lung[:1], volume.lung, 0 * volume.lung[:1]])
    halves = np.where(np.arange(64) < x.mean(), lungs.RIGHT, lungs.LEFT)
    return np.concatenate([body, image, body]), ((labels > 0) * halves).astype(np.uint8)


def flags(image, labels, spacing=WHOLE, intensity="hu", **more):
    found = lungs.Lungs(labels, apart=True)
    return unlike.flags(image, intensity=intensity, spacing=spacing, find=lambda *_: found, **more)


def test_a_whole_chest_has_none(chest):
    assert flags(*chest) == []
    assert flags(*chest, intensity="grey8") == flags(*chest, spacing=None) == []


def contrast(image, labels):
    return np.where((image > 0) & (image < 100), image + 200, image), labels


def noisy(image, labels):
    return image + np.random.default_rng(0).normal(0, 90, image.shape).astype(np.int16), labels


UNLIKE = {
    "contrast agent": contrast,
    "noise of": noisy,
    "within the lungs at the lower end": lambda image, labels: (image[5:], labels[5:]),
    "within the lungs at the upper end": lambda image, labels: (image[:-6], labels[:-6]),
    "lower and the upper end": lambda image, labels: (image[5:-6], labels[5:-6]),
}


@pytest.mark.parametrize("said", UNLIKE)
def test_each_way_to_be_unlike_is_named(chest, said):
    notes = flags(*UNLIKE[said](*chest))
    assert all(note.startswith("unlike the scans trained on: ") for note in notes)
    assert any(said in note for note in notes)


def test_ends_of_a_scan_that_may_lie_upside_down_are_counted(chest):
    image, labels = chest
    (note,) = flags(image[5:], labels[5:], feet_first=False)
    assert note.endswith("it ends within the lungs at the first end")


def test_thick_slices_are_named(chest):
    (note,) = flags(*chest, spacing=(10.0, 3.8, 3.8))
    assert "slices 10.0 mm apart (over 8)" in note


def test_voxels_near_the_threshold_are_counted_and_said_if_many():
    probability = np.array([[0.39, 0.41, 0.5, 0.59, 0.61, 1.0]])
    assert unlike.near_threshold(probability, 0.5) == 3
    assert unlike.doubt(3, 100) == unlike.doubt(3, 0) == []
    assert unlike.doubt(60, 100) == [
        "0.6 voxels within 0.1 of the threshold for each that is marked"
    ]


def test_slices_of_which_nothing_is_there_are_noted(chest):
    image = chest[0].copy()
    assert unlike.lost(image) == []
    image[3], image[9] = -1024, image[8]
    empty, same = unlike.lost(image)
    assert "1 of 18 slices hold one value alone (the first is number 4 from the feet)" in empty
    assert "hold the same values as the next (the first is number 9 from the feet)" in same
    empty, same = unlike.lost(image, feet_first=False)
    assert "(the first is number 4):" in empty
    assert "(the first is number 9):" in same


def test_slices_of_different_sizes_are_compared_too():
    assert unlike.lost([np.eye(3), np.eye(4), np.eye(4)[:3]]) == []
