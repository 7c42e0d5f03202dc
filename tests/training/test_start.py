"""What a run that starts from weights says of them before it trains."""

import re

import pytest

from cosup_jax import runs, weights
from cosup_jax.runs import checkpoints
from cosup_jax.training import setup, start
from tests.phantoms import tiny_config


@pytest.fixture(scope="module")
def data_dir(quick_run):
    return quick_run.parent / "tfds"


@pytest.fixture(scope="module")
def file(quick_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "quick.safetensors"
    weights.save(path, runs.open_run(quick_run), {})
    return path


CUT = "trained on slices cut to the lungs"
SAID = [
    ({}, []),
    ({"data.scaling": "unit"}, ["data.scaling='z_score', and .* with 'unit' here"]),
    ({"data.window": (40.0, 400.0)}, [r"data.window=\(-600.0, 1500.0\), .* \(40.0, 400.0\) here"]),
    ({"data.crop": "volume"}, ["data.crop='', and slices are prepared with 'volume' here"]),
    ({"data.lungs": True}, ["data.lungs=False, and slices are prepared with True here"]),
    ({"data.crop": "volume", "data.scaling": "unit"}, ["data.scaling", "data.crop"]),
]


@pytest.mark.parametrize("kind", ["run", "file"])
@pytest.mark.parametrize(("changes", "said"), SAID)
def test_slices_that_are_prepared_otherwise_are_noted(
    quick_run, file, data_dir, kind, changes, said, tmp_path
):
    config = tiny_config(data_dir, init=str(quick_run if kind == "run" else file))
    config.update_from_flattened_dict(changes)
    found = start.notes(config)
    assert len(found) == len(said)
    for note, expected in zip(found, said, strict=True):
        assert note.startswith("the weights to start from")
        assert re.search(expected, note)


@pytest.mark.parametrize("name", ["c2f-base", "c2f-small"])
@pytest.mark.parametrize("crop", ["", "volume"])
def test_whole_slices_are_noted_for_weights_that_know_lungs(data_dir, name, crop, tmp_path):
    config = tiny_config(data_dir, init=name, data__crop=crop, data__lungs=True)
    notes = setup.make_setup(config, tmp_path).notes
    assert [CUT in note for note in notes] == [True] * (not crop)
    config.data.lungs = False
    (more,) = set(setup.make_setup(config, tmp_path).notes) - set(notes)
    assert "were trained with data.lungs=True, and slices are prepared with False here" in more


def test_nothing_is_said_of_weights_of_others(data_dir, tmp_path):
    (tmp_path / "others.pth").write_bytes(b"x")
    for init in (None, "", "nowhere", "others.pth"):
        place = str(tmp_path / init) if init and "." in init else init
        assert start.notes(tiny_config(data_dir, init=place)) == []


def test_a_name_that_is_none_is_told_with_those_there_are(data_dir, tmp_path):
    config = tiny_config(data_dir, init="c2f-bas")
    made = setup.make_setup(config, tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="no such folder or.*one of: c2f-base"):
        start.with_weights(config, setup.make_state(made))


def test_weights_of_another_network_are_told_with_the_settings_that_fit(data_dir, tmp_path):
    config = tiny_config(data_dir, init="c2f-small", model__edge_levels=(1,))
    made = setup.make_setup(config, tmp_path)
    told = r"does not fit this network.*; its network has .*model.edge_levels=\(1, 2\).*width=16"
    with pytest.raises(checkpoints.CheckpointError, match=told):
        start.with_weights(config, setup.make_state(made))


def test_a_run_of_another_network_is_told_with_the_settings_that_fit(quick_run, data_dir, tmp_path):
    config = tiny_config(data_dir, init=str(quick_run))
    made = setup.make_setup(config, tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="its network has model.name='tiny'"):
        start.with_weights(config, setup.make_state(made))
