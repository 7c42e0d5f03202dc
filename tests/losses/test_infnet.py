"""Inf-Net's losses: hand-checked numbers, a NumPy oracle, saturated logits, padding, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cosup_jax.losses import infnet
from cosup_jax.losses.infnet import border_weights
from cosup_jax.models.output import SegOutput

# Compiled as a whole they are quicker than operation by operation.
structure_loss, infnet_loss = (
    jax.jit(loss, static_argnames=("weighted_bce", "axis_name"))
    for loss in (infnet.structure_loss, infnet.infnet_loss)
)
edge_bce = jax.jit(infnet.edge_bce)

# Of `example(1)`, by the NumPy forms below.
GOLDEN = {"weighted": 2.0498796, "plain": 2.0440979, "edge": 1.3820435}


def numpy_bce(z, g):
    z = z.astype(np.float64)
    return np.logaddexp(0, z) - g * z


def numpy_structure(logits, mask, weighted_bce):
    """L_seg of one (H, W) slice."""
    mean = ndimage.uniform_filter(mask.astype(np.float64), 31, mode="constant")
    alpha = 1 + 5 * np.abs(mean - mask)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    overlap = (alpha * p * mask).sum()
    iou = 1 - (overlap + 1) / ((alpha * (p + mask)).sum() - overlap + 1)
    bce = numpy_bce(logits, mask)
    return iou + (np.average(bce, weights=alpha) if weighted_bce else bce.mean())


def example(seed, slices=3, size=(34, 40), scale=3.0):
    """Random logits, blobs as masks, and their edges, each (slices, *size, 1)."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((slices, *size)), (0, 3, 3))
    mask = noise > 0.05
    edge = mask ^ ndimage.binary_erosion(mask, np.ones((1, 3, 3)))
    logits = (scale * rng.standard_normal(mask.shape)).astype(np.float32)
    return logits[..., None], mask[..., None], edge[..., None]


def test_border_weights_by_hand(strict_dtypes):
    mask = np.zeros((1, 64, 64, 1), np.uint8)
    mask[:, :, :32] = 1
    found = border_weights(jnp.asarray(mask))[0, ..., 0]
    share = {0: 16 / 31, 15: 1, 31: 16 / 31, 32: 15 / 31, 46: 1 / 31, 47: 0}  # of the window
    for column, inside in share.items():
        wanted = 1 + 5 * abs(inside - (column < 32))
        assert float(found[32, column]) == pytest.approx(wanted, abs=1e-5), column
    # In the corner the window has 16 × 16 of its 31 × 31 pixels in the image.
    assert float(found[0, 0]) == pytest.approx(1 + 5 * (1 - 256 / 961), abs=1e-5)


@pytest.mark.parametrize("weighted_bce", [True, False])
def test_an_undecided_prediction_by_hand(weighted_bce):
    # Where p is 1/2 BCE is log 2 whatever the weights, and L_IoU^w = 1 − (α/2 + 1) / (α + 1).
    mask = np.ones((1, 1, 1, 1))
    alpha = 1 + 5 * (1 - 1 / 961)
    found = structure_loss(jnp.zeros((1, 1, 1, 1)), mask, weighted_bce=weighted_bce)
    assert float(found) == pytest.approx(1 - (alpha / 2 + 1) / (alpha + 1) + np.log(2), abs=1e-6)


def test_a_perfect_prediction_costs_nothing_and_the_contrary_a_lot():
    _, mask, _ = example(0)
    sure = jnp.where(mask, 40.0, -40.0)
    assert float(structure_loss(sure, mask)) == pytest.approx(0, abs=1e-6)
    assert float(structure_loss(-sure, mask)) == pytest.approx(40 + 1, rel=1e-3)


def test_golden_numbers():
    logits, mask, edge = example(1)
    assert float(structure_loss(logits, mask)) == pytest.approx(GOLDEN["weighted"], rel=1e-5)
    plain = structure_loss(logits, mask, weighted_bce=False)
    assert float(plain) == pytest.approx(GOLDEN["plain"], rel=1e-5)
    assert float(edge_bce((logits,), edge)) == pytest.approx(GOLDEN["edge"], rel=1e-5)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.1, 20),
    weighted_bce=st.booleans(),
    kept=st.integers(1, 7),
)
def test_it_is_the_numpy_loss_and_blind_to_padding(seed, scale, weighted_bce, kept):
    logits, mask, edge = example(seed, scale=scale)
    weights = np.array([kept >> i & 1 for i in range(3)], np.float32)
    rows = [i for i in range(3) if weights[i]]
    found = structure_loss(logits, mask, weighted_bce=weighted_bce, weights=weights)
    wanted = [numpy_structure(logits[i, ..., 0], mask[i, ..., 0], weighted_bce) for i in rows]
    assert float(found) == pytest.approx(np.mean(wanted), rel=1e-4)
    found = edge_bce((logits, logits), edge, weights=weights)
    assert float(found) == pytest.approx(2 * numpy_bce(logits, edge)[rows].mean(), rel=1e-4)


def output(seed=2):
    maps = [jnp.asarray(example(seed + i)[0]) for i in range(5)]
    return SegOutput(maps[0], (maps[1],), tuple(maps[2:]))


@pytest.mark.parametrize(
    ("dtype", "weighted_bce"), [(np.uint8, True), (np.bool_, False), (np.float32, True)]
)
def test_equation_5_sums_over_the_maps(dtype, weighted_bce, strict_dtypes):
    _, mask, edge = example(9)
    out = output()
    total, parts = infnet_loss(
        out, mask.astype(dtype), edge.astype(dtype), weighted_bce=weighted_bce
    )

    def seg(logits):
        pairs = zip(np.asarray(logits), mask, strict=True)
        return np.mean([numpy_structure(z[..., 0], g[..., 0], weighted_bce) for z, g in pairs])

    wanted = {
        "edge": numpy_bce(np.asarray(out.edge_logits[0]), edge).mean(),
        "semantic": sum(seg(logits) for logits in out.mask_logits),
        "prediction": seg(out.logits),
    }
    wanted["total"] = sum(wanted.values())
    assert {key: float(value) for key, value in parts.items()} == pytest.approx(wanted, rel=1e-5)
    assert float(total) == float(parts["total"])
    assert all(value.dtype == jnp.float32 and value.shape == () for value in parts.values())


def test_without_heads_the_prediction_remains():
    logits, mask, edge = example(3)
    total, parts = infnet_loss(SegOutput(jnp.asarray(logits)), mask, edge)
    assert float(parts["edge"]) == float(parts["semantic"]) == 0
    assert float(total) == float(structure_loss(logits, mask))


@pytest.mark.parametrize("weighted_bce", [True, False])
def test_gradients_are_finite_where_logits_are_saturated(weighted_bce):
    logits = np.where(np.arange(64).reshape(1, 8, 8, 1) % 2, 1e4, -1e4).astype(np.float32)
    out = SegOutput(jnp.asarray(logits), (jnp.asarray(-logits),), (jnp.asarray(logits),))

    @jax.jit
    def gradient(out, mask):
        return jax.value_and_grad(
            lambda out: infnet_loss(out, mask, mask, weighted_bce=weighted_bce)[0]
        )(out)

    halves = (np.arange(64).reshape(logits.shape) < 32).astype(np.float32)
    for mask in (0 * halves, halves, 0 * halves + 1):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient(out, mask)))


def test_a_batch_of_padding_costs_nothing_and_has_no_gradient():
    _, mask, edge = example(4)
    loss = functools.partial(infnet_loss, mask=mask, edge=edge, weights=jnp.zeros(3))
    value, gradient = jax.value_and_grad(lambda out: loss(out)[0])(output())
    assert float(value) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("devices", [2, 4])
def test_split_over_devices_it_is_one_loss(devices):
    logits, mask, edge = example(5, slices=8, size=(8, 8))
    weights = np.array([1, 1, 1, 0, 1, 0, 0, 1], np.float32)

    def loss(scale, logits, mask, edge, weights, axis_name=None):
        out = SegOutput(scale * logits, (logits * scale,), (scale - logits,))
        return infnet_loss(out, mask, edge, weights=weights, axis_name=axis_name)[0]

    def shards(array):
        return array.reshape(devices, 8 // devices, *array.shape[1:])

    scale, arrays = jnp.float32(0.7), (logits, mask, edge, weights)
    wanted, wanted_gradient = jax.value_and_grad(loss)(scale, *arrays)
    found, gradient = jax.pmap(
        jax.value_and_grad(functools.partial(loss, axis_name="d")),
        axis_name="d",
        in_axes=(None, 0, 0, 0, 0),
        devices=jax.devices()[:devices],
    )(scale, *map(shards, arrays))
    np.testing.assert_allclose(found, np.full(devices, wanted), rtol=1e-6)
    # The mean over the devices is the gradient of the global loss, as for the joint loss.
    assert float(gradient.mean()) == pytest.approx(float(wanted_gradient), rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: structure_loss(x, x[..., 0]), r"\(2, 4, 4, 1\).*\(2, 4, 4\)"),
        (lambda x: structure_loss(x, x, weights=np.ones(3)), "the batch has 2 slices"),
        (lambda x: edge_bce((x,), x[:1]), r"\(2, 4, 4, 1\).*\(1, 4, 4, 1\)"),
        (lambda x: edge_bce((x,), x, weights=np.ones(1)), "the batch has 2 slices"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.zeros((2, 4, 4, 1), np.float32))
