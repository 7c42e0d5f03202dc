"""Cross-entropy beside the joint loss: hand-checked values, padding, devices, empty slices."""

import jax
import numpy as np
import optax
import pytest

from cosup_jax import losses
from cosup_jax.losses.cross_entropy import joint_cross_entropy_loss, mean_cross_entropy
from cosup_jax.models.output import SegOutput

# Compiled whole: operation by operation every one would be compiled for itself.
cross_entropy = jax.jit(mean_cross_entropy)


def random(seed, shape=(2, 4, 4, 1)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(np.float32), rng.integers(0, 2, shape).astype(np.uint8)


def test_values_by_hand():
    logits = np.array([0, np.log(3)], np.float32).reshape(1, 1, 2, 1)
    for target, expected in (([1, 1], [0.5, 0.75]), ([0, 0], [0.5, 0.25]), ([0, 1], [0.5, 0.75])):
        found = cross_entropy(logits, np.array(target).reshape(1, 1, 2, 1))
        assert float(found) == pytest.approx(-np.mean(np.log(expected)), rel=1e-6)


def test_sure_logits_do_not_overflow():
    logits = np.full((1, 2, 2, 1), 1e4, np.float32)
    assert float(cross_entropy(logits, np.ones_like(logits))) == 0
    wrong = jax.jit(jax.grad(mean_cross_entropy))(logits, np.zeros_like(logits))
    np.testing.assert_allclose(wrong, 0.25)


def test_padding_counts_for_nothing():
    logits, target = random(0)
    padded = (np.concatenate([part, np.ones_like(part)]) for part in (logits, target))
    weights = np.array([1, 1, 0, 0], np.float32)
    found = cross_entropy(*padded, weights=weights)
    np.testing.assert_allclose(found, cross_entropy(logits, target), rtol=1e-6)
    assert float(cross_entropy(logits, target, weights=np.zeros(2, np.float32))) == 0


def test_two_devices_are_one():
    logits, target = random(1, (4, 4, 4, 1))
    weights = np.array([1, 1, 1, 0], np.float32)
    halves = (a.reshape(2, 2, *a.shape[1:]) for a in (logits, target, weights))
    run = jax.vmap(
        lambda x, g, w: mean_cross_entropy(x, g, weights=w, axis_name="d"), axis_name="d"
    )
    whole = cross_entropy(logits, target, weights=weights)
    np.testing.assert_allclose(jax.jit(run)(*halves), whole, 1e-6)


def test_the_joint_loss_and_cross_entropy_add_up():
    logits, mask = random(2)
    heads = tuple(random(i)[0] for i in (3, 4))
    output = SegOutput(logits=logits, edge_logits=heads[:1], mask_logits=heads[1:])
    options = {"theta": 0.5, "beta": 0.25, "reduction": "slice"}
    total, parts = jax.jit(losses.build("joint_cross_entropy", **options))(output, mask, mask)
    joint, expected = jax.jit(losses.build("joint", **options))(output, mask, mask)
    by_optax = jax.jit(optax.sigmoid_binary_cross_entropy)(logits, mask.astype(np.float32))
    np.testing.assert_allclose(total, float(joint) + np.mean(by_optax), rtol=1e-6)
    assert parts.keys() == {*expected, "cross_entropy"}
    for name in ("edge", "semantic", "fusion"):
        np.testing.assert_allclose(parts[name], expected[name], rtol=1e-6)


def test_an_empty_slice_pushes_marks_down_the_more_of_them_there_are():
    """With Dice alone a hundred marked pixels are pushed hardly more, all together, than one."""
    empty = np.zeros((1, 16, 16, 1), np.float32)

    def push(marked, loss):
        logits = np.full(256, -9, np.float32)
        logits[:marked] = 3
        gradient = jax.jit(jax.grad(lambda x: loss(SegOutput(logits=x), empty, empty)[0]))
        return float(np.sum(gradient(logits.reshape(empty.shape))))

    assert push(100, losses.joint_loss) < 0.3 * push(1, losses.joint_loss)
    assert push(100, joint_cross_entropy_loss) > 2 * push(1, joint_cross_entropy_loss)
