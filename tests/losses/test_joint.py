"""Losses: hand-checked numbers, a NumPy oracle, the empty cases, devices, strict types."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax import losses
from cosup_jax.losses import infnet
from cosup_jax.models.output import SegOutput

# Compiled whole: operation by operation every one would be compiled for itself.
soft_dice = jax.jit(losses.soft_dice, static_argnames="reduction")
dice_loss = jax.jit(losses.dice_loss, static_argnames="reduction")
SURE = 30.0  # a logit whose sigmoid is 1 in float32


def slices(*rows):
    """Makes a (B, 1, n, 1) batch of one-line slices."""
    return np.array(rows, np.float32)[:, None, :, None]


def logits_of(*rows):
    return np.float32(SURE) * (2 * slices(*rows) - 1)


@pytest.mark.parametrize(
    ("predicted", "true", "wanted"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], 1),  # empty on empty
        ([1, 1, 1, 0], [0, 0, 0, 0], 1 / 4),  # ε / (n + ε)
        ([0, 0, 0, 0], [1, 1, 1, 0], 1 / 4),
        ([1, 1, 0, 0], [1, 1, 0, 0], 1),
        ([1, 1, 0, 0], [0, 1, 1, 0], 3 / 5),
        ([1, 0, 0, 0], [1, 1, 1, 1], 3 / 6),
    ],
)
@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
def test_dice_of_one_slice_by_hand(predicted, true, wanted, reduction, strict_dtypes):
    found = soft_dice(logits_of(predicted), slices(true), reduction=reduction)
    assert float(found) == pytest.approx(wanted, abs=1e-6)
    loss = dice_loss(logits_of(predicted), slices(true), reduction=reduction)
    assert float(loss) == pytest.approx(1 - wanted, abs=1e-6)


def test_the_two_reductions_by_hand():
    predicted = logits_of([1, 1, 0, 0], [0, 0, 0, 0])
    true = slices([1, 1, 1, 1], [0, 0, 0, 1])
    assert float(soft_dice(predicted, true)) == pytest.approx((4 + 1) / (7 + 1))
    by_slice = soft_dice(predicted, true, reduction="slice")
    assert float(by_slice) == pytest.approx((5 / 7 + 1 / 2) / 2)


def test_epsilon_is_counted_in_pixels():
    found = soft_dice(logits_of([1, 1, 1, 0]), slices([0, 0, 0, 0]), eps=0.1)
    assert float(found) == pytest.approx(0.1 / 3.1)


def numpy_dice(logits, target, reduction, eps, weights):
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    pairs = [(p[i], target[i]) for i in range(len(p)) if weights[i]]
    if reduction == "batch":
        pairs = [(np.stack([p for p, _ in pairs]), np.stack([t for _, t in pairs]))]
    return np.mean([(2 * (p * t).sum() + eps) / (p.sum() + t.sum() + eps) for p, t in pairs])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    reduction=st.sampled_from(losses.REDUCTIONS),
    eps=st.sampled_from([1e-3, 1.0]),
    scale=st.floats(0.1, 20),
    kept=st.integers(1, 7),
)
def test_dice_is_the_numpy_dice_and_blind_to_padding(seed, reduction, eps, scale, kept):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.standard_normal((3, 4, 5, 1))).astype(np.float32)
    target = rng.integers(0, 2, logits.shape, np.uint8)
    weights = np.array([kept >> i & 1 for i in range(3)], np.float32)
    found = soft_dice(logits, target, reduction=reduction, eps=eps, weights=weights)
    wanted = numpy_dice(logits, target, reduction, eps, weights)
    assert float(found) == pytest.approx(wanted, rel=1e-4)
    assert 0 <= float(found) <= 1 + 1e-6
    with jax.numpy_dtype_promotion("strict"):
        again = soft_dice(
            logits[weights > 0], target[weights > 0] > 0, reduction=reduction, eps=eps
        )
    assert float(again) == pytest.approx(float(found), rel=1e-5)


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
def test_a_batch_of_padding_scores_one_and_has_a_finite_gradient(reduction):
    def loss(logits):
        return losses.dice_loss(
            logits, jnp.ones_like(logits), reduction=reduction, weights=jnp.zeros(2)
        )

    value, gradient = jax.jit(jax.value_and_grad(loss))(np.ones((2, 2, 2, 1), np.float32))
    assert float(value) == 0
    assert not np.any(gradient)


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("devices", [2, 4])
def test_split_over_devices_it_is_one_loss(reduction, devices):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((8, 4, 4, 1), np.float32)
    target = rng.random(x.shape) < np.linspace(0.05, 0.9, 8)[:, None, None, None]
    weights = np.array([1, 1, 1, 0, 1, 0, 0, 1], np.float32)

    def loss(scale, x, target, weights, axis_name=None):
        return losses.dice_loss(
            scale * x, target, reduction=reduction, weights=weights, axis_name=axis_name
        )

    def shards(array):
        return array.reshape(devices, 8 // devices, *array.shape[1:])

    scale = np.float32(0.7)
    wanted, wanted_gradient = jax.jit(jax.value_and_grad(loss))(scale, x, target, weights)
    found, gradient = jax.pmap(
        jax.value_and_grad(functools.partial(loss, axis_name="d")),
        axis_name="d",
        in_axes=(None, 0, 0, 0),
        devices=jax.devices()[:devices],
    )(scale, shards(x), shards(target), shards(weights))
    np.testing.assert_allclose(found, np.full(devices, wanted), rtol=1e-6)
    # The mean over the devices is the gradient of the global loss, as the docstring says.
    assert float(np.mean(gradient)) == pytest.approx(float(wanted_gradient), rel=1e-5)


def output():
    edges = tuple(logits_of(row) for row in ([1, 1, 0, 0], [0, 0, 0, 0]))
    masks = tuple(logits_of(row) for row in ([1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]))
    return SegOutput(logits_of([0, 1, 1, 1]), edges, masks)


EDGE, MASK = slices([1, 0, 0, 0]), slices([0, 1, 1, 0])
EDGE_LOSSES = (1 - 3 / 4, 1 - 1 / 2)
MASK_LOSSES = (1 - 5 / 7, 0.0, 1 - 1 / 3)
FUSION_LOSS = 1 - 5 / 6


def test_stages_are_summed_not_averaged():
    edge, semantic, fusion = map(
        jax.jit, (losses.edge_loss, losses.semantic_loss, losses.fusion_loss)
    )
    assert float(edge(output().edge_logits, EDGE)) == pytest.approx(sum(EDGE_LOSSES))
    assert float(semantic(output().mask_logits, MASK)) == pytest.approx(sum(MASK_LOSSES))
    assert float(fusion(output().logits, MASK)) == pytest.approx(FUSION_LOSS)


def test_the_edge_loss_differs_from_equation_1_by_a_constant():
    dice = [float(soft_dice(x, EDGE)) for x in output().edge_logits]
    printed = 1 - sum(dice)
    assert float(jax.jit(losses.edge_loss)(output().edge_logits, EDGE)) - printed == pytest.approx(
        1
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.int32])
def test_joint_loss_has_the_weights_of_table_1(dtype, strict_dtypes):
    run = jax.jit(losses.joint_loss)
    total, parts = run(output(), MASK.astype(dtype), EDGE.astype(dtype))
    assert {key: float(value) for key, value in parts.items()} == pytest.approx(
        {
            "edge": sum(EDGE_LOSSES),
            "semantic": sum(MASK_LOSSES),
            "fusion": FUSION_LOSS,
            "total": float(total),
        }
    )
    wanted = 0.8 * sum(EDGE_LOSSES) + 0.4 * sum(MASK_LOSSES) + FUSION_LOSS
    assert float(total) == pytest.approx(wanted)
    assert all(value.dtype == jnp.float32 and value.shape == () for value in parts.values())


@jax.jit
def halved_edges(output, mask, edge):
    return losses.joint_loss(output, mask, edge, theta=1, beta=0, zeta=0.5)


@pytest.mark.parametrize("kind", [tuple, list, np.array, jnp.array])
def test_stages_can_be_weighted_one_by_one(kind):
    weights = {"zeta": kind([1.0, 4.0]), "omega": kind([0.5, 2.0, 3.0])}
    loss = functools.partial(losses.joint_loss, theta=2, beta=3, **weights)
    total, _ = jax.jit(loss)(output(), MASK, EDGE)
    edge = EDGE_LOSSES[0] + 4 * EDGE_LOSSES[1]
    semantic = 0.5 * MASK_LOSSES[0] + 2 * MASK_LOSSES[1] + 3 * MASK_LOSSES[2]
    assert float(total) == pytest.approx(2 * edge + 3 * semantic + FUSION_LOSS)
    halved, _ = halved_edges(output(), MASK, EDGE)
    assert float(halved) == pytest.approx(0.5 * sum(EDGE_LOSSES) + FUSION_LOSS)


def test_without_heads_only_fusion_remains():
    total, parts = jax.jit(losses.joint_loss)(SegOutput(output().logits), MASK, EDGE)
    assert float(parts["edge"]) == float(parts["semantic"]) == 0.0
    assert float(total) == pytest.approx(FUSION_LOSS)


def test_options_reach_every_part():
    doubled = jax.tree.map(lambda x: np.concatenate([x, -x]), output())
    run = jax.jit(losses.joint_loss, static_argnames="reduction")
    wanted, _ = run(output(), MASK, EDGE, eps=0.5)
    mask, edge = (np.concatenate([x, x]) for x in (MASK, EDGE))
    weights = np.array([1, 0], np.float32)
    for reduction in losses.REDUCTIONS:
        found, _ = run(doubled, mask, edge, reduction=reduction, weights=weights, eps=0.5)
        assert float(found) == pytest.approx(float(wanted))


def test_the_gradient_of_soft_dice_is_that_of_its_difference_quotient(strict_dtypes):
    target = slices([0, 1, 1, 0])
    point, step = slices([0.3, -0.2, 0.9, -1.1]), 1e-2
    gradient = np.asarray(jax.jit(jax.grad(losses.soft_dice))(point, target))
    for i in range(4):
        shift = np.zeros_like(point)
        shift[0, 0, i] = step
        rise = float(soft_dice(point + shift, target)) - float(soft_dice(point - shift, target))
        assert rise / (2 * step) == pytest.approx(float(gradient[0, 0, i, 0]), abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.soft_dice(MASK, MASK, reduction="mean"), "'mean'.*batch, slice"),
        (lambda: losses.soft_dice(MASK, MASK[..., 0]), r"\(1, 1, 4, 1\).*\(1, 1, 4\)"),
        (lambda: losses.soft_dice(MASK, MASK, weights=np.ones(2)), "the batch has 1 slices"),
        (
            lambda: losses.joint_loss(output(), MASK, EDGE, zeta=[1.0]),
            r"zeta is \[.*2 such heads",
        ),
        (lambda: losses.joint_loss(output(), MASK, EDGE, omega=(1.0,) * 4), "omega is .*3 such"),
        (lambda: losses.joint_loss(SegOutput(MASK), MASK, EDGE, zeta=[1.0]), "zeta is .*0 such"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_losses_are_built_by_name_with_their_options():
    total, _ = losses.build("joint", theta=0.5, beta=0.0)(output(), MASK, EDGE)
    expected, _ = losses.joint_loss(output(), MASK, EDGE, theta=0.5, beta=0.0)
    assert total == expected
    total, parts = losses.build("infnet", weighted_bce=False)(output(), MASK, EDGE)
    assert set(parts) == {"edge", "semantic", "prediction", "total"}
    assert total == infnet.infnet_loss(output(), MASK, EDGE, weighted_bce=False)[0]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("dice", {}, "name is 'dice', expected one of the losses joint, infnet"),
        ("joint", {"thata": 1}, r"thata is no option .*'joint' \(did you mean 'theta'\?\)"),
        ("infnet", {"beta": 1}, "beta is no option of .*'infnet', which has weighted_bce, omega"),
        ("joint", {"axis_name": "x"}, "axis_name is no option"),
    ],
)
def test_unknown_losses_and_options_are_refused_by_name(name, options, says):
    with pytest.raises(ValueError, match=says):
        losses.build(name, **options)
