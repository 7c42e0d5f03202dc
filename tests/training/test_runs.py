"""A finished run opened again."""

import json

import numpy as np
import pytest

from cosup_jax import config as configuration
from cosup_jax.training import checkpoints, runs


def test_a_run_is_opened_with_its_network_and_the_weights_of_its_best_epoch(tiny_run):
    run = runs.open_run(tiny_run)
    summary = json.loads((tiny_run / "evaluation" / "summary.json").read_text())
    assert run.epoch == summary["epoch"]
    assert run.preprocessing.size == (32, 32)
    image = np.zeros((1, 32, 32, 1), np.float32)
    assert run.model.apply(run.variables, image, train=False).logits.shape == image.shape


def test_overrides_are_those_of_the_command_line(tiny_run):
    changes = ["--config.data.size=(64, 64)", "--config.data.name=slice_folder"]
    run = runs.open_run(tiny_run, changes)
    assert run.preprocessing.size == (64, 64)
    assert run.config.data.name == "slice_folder"
    with pytest.raises(configuration.ConfigError, match=r"nearest is --config\.data\.size"):
        runs.open_run(tiny_run, ["--config.data.siz=1"])
    with pytest.raises(configuration.ConfigError, match="epochs"):
        runs.open_run(tiny_run, ["--config.epochs=many"])


def test_what_is_no_run_is_named(tiny_run, tmp_path):
    with pytest.raises(configuration.ConfigError, match=r"no config\.json in .*nowhere"):
        runs.open_run(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(configuration.ConfigError, match="expected a JSON object"):
        runs.open_run(tmp_path)
    (tmp_path / "config.json").write_text((tiny_run / "config.json").read_text())
    with pytest.raises(checkpoints.CheckpointError, match="give the folder of a finished run"):
        runs.open_run(tmp_path)
