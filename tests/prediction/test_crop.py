"""Networks that are shown slices cut to the lungs: what they see, and where their marks go."""

import dataclasses
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from safetensors import safe_open
from safetensors.numpy import save_file

import cosup_jax
from cosup_jax import devices, runs, weights
from cosup_jax.data import chest
from cosup_jax.data.preprocess import LUNG_WINDOW, Preprocessing, apply_window, prepare_image
from cosup_jax.models.output import SegOutput
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.weights import lung_network


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
    return dataclasses.replace(bright, crop=weights.VOLUME)


def test_the_network_is_shown_the_box_and_marks_nothing_outside(volume, cropping):
    segmenter = Segmenter(cropping)
    boxes = segmenter.boxes(volume, "hu")
    (box,) = boxes[0]
    assert boxes == [(box,)] * 12
    assert box == chest.find_box(apply_window(values, LUNG_WINDOW) for values in volume)
    found = np.stack(list(segmenter(iter(volume), "hu", 12, boxes)))
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
    found = segmenter(iter(volume), "hu", 12, segmenter.boxes(volume, "hu"))
    mask = cosup_jax.segment(volume, network=cropping, intensity="hu")
    np.testing.assert_array_equal(mask, np.stack(list(found)) > 0.5)


def test_slices_without_a_box_are_cut_each_to_its_own(volume, cropping):
    segmenter = Segmenter(cropping)
    mixed = [volume[0], volume[5, :, :120], volume[5]]
    assert segmenter.boxes(mixed, "hu") is None
    for values, probability in zip(mixed, segmenter(iter(mixed), "hu", 3), strict=True):
        boxes = segmenter.boxes([values], "hu")
        (alone,) = segmenter(iter([values]), "hu", 1, boxes)
        np.testing.assert_allclose(probability, alone, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 512), (3, 1000), (1, 600), (512, 1)])
def test_narrow_slices_are_shown_too(cropping, shape):
    segmenter = Segmenter(cropping)
    narrow = np.random.default_rng(0).integers(-1000, 400, (2, *shape)).astype(np.float32)
    boxes = segmenter.boxes(narrow, "hu")
    found = list(segmenter(iter(narrow), "hu", 2, boxes))
    assert [probability.shape for probability in found] == [shape] * 2


def test_a_network_of_whole_slices_has_no_box(volume, bright):
    assert Segmenter(bright).boxes(volume, "hu") is None


@pytest.fixture
def close(bright, monkeypatch):
    """The network as one whose slices are cut each to its own lungs, and lungs of its volume."""
    lungs = np.zeros((12, 96, 128), bool)
    lungs[2:, 30:70, 72:104] = True
    lungs[6:, 44:70, 24:56] = True
    rest = iter(lungs)
    given = lambda slices, intensity: itertools.islice(rest, len(slices))  # noqa: E731
    monkeypatch.setattr(lung_network, "find_each", given)
    monkeypatch.setattr(devices, "at_once", lambda: 1)  # of two at once either could be the first
    return dataclasses.replace(bright, crop=weights.SLICE), lungs


def test_each_slice_is_cut_to_its_own_lungs(volume, close):
    network, lungs = close
    segmenter = Segmenter(network)
    boxes = segmenter.boxes(iter(volume), "hu")
    whole = chest.find_box(apply_window(values, LUNG_WINDOW) for values in volume)
    assert boxes == [(chest.closer(whole, lung),) for lung in lungs]
    assert boxes[0] == (whole,)
    assert boxes[-1] != (whole,)
    found = np.stack(list(segmenter(iter(volume), "hu", 12, boxes)))
    for (box,), probability, values in zip(boxes, found, volume, strict=True):
        shown = prepare_image(values[box], "hu", Preprocessing((32, 32)))
        np.testing.assert_allclose(probability.max(), 1 / (1 + np.exp(-4 * shown.max())), rtol=0.1)
        probability[box] = 0
        assert not probability.any()


class Leaning(nn.Module):
    """Takes for infection what is bright, and the more so the further right it lies."""

    @nn.compact
    def __call__(self, x, train):
        return SegOutput(
            logits=jnp.asarray(x) * jnp.linspace(0, 4, x.shape[2])[None, None, :, None]
        )


def test_of_both_parts_the_wider_is_shown_mirrored_and_the_mean_taken(volume, close):
    network, lungs = dataclasses.replace(close[0], model=Leaning()), close[1]
    both = Segmenter(dataclasses.replace(network, crop=weights.BOTH))
    boxes = both.boxes(volume, "hu")
    (box,) = Segmenter(dataclasses.replace(network, crop=weights.VOLUME)).boxes(volume, "hu")[0]
    assert boxes == [(box, chest.closer(box, lung)) for lung in lungs]
    found = np.stack(list(both(iter(volume), "hu", 12, boxes)))
    one = Segmenter(network)
    near = np.stack(list(one(iter(volume), "hu", 12, [(own,) for _, own in boxes])))
    turned = np.ascontiguousarray(volume[..., ::-1])
    there = box[0], slice(128 - box[1].stop, 128 - box[1].start)
    wanted = np.stack(list(one(iter(turned), "hu", 12, [(there,)] * 12)))[..., ::-1].copy()
    for z, (_, own) in enumerate(boxes):
        wanted[z][own] = (wanted[z][own] + near[z][own]) / 2
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_box_of_the_volume_and_its_mirror_image_are_averaged(volume, close):
    network = dataclasses.replace(close[0], model=Leaning(), crop=weights.VOLUME)
    mirrored = Segmenter(dataclasses.replace(network, crop=weights.MIRRORED))
    (box,) = Segmenter(network).boxes(volume, "hu")[0]
    boxes = mirrored.boxes(iter(volume), "hu")
    assert boxes == [(box,)] * 12
    found = np.stack(list(mirrored(iter(volume), "hu", 12, boxes)))
    wanted = np.stack(list(Segmenter(network, tta=True)(iter(volume), "hu", 12, [(box,)] * 12)))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    again = Segmenter(dataclasses.replace(network, crop=weights.MIRRORED), tta=True)
    np.testing.assert_array_equal(list(again(iter(volume), "hu", 12, boxes)), found)
    alone = next(mirrored(iter(volume[:1]), "hu", 1))  # a slice without the others
    turned = next(mirrored(iter(volume[:1, :, ::-1]), "hu", 1))
    np.testing.assert_allclose(alone, turned[:, ::-1], atol=1e-6)


@pytest.mark.parametrize("crop", weights.CROPS)
def test_weights_say_what_slices_are_cut_to(tiny_run, tmp_path, crop):
    run = runs.open_run(tiny_run)
    weights.save(tmp_path / "w.safetensors", run, {}, crop=crop)
    assert weights.load(tmp_path / "w.safetensors").crop == crop


@pytest.mark.parametrize(
    ("written", "crop"), [(False, weights.WHOLE), (True, weights.VOLUME), (None, weights.WHOLE)]
)
def test_files_of_earlier_versions_are_cut_as_before(tiny_run, tmp_path, written, crop):
    path = tmp_path / "w.safetensors"
    weights.save(path, runs.open_run(tiny_run), {})
    rewrite(path, written)
    assert weights.load(path).crop == crop


@pytest.mark.parametrize("written", ["lung", 1, ["slice"]])
def test_another_cut_is_refused(tiny_run, tmp_path, written):
    path = tmp_path / "w.safetensors"
    weights.save(path, runs.open_run(tiny_run), {})
    rewrite(path, written)
    with pytest.raises(weights.WeightsError, match="crop .*; expected one of '', 'volume'"):
        weights.load(path)


def rewrite(path, crop):
    """Puts another value of `crop` into a file of weights, or takes it out."""
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["cosup_jax"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del about["crop"]
    about |= {} if crop is None else {"crop": crop}
    save_file(tensors, path, {"cosup_jax": json.dumps(about)})
