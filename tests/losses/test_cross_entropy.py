"""Cross-entropy beside the joint loss: hand-checked values, padding, devices, empty slices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cosup_jax import losses
from cosup_jax.losses.cross_entropy import joint_cross_entropy_loss, mean_cross_entropy
from cosup_jax.models.output import SegOutput


def random(seed, shape=(2, 4, 4, 1)):
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(size=shape), jnp.float32)
    return logits, jnp.asarray(rng.integers(0, 2, shape), jnp.uint8)


def test_values_by_hand():
    logits = jnp.array([0.0, jnp.log(3.0)]).reshape(1, 1, 2, 1)
    for target, expected in (([1, 1], [0.5, 0.75]), ([0, 0], [0.5, 0.25]), ([0, 1], [0.5, 0.75])):
        truth = jnp.array(target).reshape(1, 1, 2, 1)
        found = mean_cross_entropy(logits, truth)
        assert float(found) == pytest.approx(-np.mean(np.log(expected)), rel=1e-6)


def test_sure_logits_do_not_overflow():
    logits = jnp.full((1, 2, 2, 1), 1e4)
    assert float(mean_cross_entropy(logits, jnp.ones((1, 2, 2, 1)))) == 0
    wrong = jax.grad(lambda x: mean_cross_entropy(x, jnp.zeros((1, 2, 2, 1))))(logits)
    np.testing.assert_allclose(wrong, 0.25)


def test_padding_counts_for_nothing():
    logits, target = random(0)
    padded = (jnp.concatenate([part, jnp.ones_like(part)]) for part in (logits, target))
    weights = jnp.array([1.0, 1.0, 0.0, 0.0])
    found = mean_cross_entropy(*padded, weights=weights)
    np.testing.assert_allclose(found, mean_cross_entropy(logits, target), rtol=1e-6)
    assert float(mean_cross_entropy(logits, target, weights=jnp.zeros(2))) == 0


def test_two_devices_are_one():
    logits, target = random(1, (4, 4, 4, 1))
    weights = jnp.array([1.0, 1.0, 1.0, 0.0])
    halves = (a.reshape(2, 2, *a.shape[1:]) for a in (logits, target, weights))
    split = jax.vmap(
        lambda x, g, w: mean_cross_entropy(x, g, weights=w, axis_name="d"), axis_name="d"
    )(*halves)
    np.testing.assert_allclose(split, mean_cross_entropy(logits, target, weights=weights), 1e-6)


def test_the_joint_loss_and_cross_entropy_add_up():
    logits, mask = random(2)
    heads = tuple(random(i)[0] for i in (3, 4))
    output = SegOutput(logits=logits, edge_logits=heads[:1], mask_logits=heads[1:])
    loss = losses.build("joint_cross_entropy", theta=0.5, beta=0.25, reduction="slice")
    total, parts = loss(output, mask, mask)
    joint, expected = losses.joint_loss(output, mask, mask, theta=0.5, beta=0.25, reduction="slice")
    by_optax = optax.sigmoid_binary_cross_entropy(logits, mask.astype(jnp.float32)).mean()
    np.testing.assert_allclose(total, joint + by_optax, rtol=1e-6)
    assert parts.keys() == {*expected, "cross_entropy"}
    for name in ("edge", "semantic", "fusion"):
        np.testing.assert_allclose(parts[name], expected[name], rtol=1e-6)


def test_an_empty_slice_pushes_marks_down_the_more_of_them_there_are():
    """With Dice alone a hundred marked pixels are pushed hardly more, all together, than one."""
    empty = jnp.zeros((1, 16, 16, 1))

    def push(marked, loss):
        logits = jnp.full((1, 256, 1), -9.0).at[:, :marked].set(3.0).reshape(1, 16, 16, 1)
        gradient = jax.grad(lambda x: loss(SegOutput(logits=x), empty, empty)[0])(logits)
        return float(gradient.sum())

    assert push(100, losses.joint_loss) < 0.3 * push(1, losses.joint_loss)
    assert push(100, joint_cross_entropy_loss) > 2 * push(1, joint_cross_entropy_loss)
