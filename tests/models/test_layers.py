"""Blocks: resize against a NumPy oracle, convolution geometry, normalisation, size errors."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax.models.layers import (
    ConvNorm,
    DoublingConv,
    Dropout,
    Policy,
    ResidualBlock,
    check_image,
    light,
    max_pool,
    pointwise,
)


# Compiled whole: operation by operation every one would be compiled for itself.
def start(layer, x):
    """The fresh variables of a layer."""
    return jax.jit(lambda x: layer.init(jax.random.key(0), x, False))(x)


def evaluate(layer, variables, x):
    return np.asarray(jax.jit(lambda variables, x: layer.apply(variables, x, False))(variables, x))


def test_doubling_by_a_matrix_product_is_the_transposed_convolution(strict_dtypes):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 5, 4), np.float32)
    probe = rng.standard_normal((2, 6, 10, 7), np.float32)
    fast, plain = DoublingConv(7), nn.ConvTranspose(7, (2, 2), (2, 2))
    shapes = jax.eval_shape(plain.init, jax.random.key(0), x)
    assert jax.eval_shape(fast.init, jax.random.key(0), x) == shapes
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)

    def run(layer):
        out, pull = jax.vjp(layer.apply, params, x)
        return out, pull(probe)

    both = (jax.tree.leaves(jax.jit(lambda layer=layer: run(layer))()) for layer in (fast, plain))
    pairs = zip(*both, strict=True)
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_pointwise_of_bf16_sums_in_float32():
    x = jnp.ones((1, 1, 1, 512), jnp.bfloat16)
    found = pointwise(x, jnp.full((512, 1), 1.0078125), jnp.ones(1))
    assert found.dtype == jnp.float32
    assert float(found[0, 0, 0, 0]) == 512 * 1.0078125 + 1


def test_strided_convolution_is_centred_on_every_second_pixel():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 1
    layer = ConvNorm(1, stride=2, relu=False)
    variables = start(layer, x)
    params = {**variables["params"], "conv": {"kernel": kernel}}
    found = evaluate(layer, {**variables, "params": params}, x)
    np.testing.assert_allclose(found[0, ..., 0], x[0, ::2, ::2, 0], rtol=1e-4)


def test_a_dilated_oblong_kernel_keeps_the_size_and_its_centre():
    x = np.zeros((1, 9, 9, 1), np.float32)
    x[0, 4, 4] = 1
    layer = ConvNorm(1, (1, 3), relu=False, dilation=3)
    variables = start(layer, x)
    params = {**variables["params"], "conv": {"kernel": np.ones((1, 3, 1, 1), np.float32)}}
    found = evaluate(layer, {**variables, "params": params}, x)[0, ..., 0]
    assert np.argwhere(found > 0.5).tolist() == [[4, 1], [4, 4], [4, 7]]
    assert found.shape == (9, 9)


def test_normalisation_keeps_nine_tenths_of_the_old_statistics():
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 1)).astype(np.float32) + 3
    layer = ConvNorm(4)
    variables = start(layer, x)
    train = functools.partial(layer.apply, train=True, mutable=["batch_stats"])
    _, state = jax.jit(train)(variables, x)
    before_norm = np.asarray(
        jax.lax.conv_general_dilated(
            x,
            variables["params"]["conv"]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    )
    norm = state["batch_stats"]["norm"]
    np.testing.assert_allclose(norm["mean"], 0.1 * before_norm.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(norm["var"], 0.9 + 0.1 * before_norm.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    ("features", "stride", "has"), [(8, 1, False), (16, 1, True), (8, 2, True)]
)
def test_a_residual_block_projects_its_shortcut_only_when_shapes_differ(features, stride, has):
    x = jnp.ones((1, 8, 8, 8))
    block = ResidualBlock(features, stride)
    found, variables = jax.eval_shape(lambda: block.init_with_output(jax.random.key(0), x, False))
    assert found.shape == (1, 8 // stride, 8 // stride, features)
    assert ("shortcut" in variables["params"]) == has


def test_a_light_module_has_the_same_gradient_and_keeps_less_for_it():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 8, 4), np.float32)
    plain, spare = ResidualBlock(8), light(ResidualBlock, 2)(8)
    variables = start(plain, x)
    fresh = jax.eval_shape(lambda: spare.init(jax.random.key(0), x, False))
    assert jax.tree.structure(fresh) == jax.tree.structure(variables)
    probe = rng.standard_normal((2, 8, 8, 8), np.float32)

    def run(block):
        def apply(params, x):
            return block.apply({**variables, "params": params}, x, True, mutable=["batch_stats"])

        out, pull, stats = jax.vjp(apply, variables["params"], x, has_aux=True)
        kept.append(sum(leaf.nbytes for leaf in jax.tree.leaves(pull) if leaf.ndim == 4))
        return out, stats, pull(probe)

    kept, sums = [], []
    wanted, found = (
        jax.tree.leaves(jax.jit(lambda block=block: run(block))()) for block in (plain, spare)
    )
    assert kept[1] < 0.7 * kept[0]
    for block in (plain, spare):
        sums.append(str(jax.make_jaxpr(lambda block=block: run(block))()).count("reduce_sum"))
    assert sums[1] == sums[0]  # those of normalisation are not taken twice
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 100, 128, 1), "100×128.*multiples of 16.*112×128"),
        ((1, 16, 17, 1), "16×32"),
        ((1, 0, 16, 1), "16×16"),
        ((2, 1, 32, 48), r"\(2, 1, 32, 48\) seems to have its channels first, not last"),
        ((32, 32, 1), r"\(B, H, W, C\).*\(32, 32, 1\)"),
    ],
)
def test_a_wrong_size_says_what_to_pad_to(shape, message):
    with pytest.raises(ValueError, match=message):
        check_image(np.zeros(shape), 16)


def test_pooling_and_its_gradient_are_flax_ones(strict_dtypes):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 4, 3), np.float32)
    probe = rng.standard_normal((2, 3, 2, 3), np.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def run(pool):
        out, pull = jax.vjp(pool, x)
        return out, pull(probe)[0]

    pairs = zip(run(max_pool), run(lambda x: nn.max_pool(x, (2, 2), (2, 2))), strict=True)
    for found, wanted in pairs:
        np.testing.assert_array_equal(found, wanted)


def test_pixels_that_share_the_maximum_share_its_gradient():
    gradient = jax.jit(jax.grad(lambda x: max_pool(x).sum()))(np.ones((1, 4, 4, 1), np.float32))
    np.testing.assert_array_equal(gradient, np.full((1, 4, 4, 1), 0.25))


def drop(x, train=True, axis=None, **settings):
    module = Dropout(0.3, policy=Policy(axis_name=axis), **settings)
    return module.apply({}, x, train, rngs={"dropout": jax.random.key(4)})


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluation():
    x = jnp.ones((4, 16, 16, 8))
    assert drop(x, train=False) is x
    found = np.asarray(jax.jit(drop)(x))
    np.testing.assert_allclose(np.unique(found), [0, 1 / 0.7], rtol=1e-6)
    assert abs(found.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / found.size)
    assert len({slice_.tobytes() for slice_ in found}) == 4
    whole = np.asarray(jax.jit(functools.partial(drop, channels=True))(x))
    assert (whole == whole[:, :1, :1]).all()
    assert 0 < (whole == 0).mean() < 1


def test_dropout_of_a_slice_depends_on_its_place_in_the_whole_batch():
    x = np.ones((4, 3, 5, 2), np.float32)
    spread = jax.pmap(lambda part: drop(part, axis="i"), axis_name="i")(x.reshape(2, 2, 3, 5, 2))
    np.testing.assert_array_equal(np.reshape(spread, x.shape), jax.jit(drop)(x))


def test_a_depthwise_convolution_mixes_no_channels():
    x = np.random.default_rng(0).random((1, 5, 6, 3), np.float32)
    layer = ConvNorm(3, relu=False, depthwise=True, dilation=2)
    variables = start(layer, x)
    assert variables["params"]["conv"]["kernel"].shape == (3, 3, 1, 3)
    alone = evaluate(layer, variables, x * np.array([0, 1, 0], np.float32))
    np.testing.assert_allclose(alone[..., 1], evaluate(layer, variables, x)[..., 1], rtol=1e-5)
    assert not alone[..., ::2].any()
