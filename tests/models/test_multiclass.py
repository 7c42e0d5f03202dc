"""Networks for several classes: sizes, input, and each class as a network of its own."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from cosup_jax import models
from cosup_jax.data.preprocess import resize_image
from cosup_jax.models.imagenet import imagenet_channels
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import resize
from tests.training.tiny import TinyNet

rng = np.random.default_rng(0)
IMAGE = rng.random((2, 32, 32, 1), np.float32)


def count(name, channels):
    model = models.build(name)
    image = jax.ShapeDtypeStruct((1, 64, 64, channels), np.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def test_fcn8s_has_the_parameters_of_vgg16_its_dense_layers_and_its_scores():
    vgg = 138_357_544 - 123_642_856 - 64 * 9 * 3  # as published, less dense layers and input
    dense = 7 * 7 * 512 * 4096 + 4096 + 4096 * 4096 + 4096
    scores = 3 * (4096 + 512 + 256 + 3) + 9 * (16 + 16 + 256)
    assert count("fcn8s", 2) == vgg + 64 * 9 * 2 + dense + scores


def test_the_multi_class_unet_has_those_of_the_release_without_biases():
    def double(c_in, inner, c_out):
        return 9 * (c_in * inner + inner * c_out) + 2 * (inner + c_out)

    down = double(6, 64, 64) + double(64, 128, 128) + double(128, 256, 256)
    down += double(256, 512, 512) + double(512, 512, 512)
    up = double(1024, 512, 256) + double(512, 256, 128) + double(256, 128, 64)
    assert count("multiclass_unet", 2) == down + up + double(128, 64, 64) + 3 * 64 + 3


@pytest.mark.parametrize(
    ("name", "settings"), [("fcn8s", {"blocks": (1,) * 5}), ("multiclass_unet", {})]
)
def test_the_infection_map_guides(name, settings, quickly):
    model = models.build(name, width=4, **settings)
    guided = np.concatenate([IMAGE, IMAGE > 0.5], axis=-1)
    variables = models.initialise(model, (32, 32, 2), 0)
    run = quickly(functools.partial(model.apply, train=False), variables, guided)
    out = run(variables, guided)
    assert out.logits.shape == (2, 32, 32, 3)
    other = run(variables, np.concatenate([IMAGE, IMAGE > 0.9], axis=-1))
    assert np.abs(out.logits - other.logits).max() > 1e-4
    assert out.infection.shape == (2, 32, 32, 1)
    assert model.edge_stages == model.mask_stages == ()


class Seen(nn.Module):
    """A guide whose logits are what it sees, or a labeller whose logits are its first channels."""

    multiple = 1
    classes = 1
    edge_stages = mask_stages = ()

    def __call__(self, x, train):
        return SegOutput(x, (), ())


def test_the_guide_sees_a_smaller_slice_as_it_is_resized_for_training():
    """Averaged over the pixels that fall together, as Pillow does, not picked from them."""
    fine = rng.random((64, 48), np.float32)
    model = models.GuidedNet(guide=Seen(), labeller=Seen(), guide_size=(16, 24))
    both = model.apply({}, fine[None, ..., None], train=False).logits[0]
    np.testing.assert_array_equal(both[..., 0], fine)
    small = resize_image(fine, (16, 24))
    enlarged = resize(small[None, ..., None], (64, 48))[0, ..., 0]
    np.testing.assert_allclose(both[..., 1], nn.sigmoid(enlarged), atol=1e-5)
    picked = fine[2::4, 1::2]
    assert np.abs(small - picked).max() > 0.1


def test_the_six_channels_are_three_of_the_slice_and_three_of_the_map():
    both = np.concatenate([IMAGE, 1 - IMAGE], axis=-1)
    found = imagenet_channels(both)
    wanted = [imagenet_channels(both[..., i : i + 1]) for i in (0, 1)]
    np.testing.assert_allclose(found, np.concatenate(wanted, axis=-1), rtol=1e-6)


def test_fcn8s_is_drawn_as_by_glorot_and_bengio():
    model = models.build("fcn8s", width=8)
    params = models.initialise(model, (32, 32, 2), 0)["params"]
    kernel = params["block4_conv1"]["kernel"]  # 3×3, from 32 channels to 64
    bound = np.sqrt(6 / (9 * 32 + 9 * 64))
    assert np.abs(kernel).max() <= bound
    assert np.abs(kernel).max() > 0.99 * bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.02)
    assert not params["block4_conv1"]["bias"].any()


@pytest.mark.parametrize("fusion", ["attention", "concat"])
def test_each_class_of_cosup_is_a_network_of_one_class(fusion, quickly):
    """With the columns of the last projections that belong to it; edges have one class always."""
    settings = {"width": 4, "blocks": (1, 1, 1, 1), "fusion": fusion, "mask_levels": (5,)}
    model, single = (models.build("cosup", **settings, classes=n) for n in (3, 1))
    variables = models.initialise(model, (32, 32, 1), 0)
    bias = np.array([0.3, -0.2, 0.1], np.float32)
    last = {"attention": "afm", "none": "top"}.get(fusion, f"{fusion}_fusion")
    variables["params"][last]["predict"]["bias"] = bias

    def of_class(variables, c):
        params = {k: dict(v) for k, v in variables["params"].items()}
        for module, head in ((last, "predict"), ("assm", "stage5")):
            whole = params[module][head]
            params[module][head] = jax.tree.map(lambda leaf: leaf[..., c : c + 1], whole)
        return {**variables, "params": params}

    def run(variables, image):  # one program, in which the backbone is compiled once
        whole = model.apply(variables, image, train=False)
        return whole, [single.apply(of_class(variables, c), image, train=False) for c in range(3)]

    out, each = quickly(run, variables, IMAGE)(variables, IMAGE)
    assert out.logits.shape == out.mask_logits[0].shape == (2, 32, 32, 3)
    assert out.edge_logits[0].shape == (2, 32, 32, 1)
    for c, one in enumerate(each):
        np.testing.assert_allclose(one.logits[..., 0], out.logits[..., c], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            one.mask_logits[0][..., 0], out.mask_logits[0][..., c], rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(one.edge_logits[0], out.edge_logits[0], rtol=1e-4, atol=1e-4)


def test_no_class_is_refused():
    with pytest.raises(ValueError, match="classes is 0"):
        models.build("cosup", classes=0)


def test_a_guided_network_labels_what_its_guide_has_found(quickly):
    guide, labeller = TinyNet(), TinyNet(classes=3)  # which they are does not matter
    model = models.GuidedNet(guide=guide, labeller=labeller)
    variables = models.initialise(model, (32, 32, 1), 0)

    def evaluate(variables, x):
        of = {
            part: {name: tree[part] for name, tree in variables.items()}
            for part in ("guide", "labeller")
        }
        found = guide.apply(of["guide"], x, train=False)
        both = jax.numpy.concatenate([x, jax.nn.sigmoid(found.logits)], axis=-1)
        by_hand = labeller.apply(of["labeller"], both, train=False).logits
        return by_hand, model.apply(variables, x, train=False).logits

    def loss(params, image):
        out, new = model.apply(
            {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
        )
        return (out.logits**2).mean(), new["batch_stats"]

    wanted, found = quickly(evaluate, variables, IMAGE)(variables, IMAGE)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert (model.classes, model.initial) == (3, "")
    # In training the guide neither learns nor takes statistics; the labeller does both.
    gradient, stats = quickly(jax.grad(loss, has_aux=True), variables["params"], IMAGE)(
        variables["params"], IMAGE
    )
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["guide"]))
    assert all(gradient["labeller"][layer]["kernel"].any() for layer in ("first", "last"))
    before = variables["batch_stats"]
    jax.tree.map(np.testing.assert_array_equal, stats["guide"], before["guide"])
    changed = jax.tree.map(np.array_equal, stats["labeller"], before["labeller"])
    assert not any(jax.tree.leaves(changed))


def test_a_guide_sees_the_slice_at_its_own_size():
    model = models.build(
        "guided",
        guide={"name": "unet", "width": 4},
        labeller={"name": "multiclass_unet", "width": 4},
        guide_size=(16, 16),
    )
    image = jax.ShapeDtypeStruct((1, 64, 64, 1), np.float32)
    out = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x, train=False), image)
    assert out[0].logits.shape == (1, 64, 64, 3)
