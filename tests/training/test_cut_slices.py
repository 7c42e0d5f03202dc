"""Runs on slices cut to the lungs: what they are trained on, and what is known of them later."""

import json
import shutil

import numpy as np
import pytest

from cosup_jax import cli, runs, weights
from cosup_jax.data import chest, pipeline, schema
from cosup_jax.data.preprocess import prepare_image, resize_image
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.training import loop
from cosup_jax.training.setup import RunMismatch, check_config, make_setup
from cosup_jax.weights.predictor import Predictor
from tests.phantoms import tiny_config
from tests.training import tiny


def configured(data_dir, **changes):
    config = tiny_config(data_dir, **changes)
    config.model = tiny.TINY
    return config


@pytest.fixture(scope="module")
def cut_run(data_dir, tmp_path_factory):
    """The folder of a run that was trained on cut slices; only to be read."""
    folder = tmp_path_factory.mktemp("cut") / "run"
    config = configured(data_dir, data__crop="volume")
    loop.train_seeds(config, [config.seed], [folder])
    return folder


def test_predict_shows_the_network_what_it_was_trained_on(cut_run, data_dir, tmp_path):
    network = weights.load_pretrained(cut_run)
    setup = make_setup(configured(data_dir, data__crop="volume"), tmp_path)
    segmenter, seen = Segmenter(network), {}
    for split in ("train", "validation"):
        opened = setup.open(split)
        examples = list(setup.builder.as_data_source(split=split))
        boxes = pipeline.find_boxes(setup.builder, split, network.preprocessing, chest.VOLUME)
        predict = Predictor(network.model, network.variables)
        for i, example in enumerate(examples):
            values = schema.true_values(example)[..., 0]
            image = opened[i]["image"]
            np.testing.assert_array_equal(
                image, prepare_image(values[boxes[i]], "hu", network.preprocessing)
            )
            whole = np.zeros(values.shape, np.float32)
            part = whole[boxes[i]]
            part[...] = resize_image(predict(image[None])[0], part.shape)
            seen.setdefault(opened[i]["case_id"], {})[opened[i]["slice_index"]] = values, whole
    assert len(seen) == 5
    for slices in seen.values():
        values, wanted = zip(*(slices[index] for index in sorted(slices)), strict=True)
        found = list(segmenter(values, "hu", len(values), segmenter.boxes(values, "hu")))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert (np.stack(wanted) == 0).mean() > 0.3


def test_the_run_says_so_and_what_is_made_of_it(cut_run, tmp_path):
    assert runs.open_run(cut_run).crop == "volume"
    assert weights.load_pretrained(cut_run).crop == weights.VOLUME
    command = ["--workdir", str(cut_run), "--out"]
    assert cli.main(["export_weights", *command, str(tmp_path / "w.safetensors")]) == 0
    assert weights.load(tmp_path / "w.safetensors").crop == weights.VOLUME
    assert cli.main(["export", *command, str(tmp_path / "p.stablehlo")]) == 0
    assert json.loads((tmp_path / "p.stablehlo.json").read_text())["crop"] == "volume"


def test_weights_are_cut_as_is_said_where_the_run_does_not_know(cut_run, tmp_path):
    weights.save(tmp_path / "w.safetensors", runs.open_run(cut_run), {}, crop=weights.BOTH)
    assert weights.load(tmp_path / "w.safetensors").crop == weights.BOTH


def test_a_run_does_not_go_on_with_other_slices(cut_run, quick_run, data_dir):
    assert check_config(configured(data_dir, data__crop="volume"), cut_run)
    with pytest.raises(RunMismatch, match=r"differing in data\.crop\)"):
        check_config(configured(data_dir), cut_run)
    before = configured(quick_run.parent / "tfds", data__crop="volume")
    with pytest.raises(RunMismatch, match=r"differing in data\.crop\)"):
        check_config(before, quick_run)


def test_a_run_from_before_there_was_a_choice_is_of_whole_slices(quick_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(quick_run, folder)
    fields = json.loads((folder / runs.CONFIG).read_text())
    assert fields["data"].pop("crop") == ""
    (folder / runs.CONFIG).write_text(json.dumps(fields))
    assert runs.open_run(folder).crop == weights.load_pretrained(folder).crop == weights.WHOLE
    assert weights.load_pretrained(folder).digest == weights.load_pretrained(quick_run).digest
    tfds = quick_run.parent / "tfds"
    assert check_config(configured(tfds), folder)
    with pytest.raises(RunMismatch, match=r"differing in data\.crop\)"):
        check_config(configured(tfds, data__crop="volume"), folder)


@pytest.mark.parametrize("crop", weights.CROPS[2:])
def test_a_run_that_looks_closer_is_trained_alike_and_predicts_so(
    cut_run, data_dir, tmp_path, crop
):
    folder = tmp_path / "run"
    config = configured(data_dir, data__crop=crop)
    loop.train_seeds(config, [config.seed], [folder])
    network, before = weights.load_pretrained(folder), weights.load_pretrained(cut_run)
    assert (network.digest, network.crop) == (before.digest, crop)
    weights.save(tmp_path / "w.safetensors", runs.open_run(folder), {})
    assert weights.load(tmp_path / "w.safetensors").crop == crop


@pytest.mark.parametrize("value", ["Slice", "lungs"])
def test_another_cut_is_refused_by_name(data_dir, tmp_path, value):
    config = configured(data_dir, data__crop=value)
    expected = f"data.crop is '{value}', expected volume, slice, both or mirrored, or nothing"
    with pytest.raises(ValueError, match=expected):
        loop.train_seeds(config, [0], [tmp_path / "run"])
    assert not (tmp_path / "run").exists()


def test_several_scales_are_of_cut_slices(data_dir, tmp_path):
    config = configured(data_dir, data__crop="volume", data__scales=(1.0, 2.0), epochs=1)
    loop.train_seeds(config, [0], [tmp_path / "run"])
    assert runs.open_run(tmp_path / "run").crop == "volume"
