"""Several devices compute what one device computes on the same global batch."""

import functools

import jax
import numpy as np
import optax
import pytest

from cosup_jax import devices, losses, models
from cosup_jax.runs.state import create_state
from cosup_jax.training import step
from tests.training.tiny import TinyNet

LOSS = functools.partial(losses.joint_loss, theta=0.8, beta=0.4)
BATCH = 8
TOLERANCE = 1e-5


def make_batch():
    """Blobs of different size, so that the slices' Dice differ and a wrong mean is seen."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    radius = np.linspace(2, 13, BATCH)[:, None, None]
    mask = ((y - 16) ** 2 + (x - 16) ** 2 < radius**2)[..., None]
    image = mask + rng.normal(0, 0.5, mask.shape)
    edge = mask ^ np.roll(mask, 1, axis=1)
    return {
        "image": image.astype(np.float32),
        "mask": mask.astype(np.uint8),
        "edge": edge.astype(np.uint8),
    }


def cosup(axis_name):
    return models.build("cosup", width=4, blocks=(1, 1, 1, 1), axis_name=axis_name)


def make_state(axis_name=devices.AXIS, net=TinyNet):
    # SGD: Adam would hide a gradient that is wrong by a factor.
    return create_state(net(axis_name=axis_name), optax.sgd(0.05), size=(32, 32), seed=0)


def train(n_devices, loss=LOSS, start=None):
    """Returns state before, state behind and metrics of three steps on so many devices."""
    on = jax.local_devices()[:n_devices]
    return follow(step.parallel_train_step(loss, on), on, start or make_state(), make_batch())


def follow(mapped, on, start, batch):
    """The same of a step that is there, on any batch."""
    state, rows = devices.replicate(start, on), []
    for _ in range(3):
        state, metrics = mapped(state, devices.shard(batch, on))
        rows.append(devices.first(metrics))
    return jax.device_get(start), jax.device_get(state), rows


@pytest.fixture(scope="module")
def one_device():
    return train(1)


def norm(tree):
    """In NumPy: JAX would compile three programs for each shape in the tree."""
    return np.linalg.norm([np.linalg.norm(leaf) for leaf in jax.tree.leaves(tree)])


def relative_difference(found, expected):
    difference = jax.tree.map(lambda a, b: a - b, found, expected)
    return norm(difference) / norm(expected)


def largest_difference(first, second):
    """Compares two runs: metrics of each step, parameters and statistics at the end."""
    (start, state_1, rows_1), (_, state_2, rows_2) = first, second
    metrics = [abs(a[k] - b[k]) / abs(b[k]) for a, b in zip(rows_1, rows_2, strict=True) for k in a]
    moved = [jax.tree.map(lambda a, b: a - b, s.params, start.params) for s in (state_1, state_2)]
    return max(
        *metrics,
        relative_difference(state_1.batch_stats, state_2.batch_stats),
        relative_difference(*moved),
    )


@pytest.mark.parametrize("n", [2, 4])
def test_devices_agree_with_one_device(n, one_device):
    assert largest_difference(train(n), one_device) < TOLERANCE


def test_on_the_network_of_the_paper_it_is_the_same_which_device_has_which_slice():
    """Its sums are those of `TinyNet`; what is its own is that every layer takes part in them."""
    on = jax.local_devices()[:2]
    mapped, start = step.parallel_train_step(LOSS, on), make_state(net=cosup)
    batch = make_batch()
    mixed = {name: values[[0, 7, 2, 5, 4, 3, 6, 1]] for name, values in batch.items()}
    found, expected = (follow(mapped, on, start, slices) for slices in (mixed, batch))
    assert largest_difference(found, expected) < TOLERANCE


def test_the_step_is_traced_once():
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return LOSS(*args, **kwargs)

    train(2, loss=counted)
    assert len(calls) == 1


def test_summed_gradients_would_be_seen(one_device, monkeypatch):
    monkeypatch.setattr(jax.lax, "pmean", jax.lax.psum)
    assert largest_difference(train(2), one_device) > 100 * TOLERANCE


def test_a_loss_per_device_would_be_seen(one_device):
    def blind(*args, axis_name, **kwargs):
        return LOSS(*args, **kwargs)

    assert largest_difference(train(2, loss=blind), one_device) > 100 * TOLERANCE


def test_statistics_per_device_would_be_seen(one_device):
    start = make_state(axis_name=None)
    assert largest_difference(train(2, start=start), one_device) > 100 * TOLERANCE


def test_evaluation_on_devices_agrees_and_keeps_the_order(one_device):
    state = one_device[1]
    batch = {**make_batch(), "_mask": np.array([1, 1, 1, 1, 1, 1, 0, 0], np.float32)}
    results = []
    for n in (1, 4):
        on = jax.local_devices()[:n]
        run = step.parallel_eval_step(LOSS, on)
        results.append(run(devices.replicate(state, on), devices.shard(batch, on)))
    for name in results[0]:
        np.testing.assert_allclose(results[1][name], results[0][name], rtol=1e-5, atol=1e-6)
    alone = step.eval_step(state, {k: v[:6] for k, v in batch.items()}, loss=LOSS)
    np.testing.assert_allclose(results[0]["tp"][:6], alone["tp"], atol=1)
    np.testing.assert_allclose(results[0]["loss"], alone["loss"], rtol=1e-5)


def test_a_batch_the_devices_do_not_divide_is_refused():
    with pytest.raises(devices.DeviceError, match="6 slices is not divided by 4 devices"):
        devices.choose_devices(0, 6)
    with pytest.raises(devices.DeviceError, match="devices=9, but there are 4"):
        devices.choose_devices(9, 18)
    with pytest.raises(devices.DeviceError, match="3 slices is not divided by 2 devices"):
        devices.shard({"image": np.zeros((3, 2))}, jax.local_devices()[:2])


def test_prefetching_keeps_order_and_loses_nothing():
    batches = [{"x": np.full((2, 1), i)} for i in range(5)]
    on = jax.local_devices()[:2]
    found = [int(b["x"][0, 0, 0]) for b in devices.prefetch(iter(batches), on)]
    assert found == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 2])
def test_the_state_that_a_step_uses_up_is_needed_once(count):
    state = {"weights": np.zeros(10**6, np.float32)}
    batch = {"image": jax.ShapeDtypeStruct((4, 50_000), np.float32)}

    def add(state, batch, axis_name):
        mean = jax.lax.pmean(batch["image"].mean(), axis_name)
        return {"weights": state["weights"] + mean}, {"mean": mean}

    on = jax.local_devices()[:count]
    found = devices.memory(devices.map_train_step(add, on), state, batch, on)
    least = 4 * 10**6 + 4 * 4 * 50_000 // count
    assert least <= found <= least + 10_000
