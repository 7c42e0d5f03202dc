"""The encoder's pooling against flax's."""

import flax.linen as nn
import jax
import numpy as np

from cosup_jax.models.resunet import max_pool


def test_pooling_and_its_gradient_are_flax_ones(strict_dtypes):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 4, 3), np.float32)
    probe = rng.standard_normal((2, 3, 2, 3), np.float32)
    found, pull = jax.vjp(max_pool, x)
    wanted, plain_pull = jax.vjp(lambda x: nn.max_pool(x, (2, 2), (2, 2)), x)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(pull(probe)[0], plain_pull(probe)[0])


def test_pixels_that_share_the_maximum_share_its_gradient():
    gradient = jax.grad(lambda x: max_pool(x).sum())(np.ones((1, 4, 4, 1), np.float32))
    np.testing.assert_array_equal(gradient, np.full((1, 4, 4, 1), 0.25))
