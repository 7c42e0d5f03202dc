"""What training carries on: moving averages, keys of slices, the optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cosup_jax.runs.state import TrainState, make_optimizer


def make_state(seed=0, average=True, tx=None):
    params = {"w": jnp.asarray([1.0, -2.0])}
    batch_stats = {"mean": jnp.asarray([0.5])}
    return TrainState.create(
        apply_fn=None,
        params=params,
        batch_stats=batch_stats,
        average={"params": params, "batch_stats": batch_stats} if average else {},
        seed=np.array([seed >> 32, seed % 2**32], np.uint32),
        tx=tx or optax.sgd(1.0),
    )


@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_the_average_is_the_recursion_in_numpy(decay):
    state = make_state()
    expected, w = np.array([1.0, -2.0]), np.array([1.0, -2.0])
    for t in range(1, 5):
        state = state.apply_gradients(grads={"w": jnp.full(2, 0.1 * t)}).averaged(decay)
        w = w - 0.1 * t
        d = min(decay, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * w
        np.testing.assert_allclose(state.latest["params"]["w"], w, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(state.variables["params"]["w"], expected, rtol=1e-6)
    np.testing.assert_allclose(state.variables["batch_stats"]["mean"], 0.5)


def test_without_an_average_the_last_weights_predict():
    state = make_state(average=False)
    assert state.averaged(0.9) is state
    assert state.variables is not state.average
    assert state.variables["params"] is state.params


def data(keys):
    return np.asarray(jax.random.key_data(keys))


def test_a_slice_has_its_key_whoever_asks_for_it():
    state = make_state(seed=3)
    whole = data(state.slice_keys(0, 6))
    np.testing.assert_array_equal(data(state.slice_keys(2, 3)), whole[2:5])
    assert len(np.unique(whole, axis=0)) == 6


def test_keys_differ_from_step_to_step_and_from_seed_to_seed():
    state = make_state(seed=3)
    others = (state.replace(step=1), make_state(seed=4), make_state(seed=3 + 2**32))
    for other in others:
        assert (data(other.slice_keys(0, 4)) != data(state.slice_keys(0, 4))).any(axis=1).all()
    again = data(make_state(seed=3).slice_keys(0, 4))
    np.testing.assert_array_equal(again, data(state.slice_keys(0, 4)))


def test_gradients_are_clipped_by_value_before_adam():
    """Adam's first two steps from gradients g, in NumPy, with and without the clip."""
    steps = [np.array([0.2, -4.0]), np.array([3.0, 0.1])]
    for clip in (0.0, 0.5):
        state = make_state(tx=make_optimizer(0.1, clip))
        w, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
        for t, g in enumerate(steps, 1):
            state = state.apply_gradients(grads={"w": jnp.asarray(g)})
            g = np.clip(g, -clip, clip) if clip else g
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(state.params["w"], w, rtol=1e-5)
