"""Networks as ONNX programs, in onnxruntime. The converter has an environment of its own."""

import json
import os

import jax
import numpy as np
import pytest

from cosup_jax import cli, models, runs
from cosup_jax.prediction import onnx_program
from cosup_jax.weights import predictor

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'cosup-jax[onnx]'")
pytest.importorskip("jax2onnx", reason="pip install 'cosup-jax[onnx]'")

SIZE = (32, 48)
SETTINGS = {
    "cosup": {"width": 4, "blocks": (1, 1, 1, 1)},
    "unet": {"width": 4},
    "unetpp": {"width": 4},
}


def answers(program, slices):
    session = onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])
    (found,) = session.run([onnx_program.OUTPUT], {onnx_program.INPUT: slices})
    return found


@pytest.fixture(scope="module")
def slices():
    return np.random.default_rng(0).standard_normal((3, *SIZE, 1), np.float32)


@pytest.mark.parametrize("fusion", ["attention", "sum", "concat", "none"])
def test_any_number_of_slices_gets_the_networks_probabilities(fusion, slices):
    model = models.build("cosup", fusion=fusion, **SETTINGS["cosup"])
    variables = jax.jit(lambda: model.init(jax.random.key(0), slices, train=False))()
    wanted = predictor.Predictor(model, variables)(slices)
    assert wanted.std() > 1e-3
    program = onnx_program.serialise(model, variables, SIZE)
    for number in (1, 3):
        np.testing.assert_allclose(answers(program, slices[:number]), wanted[:number], atol=1e-4)
    assert os.getcwd().encode() not in program


@pytest.mark.parametrize("name", ["unet", "unetpp"])
def test_other_networks_take_a_fixed_number(name, slices):
    model = models.build(name, **SETTINGS[name])
    variables = jax.jit(lambda: model.init(jax.random.key(0), slices, train=False))()
    wanted = predictor.Predictor(model, variables)(slices)
    program = onnx_program.serialise(model, variables, SIZE, batch=3)
    np.testing.assert_allclose(answers(program, slices), wanted, atol=1e-4)


def test_what_goes_for_a_fixed_number_alone_says_so(slices):
    model = models.build("unetpp", **SETTINGS["unetpp"])
    variables = jax.jit(lambda: model.init(jax.random.key(0), slices, train=False))()
    with pytest.raises(ValueError, match="cannot write UNetPP; with --batch N"):
        onnx_program.serialise(model, variables, SIZE)


def test_the_command_writes_program_and_preparation_and_no_other_word(tiny_run, tmp_path, capfd):
    out = tmp_path / "model.onnx"
    assert cli.main(["export", f"--workdir={tiny_run}", f"--out={out}", "--format=onnx"]) == 0
    told, errors = capfd.readouterr()
    assert told.startswith(f"{out}: epoch ")
    assert (told.count("\n"), errors) == (1, "")
    description = json.loads(out.with_name(f"{out.name}.json").read_text())
    run = runs.open_run(tiny_run)
    assert description["preprocessing"]["size"] == list(run.preprocessing.size)
    assert "in any number" in description[onnx_program.INPUT]
    shown = np.random.default_rng(1).standard_normal((2, *run.preprocessing.size, 1), np.float32)
    wanted = predictor.Predictor(run.model, run.variables)(shown)
    np.testing.assert_allclose(answers(out.read_bytes(), shown), wanted, atol=1e-4)
