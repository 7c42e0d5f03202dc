"""`python -m cosup_jax convert`: a weight file becomes a run that opens like any other."""

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from cosup_jax import cli, interop, models, runs
from tests.phantoms import CONFIGS

# Inf-Net as small as it gets, with maps of all kinds.
SETTINGS = {"backbone": "vgg16", "width": 4, "blocks": (1,) * 5, "partial_decoder": False}
SMALL = [f"--config.model.{name}={value}" for name, value in SETTINGS.items()]


def convert(path, folder, *more):
    given = [str(path), "--config", str(CONFIGS / "infnet.py"), "--workdir", str(folder)]
    return cli.main(["convert", *given, *SMALL, *more])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    variables = models.initialise(models.build("infnet", **SETTINGS), (32, 32, 1), 5)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    safetensors.numpy.save_file(traverse_util.flatten_dict(variables, sep="/"), path)
    return path, variables


def test_the_run_opens_with_the_weights_of_the_file(weights, tmp_path, capsys):
    path, variables = weights
    assert convert(path, tmp_path / "run") == 0
    assert "all tensors fit" in capsys.readouterr().out
    run = runs.open_run(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, run.variables, variables)
    assert (run.epoch, run.config.model.backbone, run.preprocessing.scaling) == (0, "vgg16", "unit")
    there = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.name != ".lock"}
    assert convert(path, tmp_path / "run") == 0  # as after a kill in the last moment
    now = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.name != ".lock"}
    assert {p: t for p, t in now.items() if p.is_file()} == {
        p: t for p, t in there.items() if p.is_file()
    }
    assert convert(path, tmp_path / "run", "--config.seed=3") == 1
    assert "holds a run already" in capsys.readouterr().err


def test_what_a_killed_conversion_left_is_gone_over(weights, tmp_path):
    path, variables = weights
    (tmp_path / "run" / "checkpoints" / "0.orbax-checkpoint-tmp").mkdir(parents=True)
    assert convert(path, tmp_path / "run") == 0
    found = runs.open_run(tmp_path / "run").variables
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["0"]


def test_what_fills_only_a_part_makes_no_run(tmp_path, capsys, monkeypatch):
    def load(path, variables):
        return interop.Converted(variables, "a backbone", ("edge", "ppd"))

    monkeypatch.setattr(interop, "load", load)
    assert convert("vgg16.pth", tmp_path / "run") == 1
    assert "vgg16.pth does not fill edge, ppd" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_missing_or_of_another_network_is_named(weights, tmp_path, capsys):
    path, _ = weights
    assert convert(tmp_path / "absent.pth", tmp_path / "run") == 1
    assert "absent.pth" in capsys.readouterr().err
    assert convert(path, tmp_path / "run", "--config.model.width=8") == 1
    assert "of another shape" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
