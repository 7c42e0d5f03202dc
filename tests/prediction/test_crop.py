"""Networks that are shown slices cut to the lungs: what they see, and where their marks go."""

import dataclasses

import numpy as np
import pytest

import cosup_jax
from cosup_jax import runs, weights
from cosup_jax.data import chest
from cosup_jax.data.preprocess import LUNG_WINDOW, Preprocessing, apply_window, prepare_image
from cosup_jax.prediction.segment import Segmenter


@pytest.fixture(scope="module")
def volume():
    """(12, 96, 128) HU: air, a body, two lungs in it, and something dense in one of them."""
    hu = np.full((12, 96, 128), -1000, np.float32)
    hu[:, 12:84, 8:120] = 40
    hu[:, 30:70, 24:56] = hu[:, 30:70, 72:104] = -850
    hu[4:8, 40:60, 30:50] = 0
    return hu


@pytest.fixture(scope="module")
def cropping(bright):
    """The network that marks what is bright, as one that takes slices cut to the lungs."""
    return dataclasses.replace(bright, crop=True)


def test_the_network_is_shown_the_box_and_marks_nothing_outside(volume, cropping):
    segmenter = Segmenter(cropping)
    box = segmenter.box(volume, "hu")
    assert box == chest.find_box(apply_window(values, LUNG_WINDOW) for values in volume)
    found = np.stack(list(segmenter(iter(volume), "hu", 12, box)))
    assert found.shape == volume.shape
    outside = np.ones(volume.shape, bool)
    outside[:, box[0], box[1]] = False
    assert outside.mean() > 0.3
    assert not found[outside].any()
    shown = prepare_image(volume[5][box], "hu", Preprocessing((32, 32)))
    lesion = found[5, 45:55, 35:45]
    np.testing.assert_allclose(lesion, 1 / (1 + np.exp(-4 * shown.max())), rtol=0.1)


@pytest.mark.filterwarnings("ignore:.*the same values as the next")
def test_from_python_and_by_slices_the_box_is_that_of_the_volume(volume, cropping):
    segmenter = Segmenter(cropping)
    found = segmenter(iter(volume), "hu", 12, segmenter.box(volume, "hu"))
    mask = cosup_jax.segment(volume, network=cropping, intensity="hu")
    np.testing.assert_array_equal(mask, np.stack(list(found)) > 0.5)


def test_slices_without_a_box_are_cut_each_to_its_own(volume, cropping):
    segmenter = Segmenter(cropping)
    mixed = [volume[0], volume[5, :, :120], volume[5]]
    assert segmenter.box(mixed, "hu") is None
    for values, probability in zip(mixed, segmenter(iter(mixed), "hu", 3), strict=True):
        box = segmenter.box([values], "hu")
        (alone,) = segmenter(iter([values]), "hu", 1, box)
        np.testing.assert_allclose(probability, alone, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 512), (3, 1000), (1, 600), (512, 1)])
def test_narrow_slices_are_shown_too(cropping, shape):
    segmenter = Segmenter(cropping)
    narrow = np.random.default_rng(0).integers(-1000, 400, (2, *shape)).astype(np.float32)
    box = segmenter.box(narrow, "hu")
    found = list(segmenter(iter(narrow), "hu", 2, box))
    assert [probability.shape for probability in found] == [shape] * 2


def test_a_network_of_whole_slices_has_no_box(volume, bright):
    assert Segmenter(bright).box(volume, "hu") is None


def test_weights_say_whether_they_take_cut_slices(tiny_run, tmp_path):
    run = runs.open_run(tiny_run)
    for crop in (False, True):
        weights.save(tmp_path / "w.safetensors", run, {}, crop=crop)
        assert weights.load(tmp_path / "w.safetensors").crop is crop
