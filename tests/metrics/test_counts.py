"""Counts per slice: hand-checked tables, a loop as the oracle, types and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax.metrics import Counts, confusion, from_logits


def slices(*rows):
    return np.array(rows, bool)[:, None, :, None]


CASES = {  # prediction, truth, (tp, fp, fn, tn)
    "empty on empty": ([0, 0, 0, 0], [0, 0, 0, 0], (0, 0, 0, 4)),
    "false alarm on empty": ([0, 1, 1, 0], [0, 0, 0, 0], (0, 2, 0, 2)),
    "all missed": ([0, 0, 0, 0], [1, 1, 1, 0], (0, 0, 3, 1)),
    "half overlap": ([1, 1, 0, 0], [0, 1, 1, 0], (1, 1, 1, 1)),
    "all infected": ([1, 1, 1, 1], [1, 1, 1, 1], (4, 0, 0, 0)),
}


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32])
def test_all_cases_in_one_batch(kind, dtype, strict_dtypes):
    pred, truth = (slices(*(case[i] for case in CASES.values())) for i in (0, 1))
    found = confusion(kind(pred.astype(dtype)), kind(truth))
    for counted in found:
        assert counted.dtype == np.int32
        assert isinstance(counted, jax.Array) == (kind is jnp.asarray)
    np.testing.assert_array_equal(np.stack(found, 1), [case[2] for case in CASES.values()])


def test_the_channel_axis_may_be_missing():
    pred, truth = slices([1, 1, 0, 0]), slices([0, 1, 1, 0])
    assert confusion(pred[..., 0], truth[..., 0]) == confusion(pred, truth)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_counts_are_those_of_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((2, 3, 5, 1), np.float32)
    truth = rng.integers(0, 2, logits.shape, np.uint8)
    threshold = rng.uniform(0.1, 0.9)
    wanted = np.zeros((2, 4), int)
    for place, z in np.ndenumerate(logits):
        found, real = 1 / (1 + np.exp(-z)) > threshold, bool(truth[place])
        column = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}
        wanted[place[0], column[bool(found), real]] += 1
    counts = jax.jit(from_logits)(logits, truth, threshold)
    np.testing.assert_array_equal(np.stack(counts, 1), wanted)


def test_a_pixel_at_the_threshold_is_not_infection():
    counts = from_logits(
        jnp.array([-1e-3, 0, 1e-3]).reshape(1, 1, 3, 1), np.ones((1, 1, 3, 1), bool)
    )
    assert [int(n[0]) for n in counts] == [1, 0, 2, 0]
    lower = from_logits(jnp.zeros((1, 1, 3, 1)), np.ones((1, 1, 3, 1), bool), threshold=0.4)
    assert int(lower.tp[0]) == 3


def test_counts_are_exact_where_float32_no_longer_is():
    ones = np.ones((1, 4097, 4097), bool)
    assert confusion(ones, ones).tp[0] == 4097**2


def test_counts_pass_through_jax_transformations():
    pred, truth = slices([1, 1, 0, 0], [0, 0, 0, 0]), slices([0, 1, 1, 0], [1, 0, 0, 0])
    whole = confusion(pred, truth)
    mapped = jax.vmap(confusion)(jnp.asarray(pred)[:, None], jnp.asarray(truth)[:, None])
    assert isinstance(mapped, Counts)
    for found, wanted in zip(mapped, whole, strict=True):
        np.testing.assert_array_equal(found[:, 0], wanted)


def test_probabilities_are_refused():
    truth = slices([1, 0, 0, 0])
    with pytest.raises(TypeError, match=r"prediction is float32.*threshold"):
        confusion(truth.astype(np.float32), truth)


@pytest.mark.parametrize("shape", [(1, 1, 3, 1), (4,)])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"truth of shape \(1, 1, 4, 1\)"):
        confusion(np.zeros(shape, bool), slices([1, 0, 0, 0]))
