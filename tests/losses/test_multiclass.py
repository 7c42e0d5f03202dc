"""Losses of several classes: hand-checked numbers, and what they are with two classes only."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax import losses
from cosup_jax.losses import multiclass
from cosup_jax.models import SegOutput

# Compiled whole: operation by operation every one would be compiled for itself.
class_dice = jax.jit(multiclass.class_dice)
soft_dice = jax.jit(losses.soft_dice)
cross_entropy_loss = jax.jit(multiclass.cross_entropy_loss, static_argnames="summed")
CLASSES = np.array([[0, 1], [2, 2]], np.uint8).reshape(1, 2, 2, 1)
EDGE = np.ones((1, 2, 2, 1), np.uint8)


def logits(probabilities):
    """Logits (1, H, W, C) whose softmax is given as (H, W, C)."""
    return np.log(np.asarray(probabilities, np.float32))[None]


P = np.array([[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6], [0.5, 0.3, 0.2]]])


@jax.jit
def sigmoid_and_softmax(z):
    return jax.nn.sigmoid(multiclass.one_against_rest(z)), jax.nn.softmax(z, axis=-1)


@settings(deadline=None, max_examples=10)
@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_sigmoid_of_one_against_the_rest_is_the_softmax(count, seed):
    z = np.random.default_rng(seed).normal(0, 20, (1, 2, 3, count)).astype(np.float32)
    np.testing.assert_allclose(*sigmoid_and_softmax(z), atol=1e-6)


def test_class_dice_by_hand():
    # Class 1 is expected at one place, where p is 0.8 of a total of 1.5; class 2 at two.
    first = 2 * 0.8 / (1.5 + 1)
    second = 2 * (0.6 + 0.2) / (1.0 + 2)
    found = class_dice(logits(P), CLASSES, eps=0.0)
    np.testing.assert_allclose(found, (first + second) / 2, rtol=1e-6)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_two_classes_are_infection_or_not(seed):
    random = np.random.default_rng(seed)
    z = random.normal(0, 3, (2, 4, 3, 2)).astype(np.float32)
    mask = random.integers(0, 2, (2, 4, 3, 1))
    one = SegOutput(z[..., 1:] - z[..., :1])
    np.testing.assert_allclose(class_dice(z, mask), soft_dice(one.logits, mask), rtol=1e-5)
    infection = jax.jit(lambda output: output.infection)
    np.testing.assert_allclose(infection(SegOutput(z)), one.infection, atol=1e-5)


def test_infection_is_any_class_but_the_background():
    found = jax.nn.sigmoid(SegOutput(logits(P)).infection)[0, ..., 0]
    np.testing.assert_allclose(found, 1 - P[..., 0], rtol=1e-5)


def test_cross_entropy_by_hand():
    each = -np.log([0.7, 0.8, 0.6, 0.2])
    output = SegOutput(logits(P))
    mean, parts = cross_entropy_loss(output, CLASSES, EDGE)
    np.testing.assert_allclose(mean, each.mean(), rtol=1e-6)
    assert parts.keys() == {"total"}
    total, _ = cross_entropy_loss(output, CLASSES, EDGE, summed=True)
    np.testing.assert_allclose(total, each.sum(), rtol=1e-6)
    twice = SegOutput(np.concatenate([logits(P), logits(P[::-1])]))
    padded, _ = cross_entropy_loss(
        twice, np.repeat(CLASSES, 2, 0), EDGE, weights=np.array([1, 0], np.float32)
    )
    np.testing.assert_allclose(padded, each.mean(), rtol=1e-6)


def test_one_hot_by_hand():
    q = np.array([0.9, 0.2, 0.4])
    z = np.log(q / (1 - q)).astype(np.float32).reshape(1, 1, 1, 3)
    run = jax.jit(multiclass.one_hot_loss)
    found, _ = run(SegOutput(z), np.full((1, 1, 1, 1), 2), EDGE)
    np.testing.assert_allclose(found, -np.log([0.1, 0.8, 0.4]).mean(), rtol=1e-5)


def test_the_joint_loss_is_the_weighted_sum_of_its_parts():
    output = SegOutput(logits(P), (EDGE * 2.0,), (logits(P[::-1]), logits(P)))
    loss = functools.partial(multiclass.multiclass_joint_loss, omega=(0.5, 2.0))
    total, parts = jax.jit(loss)(output, CLASSES, EDGE)
    dice = [float(class_dice(z, CLASSES)) for z in (logits(P), logits(P[::-1]))]
    np.testing.assert_allclose(parts["fusion"], 1 - dice[0], rtol=1e-5)
    np.testing.assert_allclose(
        parts["semantic"], 0.5 * (1 - dice[1]) + 2 * (1 - dice[0]), rtol=1e-5
    )
    edge = jax.jit(losses.edge_loss)(output.edge_logits, EDGE)
    np.testing.assert_allclose(parts["edge"], edge, rtol=1e-6)
    parts = {name: float(value) for name, value in parts.items()}
    wanted = 0.8 * parts["edge"] + 0.4 * parts["semantic"] + parts["fusion"]
    np.testing.assert_allclose(total, wanted, rtol=1e-6)


@pytest.mark.parametrize("name", ["multiclass_joint", "cross_entropy", "one_hot"])
def test_they_are_built_by_name_and_need_classes(name):
    loss = losses.build(name)
    assert np.isfinite(jax.jit(loss)(SegOutput(logits(P)), CLASSES, EDGE)[0])
    with pytest.raises(ValueError, match=r"logits of shape \(1, 2, 2, 1\).*at least two classes"):
        loss(SegOutput(logits(P)[..., :1]), CLASSES, EDGE)
    with pytest.raises(ValueError, match="gamma is no option"):
        losses.build(name, gamma=1)
