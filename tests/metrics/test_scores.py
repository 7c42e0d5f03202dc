"""Scores: a hand-checked table with the empty cases, their laws, NumPy and JAX alike."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosup_jax import metrics
from cosup_jax.metrics import Counts

NAN = math.nan
SCORES = ("dice", "iou", "sensitivity", "precision", "specificity")
# case: (tp, fp, fn, tn), the five scores under "one", the five scores under "nan"
TABLE = {
    "empty on empty": ((0, 0, 0, 4), (1, 1, 1, 1, 1), (NAN, NAN, NAN, NAN, 1)),
    "false alarm on empty": ((0, 2, 0, 2), (0, 0, 0, 0, 0.5), (0, 0, NAN, 0, 0.5)),
    "all missed": ((0, 0, 3, 1), (0, 0, 0, 0, 1), (0, 0, 0, NAN, 1)),
    "half overlap": ((2, 2, 2, 10), (0.5, 1 / 3, 0.5, 0.5, 5 / 6), (0.5, 1 / 3, 0.5, 0.5, 5 / 6)),
    "unequal errors": (
        (3, 1, 5, 7),
        (0.5, 1 / 3, 3 / 8, 0.75, 7 / 8),
        (0.5, 1 / 3, 3 / 8, 0.75, 7 / 8),
    ),
    "all infected, all found": ((4, 0, 0, 0), (1, 1, 1, 1, 1), (1, 1, 1, 1, NAN)),
    "all infected, part found": (
        (3, 0, 1, 0),
        (6 / 7, 3 / 4, 3 / 4, 1, 0),
        (6 / 7, 3 / 4, 3 / 4, 1, NAN),
    ),
}


def batch(xp):
    return Counts(*(xp.array([row[0][i] for row in TABLE.values()], "int32") for i in range(4)))


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize(("empty", "column"), [("one", 1), ("nan", 2), ("paper", 2)])
@pytest.mark.parametrize("score", SCORES)
def test_the_table(score, empty, column, xp, strict_dtypes):
    found = getattr(metrics, score)(batch(xp), empty)
    assert found.dtype == (np.float64 if xp is np else np.float32)
    wanted = [row[column][SCORES.index(score)] for row in TABLE.values()]
    if empty == "paper":  # what is undefined is 1
        wanted = np.nan_to_num(wanted, nan=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, err_msg=str(list(TABLE)))


def test_one_is_the_default():
    for score in SCORES:
        function = getattr(metrics, score)
        np.testing.assert_array_equal(function(batch(np)), function(batch(np), "one"))


counts = st.builds(
    lambda *n: Counts(*(np.array([x], np.int32) for x in n)), *[st.integers(0, 10**6)] * 4
)


@given(counts)
def test_dice_follows_from_iou_and_from_sensitivity_and_precision(counts):
    dice, iou = metrics.dice(counts), metrics.iou(counts)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))
    if counts.tp[0]:
        s, p = metrics.sensitivity(counts), metrics.precision(counts)
        np.testing.assert_allclose(dice, 2 * s * p / (s + p))


@given(counts)
def test_swapping_prediction_and_truth_swaps_sensitivity_and_precision(counts):
    swapped = counts._replace(fp=counts.fn, fn=counts.fp)
    assert metrics.dice(counts) == metrics.dice(swapped)
    assert metrics.iou(counts) == metrics.iou(swapped)
    assert metrics.sensitivity(counts) == metrics.precision(swapped)


@given(counts)
def test_specificity_is_the_sensitivity_for_the_healthy(counts):
    healthy = Counts(tp=counts.tn, fp=counts.fn, fn=counts.fp, tn=counts.tp)
    assert metrics.specificity(counts) == metrics.sensitivity(healthy)


@given(counts)
def test_scores_lie_between_0_and_1(counts):
    for score in SCORES:
        assert 0 <= getattr(metrics, score)(counts)[0] <= 1
        value = getattr(metrics, score)(counts, "nan")[0]
        assert math.isnan(value) or value == getattr(metrics, score)(counts)[0]


def test_scores_run_under_jit():
    run = jax.jit(lambda c: [getattr(metrics, score)(c) for score in SCORES])
    for found, score in zip(run(batch(jnp)), SCORES, strict=True):
        np.testing.assert_allclose(found, getattr(metrics, score)(batch(np)), rtol=1e-6)


def test_nan_is_only_where_it_is_the_answer():
    counts = metrics.Counts(*(jnp.asarray([n]) for n in (3, 1, 2, 10)))
    with jax.debug_nans(True):
        for score in SCORES:
            assert 0 < float(getattr(metrics, score)(counts, "nan")[0]) < 1


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="'zero'.*one, nan"):
        metrics.dice(batch(np), "zero")


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32])
def test_mae_by_hand(kind, dtype, strict_dtypes):
    prob = np.array([[0.25, 0.5, 1, 0], [0, 0, 0, 0]], np.float32)[:, None, :, None]
    truth = np.array([[0, 1, 1, 0], [0, 0, 0, 0]])[:, None, :, None].astype(dtype)
    found = metrics.mae(kind(prob), kind(truth))
    np.testing.assert_allclose(found, [0.75 / 4, 0])
    np.testing.assert_allclose(metrics.mae(kind(prob[..., 0]), kind(truth[..., 0])), found)


def test_mae_refuses_another_shape():
    with pytest.raises(ValueError, match=r"\(1, 4, 4, 1\) and truth of shape \(1, 4, 4\)"):
        metrics.mae(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4)))


def test_mae_of_a_mask_of_0_and_255_and_of_a_binary_map():
    prob, truth = np.array([[[0.25, 1.0]]]), np.array([[[0, 255]]], np.uint8)
    assert metrics.mae(prob, truth).tolist() == [0.125]
    assert metrics.mae(prob > 0.2, truth).tolist() == [0.5]


def test_mae_refuses_grey_values():
    grey = np.array([[[64, 255]]], np.uint8)
    with pytest.raises(TypeError, match="uint8.*divide grey values by 255"):
        metrics.mae(grey, grey > 128)
