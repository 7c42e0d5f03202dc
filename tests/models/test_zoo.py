"""The comparators: published parameter counts, the attention gate, deep supervision."""

import functools

import jax
import numpy as np
import pytest

from cosup_jax import models
from cosup_jax.models.zoo.attention_unet import AttentionGate


def shapes(model):
    image = jax.ShapeDtypeStruct((1, 32, 32, 1), np.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model)["params"]))


def formula(name, width, inputs=1, biases=False):
    """Counts parameters from the description; `biases` adds those that normalisation makes idle."""

    def conv_norm(k, c_in, c_out):
        return k * k * c_in * c_out + (3 if biases else 2) * c_out

    def conv_bias(k, c_in, c_out):
        return k * k * c_in * c_out + c_out

    def double(c_in, c_out):
        return conv_norm(3, c_in, c_out) + conv_norm(3, c_out, c_out)

    def up(below, c, columns):
        if name == "unet":
            return conv_bias(2, below, c) + double(2 * c, c)
        if name == "unetpp":
            return sum(double(j * c + below, c) for j in range(1, columns))
        gate = 2 * conv_norm(1, c, c // 2) + conv_norm(1, c // 2, 1)
        return conv_norm(3, below, c) + gate + double(2 * c, c)

    c = [width * 2**i for i in range(5)]
    encoder = sum(double(*pair) for pair in zip([inputs, *c], c, strict=False))
    decoder = sum(up(c[i + 1], c[i], 5 - i) for i in range(4))
    return encoder + decoder + conv_bias(1, width, 1)


# Width, what we count, and a published count with the input channels it is for. The published
# forms have biases before the normalisation as well. Sources: U-Net and Attention U-Net from the
# table "Supported Models" of github.com/doantrongthai/MambaFloodLite, U-Net++ from
# description_evaluation.md of the Hugging Face model SCallahan/modern_lung_segmentation. The latter
# two are the counts of AttU_Net in github.com/LeeJunHyun/Image_Segmentation and of NestedUNet in
# github.com/4uiiurz1/pytorch-nested-unet.
COUNTS = {
    "unet": (64, 31_036_481, 31_043_521, 3),
    "unetpp": (32, 9_159_105, 9_162_753, 1),
    "attention_unet": (64, 34_869_609, 34_878_573, 3),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_default_has_the_published_number_of_parameters(name):
    width, ours, published, inputs = COUNTS[name]
    assert formula(name, width, inputs, biases=True) == published
    assert count(models.build(name)) == formula(name, width) == ours


@pytest.mark.parametrize("name", COUNTS)
def test_the_count_follows_the_width(name):
    assert count(models.build(name, width=6)) == formula(name, 6)


@pytest.mark.parametrize("train", [False, True])
def test_the_attention_gate_is_its_equation(train):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 6, 5), np.float32)
    g = rng.standard_normal((2, 4, 6, 3), np.float32)
    gate = AttentionGate(7)
    init = functools.partial(gate.init, train=False)
    variables = jax.tree.map(
        lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32),
        jax.eval_shape(init, jax.random.key(0), x, g),
    )
    found, _ = gate.apply(variables, x, g, train=train, mutable=["batch_stats"])

    def conv_norm(y, name):
        params = variables["params"][name]
        y = y @ params["conv"]["kernel"][0, 0]
        stats = variables["batch_stats"][name]["norm"]
        mean, var = stats["mean"], stats["var"]
        if train:
            mean, var = y.mean((0, 1, 2)), y.var((0, 1, 2))
        y = (y - mean) / np.sqrt(var + 1e-5)
        return y * params["norm"]["scale"] + params["norm"]["bias"]

    q = conv_norm(np.maximum(conv_norm(x, "w_x") + conv_norm(g, "w_g"), 0), "psi")
    np.testing.assert_allclose(found, x / (1 + np.exp(-q)), rtol=1e-4, atol=1e-5)


def test_deep_supervision_adds_three_heads_and_leaves_the_prediction_alone(quickly):
    image = np.random.default_rng(1).standard_normal((1, 16, 16, 1), np.float32)
    plain, deep = (models.build("unetpp", width=2, deep_supervision=d) for d in (False, True))
    assert (plain.mask_stages, deep.mask_stages) == ((), ("X0,1", "X0,2", "X0,3"))
    outputs = []
    for model in (plain, deep):
        variables = models.initialise(model, image.shape, 0)
        evaluate = functools.partial(model.apply, train=False)
        outputs.append(quickly(evaluate, variables, image)(variables, image))
    assert [len(out.mask_logits) for out in outputs] == [0, 3]
    np.testing.assert_allclose(outputs[0].logits, outputs[1].logits, rtol=1e-5, atol=1e-6)


def test_no_comparator_but_the_deep_one_has_supervised_stages():
    for name in COUNTS:
        model = models.build(name)
        assert (model.edge_stages, model.mask_stages) == ((), ())
