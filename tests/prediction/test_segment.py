"""Probabilities of slices, with and without flips."""

import jax
import numpy as np
import pytest

from cosup_jax import runs
from cosup_jax.weights import predictor


@pytest.fixture(scope="module")
def run(tiny_run):
    return runs.open_run(tiny_run)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).standard_normal((2, 32, 32, 1)).astype(np.float32)


def test_probabilities_are_the_sigmoid_of_the_logits(run, image):
    found = predictor.make_predictor(run.model, run.variables)(image)
    forward = jax.jit(lambda variables, x: run.model.apply(variables, x, train=False).logits)
    logits = np.asarray(forward(run.variables, image))[..., 0]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_with_flips_a_flipped_slice_has_the_flipped_result(run, image):
    predict = predictor.make_predictor(run.model, run.variables, tta=True)
    found = predict(image)
    assert found.shape == (2, 32, 32)
    np.testing.assert_allclose(predict(image[:, :, ::-1]), found[:, :, ::-1], atol=1e-5)
    assert not np.allclose(found, predictor.make_predictor(run.model, run.variables)(image))
