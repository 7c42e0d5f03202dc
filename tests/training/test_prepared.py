"""Slices changed on the device, and averaged weights: the same on one device and on two."""

import functools

import jax
import numpy as np
import optax
import pytest

from cosup_jax import devices, losses
from cosup_jax.data import augment
from cosup_jax.runs.state import create_state
from cosup_jax.training import setup, step
from tests.phantoms import tiny_config
from tests.training.tiny import TinyNet

LOSS = losses.build("joint")
# Changes of each kind, few of them: each more takes as long again to compile.
SETTINGS = augment.Augmentation(flip_horizontal=0.5, rotation=20, match=0.5, cutmix=0.5)


def make_batch(seed, size=32):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    radius = rng.uniform(3, 12, (4, 1, 1, 1))
    mask = ((y - 16) ** 2 + (x - 14) ** 2)[None, ..., None] < radius**2
    return {
        "image": (mask + rng.normal(0, 0.5, mask.shape)).astype(np.float32),
        "mask": mask.astype(np.uint8),
        "edge": (mask ^ np.roll(mask, 1, axis=1)).astype(np.uint8),
    }


def ravel(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def train(count=1, steps=2, **options):
    """Returns a state after some steps on some devices, and the metrics of the steps."""
    model, on = TinyNet(axis_name=devices.AXIS), jax.local_devices()[:count]
    # SGD: Adam would hide a gradient that is wrong by a factor.
    average = bool(options.get("decay"))
    state = create_state(model, optax.sgd(0.05), size=(32, 32), seed=0, average=average)
    state, rows = devices.replicate(state, on), []
    mapped = step.parallel_train_step(LOSS, on, **options)
    for number in range(steps):
        state, metrics = mapped(state, devices.shard(make_batch(number), on))
        rows.append(devices.first(metrics))
    return jax.device_get(state), rows


def test_augmentation_and_averages_are_those_of_one_device():
    options = {"prepare": functools.partial(augment.augment, settings=SETTINGS), "decay": 0.9}
    (one, wanted), (two, rows) = train(**options), train(count=2, **options)
    for row, want in zip(rows, wanted, strict=True):
        assert row == pytest.approx(want, rel=1e-5, abs=1e-7)
    for part in ("params", "batch_stats", "average"):
        found, alone = (ravel(getattr(state, part)) for state in (two, one))
        assert np.linalg.norm(found - alone) <= 1e-5 * np.linalg.norm(alone)
    _, plain = train(steps=1)
    assert plain[0]["loss"] != pytest.approx(wanted[0]["loss"], rel=1e-3)


def test_the_same_slice_is_changed_in_another_way_in_the_next_step():
    seen = []

    def prepare(keys, image, mask):
        jax.debug.callback(lambda k: seen.append(np.asarray(k)), jax.random.key_data(keys))
        return {"image": image, "mask": mask}

    train(prepare=prepare)
    jax.effects_barrier()
    keys = np.concatenate(seen)
    assert len(np.unique(keys, axis=0)) == len(keys) == 8


def test_partners_on_different_devices_are_refused(data_dir, tmp_path):
    for changes in ({"augment__cutmix": 0.1}, {"augment__match": 0.1}):
        config = tiny_config(data_dir, batch_size=6, devices=2, **changes)
        with pytest.raises(devices.DeviceError, match="2 devices have 3 of 6 each"):
            setup.make_setup(config, tmp_path)
    with pytest.raises(devices.DeviceError, match="a --config.semi.pretrain_batch_size that"):
        setup.devices_for(config, 10, "semi.pretrain_batch_size")
