"""Several classes through the whole loop: labels, optimizer, a guide that comes from a run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import runs
from cosup_jax.data import datasets, preprocess
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.experiments import trials
from cosup_jax.runs import checkpoints
from cosup_jax.runs.state import make_optimizer
from tests.phantoms import tiny_config

CLASSES = 4  # phantoms have effusion, too


@pytest.fixture(scope="module")
def tfds(quick_run):
    return quick_run.parent / "tfds"


def guided_config(quick_run, tfds, **changes):
    config = tiny_config(tfds, epochs=1, **changes)
    guide = json.loads((quick_run / "config.json").read_text())["model"]
    labeller = {"name": "tiny", "classes": CLASSES}
    config.model = {
        "name": "guided",
        "guide": {name: value for name, value in guide.items() if name != "dtype"},
        "labeller": labeller,
        "guide_size": (),
        "dtype": "float32",
    }
    config.loss = {"name": "cross_entropy", "summed": True}
    config.update_from_flattened_dict(
        {"optimizer.name": "sgd", "optimizer.momentum": 0.99, "optimizer.weight_decay": 5e-4}
    )
    config.learning_rate = 1e-6
    return config


def test_classes_are_told_apart_only_where_they_are_asked_for(tfds):
    builder = datasets.make_builder("lung_phantom", config="tiny", data_dir=str(tfds))
    settings = Preprocessing((32, 32))
    found = set()
    for example in builder.as_data_source(split="train"):
        one = preprocess.prepare_example(example, settings)
        several = preprocess.prepare_example(example, settings, classes=CLASSES)
        np.testing.assert_array_equal(several["mask"] > 0, one["mask"])
        np.testing.assert_array_equal(several["edge"], one["edge"])
        found |= set(np.unique(several["mask"]).tolist())
    assert found == {0, 1, 2, 3}
    example["mask"] = np.full_like(example["mask"], 3)
    with pytest.raises(preprocess.ClassError, match=r"has class 3, but the network tells 0..2"):
        preprocess.prepare_example(example, settings, classes=3)


def test_a_guided_network_is_trained_beside_its_guide(quick_run, tfds, tmp_path):
    config = guided_config(quick_run, tfds, init=str(quick_run))
    summary = trials.train_and_evaluate(config, tmp_path)
    assert summary["dice"]["n"] == 8
    for name in ("ground-glass", "consolidation", "effusion"):
        found = json.loads((tmp_path / "evaluation" / name / "summary.json").read_text())
        assert (found["class"], found["dice"]["n"]) == (name, 8)
    guide, _ = checkpoints.read_best(quick_run)
    run = runs.open_run(tmp_path)
    for name in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, run.variables[name]["guide"], guide[name])
    assert run.variables["params"]["labeller"]["first"]["kernel"].shape == (3, 3, 2, 3)


def test_a_guide_without_weights_is_refused(quick_run, tfds, tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="guide .* is not trained here.*init"):
        trials.train_and_evaluate(guided_config(quick_run, tfds), tmp_path)


def test_sgd_by_hand():
    """V ← μ v + (g + λ w), w ← w − η v; a guide's weights do not decay."""
    optimizer = make_optimizer(0.1, name="sgd", momentum=0.9, weight_decay=0.5)
    params = {"guide": {"w": jnp.array(2.0)}, "labeller": {"w": jnp.array(2.0)}}
    state = optimizer.init(params)
    v, w = 0.0, 2.0
    for gradient in (1.0, -3.0):
        gradients = {"guide": {"w": jnp.array(0.0)}, "labeller": {"w": jnp.array(gradient)}}
        updates, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        v = 0.9 * v + gradient + 0.5 * w
        w -= 0.1 * v
        np.testing.assert_allclose(params["labeller"]["w"], w, rtol=1e-6)
        assert params["guide"]["w"] == 2
    with pytest.raises(ValueError, match=r"optimizer.name is 'rmsprop', expected adam or sgd"):
        make_optimizer(0.1, name="rmsprop")
