"""`--config.init` takes a file of weights, too: for the whole network, a backbone, or a guide."""

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from cosup_jax import models
from cosup_jax.interop import convert, names
from cosup_jax.runs import checkpoints, initial
from cosup_jax.runs.state import create_state, make_optimizer

UNET = {"name": "unet", "width": 4}
LABELLER = {"name": "multiclass_unet", "width": 4}


def fresh(**settings):
    model = models.build(**settings)
    return create_state(model, make_optimizer(1e-3), size=(32, 32), seed=0, average=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with the weights of a U-Net, and these."""
    variables = models.initialise(models.build(**UNET), (32, 32, 1), 9)
    path = tmp_path_factory.mktemp("weights") / "unet.safetensors"
    safetensors.numpy.save_file(traverse_util.flatten_dict(variables, sep="/"), path)
    return path, variables


def test_a_file_fills_a_fresh_state_and_its_average(weights, capsys):
    path, variables = weights
    state = initial.load_weights(str(path), fresh(**UNET))
    for found in (state.latest, state.average):
        jax.tree.map(np.testing.assert_array_equal, found, variables)
    assert f"a network of this package from {path}" in capsys.readouterr().out


def test_a_file_fills_a_guide_and_leaves_the_labeller(weights):
    path, variables = weights
    before = fresh(name="guided", guide=UNET, labeller=LABELLER)
    state = initial.load_weights(str(path), before)
    for name, tree in variables.items():
        jax.tree.map(np.testing.assert_array_equal, state.latest[name]["guide"], tree)
        labeller = before.latest[name]["labeller"]
        jax.tree.map(np.testing.assert_array_equal, state.latest[name]["labeller"], labeller)


def test_a_part_of_a_guide_is_refused(tmp_path):
    """What it leaves random would stay so: a guide is not trained."""
    guide = {"name": "cosup", "width": 4, "blocks": (1, 1, 1, 1)}
    source = next(s for s in names.SOURCES if s.scope == "encoder")
    tensors = {}
    for leaf, value in traverse_util.flatten_dict(fresh(**guide).latest, sep="/").items():
        collection, _, inside = leaf.partition("/")
        module, _, kind = inside.removeprefix("encoder/").rpartition("/")
        if inside.startswith("encoder/") and not module.startswith("stage1"):
            name = f"{source.name_in_file(module)}.{convert._LEAVES[collection][kind]}"
            value = np.asarray(value)
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            tensors[name] = np.ascontiguousarray(value)
    path = tmp_path / "resnet34.safetensors"
    safetensors.numpy.save_file(tensors, path)
    initial.load_weights(str(path), fresh(**guide))  # where the rest is trained, it is a start
    told = rf"--config.init={path}: it does not fill .*decoder.* of the guide, which is not trained"
    with pytest.raises(checkpoints.CheckpointError, match=told):
        initial.load_weights(str(path), fresh(name="guided", guide=guide, labeller=LABELLER))


def test_a_file_that_does_not_fit_is_named_with_the_setting(weights, tmp_path):
    path, _ = weights
    with pytest.raises(checkpoints.CheckpointError, match=rf"--config.init={path}.*another shape"):
        initial.load_weights(str(path), fresh(name="unet", width=8))
    (tmp_path / "a.pth").write_bytes(b"no weights at all")
    with pytest.raises(checkpoints.CheckpointError, match=r"a\.pth: neither safetensors nor"):
        initial.load_weights(str(tmp_path / "a.pth"), fresh(**UNET))
    with pytest.raises(checkpoints.CheckpointError, match="no checkpoints in"):
        initial.load_weights(str(tmp_path), fresh(**UNET))
