"""The network of a run as one program: its answers, what runs it, what is refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import cosup_jax
from cosup_jax import cli, runs
from cosup_jax.prediction import export, onnx_program
from cosup_jax.weights import predictor

# What a server runs, with everything but JAX forbidden.
SERVER = """
import pathlib, sys
for name in ("cosup_jax", "flax", "optax", "orbax", "tensorflow_datasets", "grain"):
    sys.modules[name] = None
import jax
import numpy as np
folder = pathlib.Path(sys.argv[1])
program = jax.export.deserialize((folder / "model.stablehlo").read_bytes())
run = jax.jit(program.call)
for batch in (1, 3):
    slices = np.load(folder / "slices.npy")[:batch]
    np.save(folder / f"probability{batch}.npy", run(slices))
print(",".join(program.platforms))
"""


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    out = folder / "model.stablehlo"
    assert cli.main(["export", f"--workdir={tiny_run}", f"--out={out}"]) == 0
    return folder


def test_a_server_without_this_package_gets_the_same_probabilities(exported, tiny_run):
    slices = np.random.default_rng(0).standard_normal((3, 32, 32, 1)).astype(np.float32)
    np.save(exported / "slices.npy", slices)
    done = subprocess.run(
        [sys.executable, "-P", "-c", SERVER, exported],
        capture_output=True,
        text=True,
        env=os.environ,
        cwd=exported,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "cpu,cuda"
    run = runs.open_run(tiny_run)
    wanted = predictor.Predictor(run.model, run.variables)(slices)
    assert wanted.std() > 0.01
    for batch in (1, 3):
        found = np.load(exported / f"probability{batch}.npy")
        np.testing.assert_allclose(found, wanted[:batch], atol=1e-5)


def test_no_path_of_the_exporter_is_in_the_program(exported):
    program = (exported / "model.stablehlo").read_bytes()
    for place in (os.path.dirname(cosup_jax.__file__), os.path.dirname(np.__file__), os.getcwd()):
        assert place.encode() not in program
    assert b".py" not in program


def test_how_slices_are_prepared_stands_beside_it(exported, tiny_run):
    description = json.loads((exported / "model.stablehlo.json").read_text())
    run = runs.open_run(tiny_run)
    assert description["preprocessing"]["size"] == list(run.preprocessing.size)
    assert description["preprocessing"]["window"] == list(run.preprocessing.window)
    assert description["epoch"] == run.epoch
    assert description["platforms"] == ["cpu", "cuda"]


def test_programs_of_one_name_and_the_run_keep_their_descriptions(tiny_run, tmp_path, monkeypatch):
    """As README has both formats side by side; and a program may be named as a run's file."""
    monkeypatch.setattr(onnx_program, "serialise", lambda *network: b"program")
    (tmp_path / "config.json").write_text("of the run")
    for form in ("stablehlo", "onnx"):
        assert cli.main(["export", f"--workdir={tiny_run}", f"--out={tmp_path}/config.{form}"]) == 0
    written = {f"config.{form}{end}" for form in ("stablehlo", "onnx") for end in ("", ".json")}
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", *written}
    assert (tmp_path / "config.json").read_text() == "of the run"
    stablehlo, onnx = (
        json.loads((tmp_path / f"config.{form}.json").read_text()) for form in ("stablehlo", "onnx")
    )
    assert {"input", "output", "platforms"} <= stablehlo.keys()
    assert {onnx_program.INPUT, onnx_program.OUTPUT} <= onnx.keys()


@pytest.mark.parametrize(("platforms", "named"), [(["cpu", "abacus"], "abacus"), ([], "none")])
def test_an_unknown_platform_is_named(tiny_run, platforms, named):
    run = runs.open_run(tiny_run)
    with pytest.raises(ValueError, match=f"{named}.*expected some of cpu, cuda"):
        export.serialise(run.model, run.variables, (32, 32), platforms)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("model.bin", [], ".stablehlo or .onnx"),
        ("model.bin", ["--format=onnx"], "ending in .onnx"),
        ("model.onnx", ["--format=stablehlo"], "ending in .stablehlo"),
        ("model.onnx", ["--platforms=cpu"], "--platforms is for StableHLO"),
        ("model.onnx", ["--batch=0"], "--batch=0: expected at least 1"),
        ("model.stablehlo", ["--batch=2"], "--batch is for ONNX"),
    ],
)
def test_what_does_not_belong_together_is_refused_before_anything_is_read(
    name, options, told, tmp_path, capsys
):
    out = tmp_path / name
    assert cli.main(["export", f"--workdir={tmp_path}", f"--out={out}", *options]) == 1
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_without_the_converter_it_is_said_how_to_get_it(tiny_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    out = tmp_path / "model.onnx"
    assert cli.main(["export", f"--workdir={tiny_run}", f"--out={out}"]) == 1
    assert "pip install 'cosup-jax[onnx]'" in capsys.readouterr().err
    assert not out.exists()
