"""Files of weights: what is written comes back, and what is none is refused."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from cosup_jax import cli, runs, weights
from cosup_jax import config as configuration
from cosup_jax.runs import checkpoints, initial
from cosup_jax.runs.state import create_state, make_optimizer
from cosup_jax.weights import predictor
from tests.phantoms import CONFIGS


@pytest.fixture(scope="module")
def run(tiny_run):
    return runs.open_run(tiny_run)


@pytest.fixture(scope="module")
def loaded(tiny_weights):
    return weights.load_pretrained(tiny_weights)


def flat(variables):
    return traverse_util.flatten_dict(variables, sep="/")


def test_a_file_holds_the_network_and_how_it_is_used(loaded, run):
    assert loaded.model == run.model
    assert loaded.preprocessing == run.preprocessing
    assert loaded.card == {"licence": "none; phantoms", "epoch": run.epoch}
    assert loaded.name == "tiny"


def test_kernels_are_rounded_to_half_precision_and_the_rest_is_exact(loaded, run, tiny_weights):
    stored, found, wanted = load_file(tiny_weights), flat(loaded.variables), flat(run.variables)
    assert found.keys() == wanted.keys() == stored.keys()
    for name, tensor in wanted.items():
        half = tensor.ndim > 1
        assert stored[name].dtype == (np.float16 if half else np.float32)
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], tensor, rtol=2**-11 if half else 0, atol=1e-7)


def test_a_run_and_its_file_predict_nearly_the_same(loaded, run):
    image = np.random.default_rng(0).standard_normal((1, 32, 32, 1)).astype(np.float32)
    by_file, by_run = (
        predictor.make_predictor(each.model, each.variables)(image) for each in (loaded, run)
    )
    np.testing.assert_allclose(by_file, by_run, atol=0.01)
    assert by_run.std() > 0.001


def test_a_run_can_be_loaded_without_a_file(tiny_run, run):
    found = weights.load_pretrained(tiny_run)
    assert found.model == run.model
    assert found.name == f"tiny_run, epoch {run.epoch}"
    assert len(found.digest) == 64
    assert found.digest == weights.load_pretrained(tiny_run).digest


def test_the_weights_that_come_with_the_package_can_be_loaded():
    if not weights.names():
        pytest.skip("no weights come with this version")
    for name in weights.names():
        found = weights.load_pretrained(name)
        assert found.name == name
        assert "licence" in found.card
        file = Path(weights.__file__).with_name(f"{name}.safetensors")
        assert file.stat().st_size <= (16e6 if name == weights.DEFAULT else 60e6)
        assert file.with_suffix(".md").is_file(), "a model card"


@pytest.mark.parametrize("name", [*weights.names(), weights.LUNGS])
def test_the_tensors_that_come_with_the_package_are_those_of_its_networks(name, tmp_path):
    # Where they lie they are trusted to be; in any other place each tensor's shape is checked.
    file = Path(weights.__file__).with_name(f"{name}.safetensors")
    found = weights.load(Path(shutil.copy(file, tmp_path)))
    assert found.digest == weights.load(file).digest


def test_unknown_names_are_told_what_there_is():
    with pytest.raises(weights.WeightsError, match=r"no weights 'c3f'; give the folder of a fin"):
        weights.load_pretrained("c3f")


def test_weights_that_find_lungs_are_not_taken_for_those_of_infection(capsys, tmp_path):
    lungs = weights.load_lungs()
    assert lungs.target == "lungs"
    assert weights.LUNGS not in weights.names()
    file = Path(weights.__file__).with_name(f"{weights.LUNGS}.safetensors")
    assert file.stat().st_size <= 2**19
    assert "licence" in lungs.card
    assert file.with_suffix(".md").is_file(), "a model card"
    for which in (weights.LUNGS, file):
        with pytest.raises(weights.WeightsError, match="mark lungs, no infection; give one"):
            weights.load_pretrained(which)


def rewrite(source, target, change):
    """Copies a file of weights with its tensors and description changed."""
    tensors = load_file(source)
    with open(source, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        about = json.loads(json.loads(file.read(length))["__metadata__"]["cosup_jax"])
    change(tensors, about)
    save_file(tensors, target, {"cosup_jax": json.dumps(about)})
    return target


def remove(tensors, about):
    del tensors["params/bridge/conv1/conv/kernel"]


def reshape(tensors, about):
    tensors["params/bridge/conv1/conv/kernel"] = np.zeros((1, 1, 2, 2), np.float16)


def poison(tensors, about):
    tensors["params/bridge/conv1/conv/kernel"] = np.full_like(
        tensors["params/bridge/conv1/conv/kernel"], np.nan
    )


def add(tensors, about):
    tensors["params/surplus"] = np.zeros(1, np.float32)


REFUSED = {
    "missing": (remove, r"params/bridge/conv1/conv/kernel has the shape \(missing\)"),
    "misshapen": (reshape, r"params/bridge/conv1/conv/kernel has the shape \(1, 1, 2, 2\)"),
    "surplus": (add, r"params/surplus has the shape \(1,\), .* \(no such tensor\)"),
    "NaN": (poison, "holds NaN or infinite values"),
    "another format": (lambda t, about: about.update(format=9), "reads format 1"),
    "another network": (
        lambda t, about: about["network"].update(name="x"),
        "name is 'x', expected one of the networks",
    ),
    "no settings": (lambda t, about: about.pop("network"), "damaged, or no weights"),
    "a huge size": (
        lambda t, about: about["preprocessing"].update(size=[1 << 20] * 2),
        "from 1 to 1024",
    ),
    "a size that the network cannot take": (
        lambda t, about: about["preprocessing"].update(size=[33, 33]),
        "multiples of 16",
    ),
    "an odd size": (lambda t, about: about["preprocessing"].update(size="a"), "damaged, or no"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_do_not_fit_their_network_are_refused(tiny_weights, tmp_path, name):
    change, reason = REFUSED[name]
    path = rewrite(tiny_weights, tmp_path / "x.safetensors", change)
    with pytest.raises(weights.WeightsError, match=reason):
        weights.load(path)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(100), struct.pack("<Q", 1 << 62)])
def test_what_is_no_file_of_tensors_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(weights.WeightsError, match="damaged, or no weights of this package"):
        weights.load(path)


def test_tensors_of_somebody_else_are_refused(tmp_path):
    save_file({"a": np.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(weights.WeightsError, match="does not say of which network"):
        weights.load(tmp_path / "x.safetensors")


def test_a_file_cut_short_is_refused(tiny_weights, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(tiny_weights.read_bytes()[:-10])
    with pytest.raises(weights.WeightsError, match="damaged"):
        weights.load(path)


def test_values_beyond_half_precision_are_not_written(run, tmp_path):
    large = {"params": {"kernel": np.full((2, 2), 1e6)}, "batch_stats": {}}
    too_large = runs.Run(run.workdir, run.config, run.model, large, run.epoch)
    with pytest.raises(weights.WeightsError, match="params/kernel holds values too large"):
        weights.save(tmp_path / "x.safetensors", too_large, {})


def test_the_command_writes_a_file_with_its_card(tiny_run, tmp_path, capsys):
    out, card = tmp_path / "x.safetensors", tmp_path / "card.json"
    command = ["export_weights", "--workdir", str(tiny_run), "--out", str(out)]
    card.write_text('{"licence": "none"}')
    assert cli.main([*command, "--card", str(card)]) == 0
    assert weights.load(out).card["licence"] == "none"
    assert cli.main([*command, "--last"]) == 0
    assert weights.load(out).card["epoch"] == len(checkpoints.read_history(tiny_run))
    card.write_text("[]")
    assert cli.main([*command, "--card", str(card)]) == 1
    assert cli.main(["export_weights", "--workdir", str(tiny_run), "--out", "x.bin"]) == 1
    assert "expected a name that ends with .safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("name", weights.names())
def test_the_configuration_that_trains_on_fits_what_comes_with_the_package(name):
    """`file_of` is where the training reads the weights that the configuration names."""
    config = configuration.load(f"{CONFIGS / 'finetune.py'}:weights={name}")
    wanted = weights.load_pretrained(name)
    assert config.init == name
    assert runs.build_model(config) == wanted.model
    assert runs.preprocessing(config) == wanted.preprocessing
    assert config.data.crop == wanted.crop
    state = create_state(wanted.model, make_optimizer(1e-3), size=config.data.size, seed=0)
    state = initial.load_weights(weights.file_of(config.init), state)
    assert flat(state.latest).keys() == flat(wanted.variables).keys()
    for path, tensor in flat(state.latest).items():
        np.testing.assert_array_equal(tensor, flat(wanted.variables)[path])


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (b"\xff{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"trained_on": "p1, p2"}', "trained_on is 'p1, p2'; expected a list of patients' ids"),
        (b'{"trained_on": ["p1", 2]}', "expected a list of patients' ids"),
    ],
)
def test_a_card_that_nothing_could_be_made_of_is_refused_by_name(
    tiny_run, tmp_path, capsys, card, says
):
    out, file = tmp_path / "x.safetensors", tmp_path / "card.json"
    file.write_bytes(card)
    command = ["export-weights", "--workdir", str(tiny_run), "--out", str(out)]
    assert cli.main([*command, "--card", str(file)]) == 1
    said = capsys.readouterr().err
    assert f"{file}: " in said
    assert says in said
    assert not out.exists()
