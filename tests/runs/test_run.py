"""A finished run opened again."""

import functools
import importlib.metadata
import json
import os
import shutil

import jax
import numpy as np
import pytest

import cosup_jax
from cosup_jax import config as configuration
from cosup_jax import runs
from cosup_jax.runs import checkpoints, logs
from cosup_jax.training import setup
from cosup_jax.training.setup import RunMismatch, keep_description, make_setup
from tests.phantoms import tiny_config

LATER = ("augment", "averaging", "clip", "optimizer", "semi", "step_decay")


@pytest.fixture
def old_run(tiny_run, tmp_path):
    """A copy of the run as it would be had it been made before some fields were born."""
    folder = tmp_path / "old"
    shutil.copytree(tiny_run, folder)
    fields = json.loads((folder / "config.json").read_text())
    for name in LATER:
        del fields[name]
    del fields["data"]["scaling"], fields["data"]["scales"]
    del fields["model"]["classes"], fields["loss"]["name"]
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


def test_a_run_is_opened_with_its_network_and_the_weights_of_its_best_epoch(tiny_run):
    run = runs.open_run(tiny_run)
    summary = json.loads((tiny_run / "evaluation" / "summary.json").read_text())
    assert run.epoch == summary["epoch"]
    assert run.preprocessing.size == (32, 32)
    image = np.zeros((1, 32, 32, 1), np.float32)
    apply = functools.partial(run.model.apply, train=False)
    assert jax.eval_shape(apply, run.variables, image).logits.shape == image.shape


def test_a_run_is_opened_by_a_path_from_where_one_stands(tiny_run, monkeypatch):
    monkeypatch.chdir(tiny_run.parent)
    near, far = (runs.open_run(path).variables["params"] for path in (tiny_run.name, tiny_run))
    first = next(iter(near))
    assert near.keys() == far.keys()
    jax.tree.map(np.testing.assert_array_equal, near[first], far[first])


def test_overrides_are_those_of_the_command_line(tiny_run):
    changes = ["--config.data.size=(64, 64)", "--config.data.name=slice_folder"]
    run = runs.open_run(tiny_run, changes)
    assert run.preprocessing.size == (64, 64)
    assert run.config.data.name == "slice_folder"
    with pytest.raises(configuration.ConfigError, match=r"nearest is --config\.data\.size"):
        runs.open_run(tiny_run, ["--config.data.siz=1"])
    with pytest.raises(configuration.ConfigError, match="epochs"):
        runs.open_run(tiny_run, ["--config.epochs=many"])


def test_an_override_that_the_network_cannot_take_is_blamed_and_not_the_file(tiny_run):
    with pytest.raises(configuration.ConfigError, match=r"^data.size is \(33, 33\), which"):
        runs.open_run(tiny_run, ["--config.data.size=(33, 33)"])


def test_what_is_no_run_is_named(tiny_run, tmp_path):
    with pytest.raises(configuration.ConfigError, match=r"no config\.json in .*nowhere"):
        runs.open_run(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(configuration.ConfigError, match="expected a JSON object"):
        runs.open_run(tmp_path)
    (tmp_path / "config.json").write_text((tiny_run / "config.json").read_text())
    with pytest.raises(checkpoints.CheckpointError, match="give the folder of a finished run"):
        runs.open_run(tmp_path)


def test_a_run_of_an_earlier_version_is_opened_as_it_was(tiny_run, old_run):
    now, old = runs.open_run(tiny_run), runs.open_run(old_run, ["--config.data.scaling=z_score"])
    assert (old.model, old.preprocessing) == (now.model, now.preprocessing)
    assert old.config.to_dict() == now.config.to_dict()


def test_a_run_of_an_earlier_version_goes_on_with_the_same_settings_only(tiny_run, old_run):
    data = tiny_run.parent / "tfds"
    keep_description(make_setup(tiny_config(data), old_run))
    today = json.loads((tiny_run / "config.json").read_text())
    assert json.loads((old_run / "config.json").read_text()) == today
    with pytest.raises(RunMismatch, match=r"differing in clip, data\.scaling\)"):
        keep_description(make_setup(tiny_config(data, clip=1.0, data__scaling="unit"), old_run))


def test_a_run_finds_its_data_from_any_folder(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_run.parent)
    keep_description(make_setup(tiny_config("tfds"), tmp_path / "run"))
    assert runs.read_config(tmp_path / "run").data.data_dir == str(tiny_run.parent / "tfds")
    monkeypatch.chdir(tmp_path)
    keep_description(make_setup(tiny_config(tiny_run.parent / "tfds"), tmp_path / "run"))


@pytest.mark.parametrize("init", ["before", "before/weights.pth", "c2f-small"])
def test_a_run_finds_what_it_started_from_from_any_folder(init, tiny_run, tmp_path, monkeypatch):
    """A file that has the name of weights of the package is not what that name means."""
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")  # so that it starts anew
    (tmp_path / "before").mkdir()
    for name in ("before/weights.pth", "c2f-small", "other"):
        (tmp_path / name).touch()
    data = tiny_run.parent / "tfds"
    monkeypatch.setattr(setup.provenance, "_before", lambda _: {})
    monkeypatch.chdir(tmp_path)
    keep_description(make_setup(tiny_config(data, init=init), folder))
    kept = init if init == "c2f-small" else str(tmp_path / init)
    assert runs.read_config(folder).init == kept
    shutil.copytree(tiny_run / "checkpoints", folder / "checkpoints")
    monkeypatch.chdir(tmp_path / "before")
    for same in (kept, os.path.relpath(kept)) if kept != init else (kept,):
        keep_description(make_setup(tiny_config(data, init=same), folder))
        assert runs.read_config(folder).init == kept
    with pytest.raises(RunMismatch, match=r"differing in init\)"):
        keep_description(make_setup(tiny_config(data, init="../other"), folder))


def test_who_was_trained_on_before_is_kept_when_the_run_before_has_gone(tiny_run, tmp_path):
    before, folder = tmp_path / "before", shutil.copytree(tiny_run, tmp_path / "run")
    before.mkdir()
    earlier = {"dataset": "d/1", "patients": ["p1"], "cases": [], "collection": ""}
    (before / runs.DATA).write_text(json.dumps({"trained_on": earlier}))
    config = tiny_config(tiny_run.parent / "tfds", init=str(before))
    shutil.rmtree(folder / "checkpoints")  # so that it starts anew
    keep_description(make_setup(config, folder))
    kept = runs.read_data(folder)
    assert kept["trained_on"]["earlier"] == [earlier]
    assert "p1" in kept["trained_on"]["patients"]
    shutil.copytree(tiny_run / "checkpoints", folder / "checkpoints")
    shutil.rmtree(before)
    keep_description(make_setup(config, folder))
    assert runs.read_data(folder) == kept


@pytest.mark.parametrize("name", ["batch_size", "data.size", "model.name"])
def test_a_field_that_every_version_has_is_missed_by_name(old_run, name):
    path = old_run / "config.json"
    fields = json.loads(path.read_text())
    group, _, field = name.rpartition(".")
    del (fields[group] if group else fields)[field]
    path.write_text(json.dumps(fields))
    with pytest.raises(configuration.ConfigError, match=rf"config\.json: has no field {name}, "):
        runs.open_run(old_run)


def test_a_clone_that_nobody_has_installed_knows_its_version(monkeypatch):
    known = importlib.metadata.version

    def version(name):
        if name == "cosup-jax":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = logs.versions(jax.devices())
    assert found["cosup-jax"] == cosup_jax.__version__
    assert found["jax"] == jax.__version__


def test_a_folder_of_seeds_is_no_run_and_one_of_them_is_named(tmp_path):
    (tmp_path / "seed0/checkpoints").mkdir(parents=True)
    with pytest.raises(configuration.ConfigError, match=r"folder of a run, such as .*/seed0$"):
        runs.open_run(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match=r"finished run, such as .*/seed0$"):
        checkpoints.read_best(tmp_path)
