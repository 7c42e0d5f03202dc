"""Of one channel and by rows against XLA's own convolution and gradient, and where which is."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax.models import convolution
from cosup_jax.models.layers import ConvNorm

NHWC = ("NHWC", "HWIO", "NHWC")


def draw(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.mark.parametrize(
    ("image", "size", "padding", "dilation"),
    [
        pytest.param((2, 8, 6), (3, 3), ((1, 1), (1, 1)), (1, 1), id="3x3"),
        pytest.param((3, 7, 5), (3, 3), ((1, 1), (1, 1)), (1, 1), id="odd rows"),
        pytest.param((1, 9, 6), (1, 1), ((0, 0), (0, 0)), (1, 1), id="1x1"),
        pytest.param((2, 6, 9), (7, 1), ((3, 3), (0, 0)), (1, 1), id="7x1"),
        pytest.param((2, 4, 9), (3, 3), ((7, 7), (7, 7)), (7, 7), id="taps beyond the map"),
        pytest.param((2, 9, 8), (3, 3), ((0, 2), (2, 0)), (1, 1), id="one-sided padding"),
        pytest.param((2, 9, 8), (3, 3), ((0, 0), (0, 0)), (2, 1), id="no padding"),
        pytest.param((1, 40, 70), (3, 3), ((1, 1), (1, 1)), (1, 1), id="several rows of many"),
        pytest.param((1, 3, 1200), (1, 3), ((0, 0), (1, 1)), (1, 1), id="rows longer than a part"),
    ],
)
def test_kernel_gradient_equals_that_of_the_whole_batch(image, size, padding, dilation):
    x = draw(*image, 3)
    whole = functools.partial(
        jax.lax.conv_general_dilated,
        x,
        window_strides=(1, 1),
        padding=padding,
        rhs_dilation=dilation,
        dimension_numbers=NHWC,
    )
    kernel = np.zeros((*size, 3, 4), np.float32)
    change = draw(*jax.eval_shape(whole, kernel).shape)

    @jax.jit
    def both(x, change):
        wanted = jax.vjp(whole, kernel)[1](change)[0]
        return convolution.kernel_gradient(x, change, size, padding, dilation), wanted

    np.testing.assert_allclose(*both(x, change), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("size", "padding"),
    [
        pytest.param((3, 3), ((1, 1), (1, 1)), id="3x3"),
        pytest.param((7, 1), ((3, 3), (0, 0)), id="7x1"),
        pytest.param((3, 5), ((0, 2), (1, 0)), id="one-sided padding"),
        pytest.param((1, 1), ((0, 0), (0, 0)), id="1x1"),
    ],
)
def test_maps_of_one_channel_are_convolved_all_the_same(size, padding, dtype, strict_dtypes):
    x, kernel = draw(2, 9, 8, 1).astype(dtype), draw(*size, 1, 4).astype(dtype)
    options = {
        "lhs_dilation": (1, 1),
        "rhs_dilation": (1, 1),
        "dimension_numbers": NHWC,
        "feature_group_count": 1,
    }

    def own(x, kernel):
        return convolution.convolve(x, kernel, (1, 1), padding, **options)

    def xlas(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, **options)

    @jax.jit
    def both(x, kernel):
        (found, back), (wanted, back_again) = (jax.vjp(f, x, kernel) for f in (own, xlas))
        return (found, *back(wanted)), (wanted, *back_again(wanted))

    tolerance = 1e-5 if dtype == jnp.float32 else 0.05
    for found, wanted in zip(*both(x, kernel), strict=True):
        assert found.dtype == dtype
        wide = np.asarray(found, np.float32), np.asarray(wanted, np.float32)
        np.testing.assert_allclose(*wide, rtol=tolerance, atol=tolerance)


@pytest.fixture
def from_size(monkeypatch):
    """Sets from which size of map on the gradient is taken by rows."""
    return functools.partial(monkeypatch.setattr, convolution, "LARGE")


EVERY, NONE = 0, 2**62


def gradients(module, variables, x, change):
    def loss(params, x):
        y, _ = module.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])
        return jnp.sum(y * change)

    return jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], x)


@pytest.mark.parametrize("settings", [{}, {"dilation": 2}, {"kernel": (1, 5)}, {"stride": 2}])
def test_a_network_learns_the_same_from_rows(settings, from_size):
    module, x = ConvNorm(4, relu=False, **settings), draw(2, 9, 8, 3)
    variables = jax.jit(lambda x: module.init(jax.random.key(0), x, True))(x)
    change = draw(*jax.eval_shape(lambda x: module.apply(variables, x, False), x).shape)
    from_size(EVERY)
    found = gradients(module, variables, x, change)
    from_size(NONE)
    wanted = gradients(module, variables, x, change)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, wanted)


def loss(kernel, x):
    settings = {"use_bias": False, "dtype": x.dtype, "conv_general_dilated": convolution.convolve}
    conv = nn.Conv(kernel.shape[-1], (3, 3), padding=1, **settings)
    return jnp.sum(conv.apply({"params": {"kernel": kernel}}, x) ** 2)


def loops(program):
    return program.as_text().count("stablehlo.while")


@pytest.mark.parametrize(
    ("limit", "dtype", "expected"),
    [
        pytest.param(EVERY, jnp.float32, 1, id="all"),
        pytest.param(4 * 4 * 2 * 5, jnp.float32, 1, id="just large enough"),
        pytest.param(4 * 4 * 2 * 5 + 1, jnp.float32, 0, id="too small"),
        pytest.param(EVERY, jnp.bfloat16, 0, id="bfloat16"),
    ],
)
def test_which_maps_are_taken_by_rows(limit, dtype, expected, from_size):
    from_size(limit)
    x, kernel = jnp.ones((2, 4, 4, 2), dtype), jnp.ones((3, 3, 2, 5))
    assert loops(jax.jit(jax.grad(loss)).lower(kernel, x)) == expected


def test_other_devices_take_the_batch_at_once(from_size):
    from_size(EVERY)
    traced = jax.jit(jax.grad(loss)).trace(jnp.ones((3, 3, 2, 5)), jnp.ones((2, 4, 4, 2)))
    assert loops(traced.lower(lowering_platforms=("cpu",))) == 1
    assert loops(traced.lower(lowering_platforms=("cuda",))) == 0


def test_rows_hold_for_networks_that_are_trained_at_once(from_size):
    from_size(EVERY)
    x, kernels = draw(2, 6, 6, 2), draw(3, 3, 3, 2, 4)
    together = jax.jit(jax.vmap(jax.grad(loss), (0, None)))(kernels, x)
    single = jax.jit(jax.grad(loss))
    alone = np.stack([single(kernel, x) for kernel in kernels])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


def test_rows_hold_on_several_devices(from_size):
    from_size(EVERY)
    x, kernel = draw(4, 6, 6, 2), draw(3, 3, 2, 4)

    def summed(kernel, x):
        return jax.lax.psum(jax.grad(loss)(kernel, x), "devices")

    shards = x.reshape(2, 2, 6, 6, 2)
    step = jax.pmap(summed, "devices", in_axes=(None, 0), out_axes=None, devices=jax.devices()[:2])
    wanted = jax.jit(jax.grad(loss))(kernel, x)
    np.testing.assert_allclose(step(kernel, shards), wanted, rtol=1e-4, atol=1e-4)
