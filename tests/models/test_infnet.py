"""Inf-Net: parameter counts, sizes, Table IV's rows, the two forms of Eq. 2, input and settings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import models
from cosup_jax.models import infnet
from cosup_jax.models.infnet_parts import PartialDecoder, ReverseAttention
from cosup_jax.models.res2net import Res2NetBlock

TINY = {"width": 4, "backbone": "vgg16", "blocks": (1, 1, 1, 1, 1)}
ROWS = {
    "backbone": (False, False, False),
    "ppd": (True, False, False),
    "ra": (False, True, False),
    "ppd+ra": (True, True, False),
    "ppd+ra+ea": (True, True, True),
}


def shapes(model, shape=(1, 64, 64, 1)):
    """Shapes of the variables and of the output of a module called with an image and `train`."""
    image = jax.ShapeDtypeStruct(shape, np.float32)
    return jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), image
    )[::-1]


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def conv_norm(c_in, c_out, *kernel):
    """Parameters of a convolution without bias and its norm."""
    return int(np.prod(kernel)) * c_in * c_out + 2 * c_out


def res2net_count():
    total = conv_norm(3, 32, 9) + conv_norm(32, 32, 9) + conv_norm(32, 64, 9)
    c_in = 64
    for planes, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        width = planes * 26 // 64
        total += conv_norm(c_in, 4 * planes, 1)  # shortcut
        for _ in range(blocks):
            total += conv_norm(c_in, 4 * width, 1) + 3 * conv_norm(width, width, 9)
            total += conv_norm(4 * width, 4 * planes, 1)
            c_in = 4 * planes
    return total


def heads_count(f2=256, f3=512, f4=1024, f5=2048):
    edge = conv_norm(f2, 64, 1) + 2 * conv_norm(64, 64, 9) + conv_norm(64, 1, 9)
    branches = sum(2 * conv_norm(32, 32, k) + conv_norm(32, 32, 9) for k in (3, 5, 7))
    fields = 3 * (branches + conv_norm(128, 32, 9))
    fields += sum(5 * conv_norm(f, 32, 1) for f in (f3, f4, f5))
    decoder = 4 * conv_norm(32, 32, 9) + 2 * conv_norm(64, 64, 9) + 2 * conv_norm(96, 96, 9) + 97
    reverse = conv_norm(f5, 256, 1) + conv_norm(320, 256, 25) + 2 * conv_norm(256, 256, 25)
    reverse += conv_norm(256, 1, 1)
    for f in (f4, f3):
        reverse += conv_norm(f, 64, 1) + conv_norm(128, 64, 9) + conv_norm(64, 64, 9)
        reverse += conv_norm(64, 1, 9)
    return edge + fields + decoder + reverse


# As published, less the classifiers of 1,000 classes (of VGG-16, its three dense layers).
KNOWN = {
    "res2net50": 23_669_352,
    "resnet50": 25_557_032 - 2_049_000,
    "vgg16": 138_357_544 - 123_642_856,
}


@pytest.mark.parametrize("backbone", KNOWN)
def test_the_counts_are_the_published_ones(backbone):
    params = shapes(models.build("infnet", backbone=backbone), (1, 352, 352, 1))[0]["params"]
    assert count(params["backbone"]) == KNOWN[backbone]
    heads = heads_count(128, 256, 512, 512) if backbone == "vgg16" else heads_count()
    assert count(params) == KNOWN[backbone] + heads
    if backbone == "res2net50":
        assert res2net_count() == KNOWN[backbone]
        assert count(params) == 31_072_721


@pytest.mark.parametrize(
    ("backbone", "channels", "strides"),
    [
        ("res2net50", (64, 256, 512, 1024, 2048), (2, 4, 8, 16, 32)),
        ("resnet50", (64, 256, 512, 1024, 2048), (2, 4, 8, 16, 32)),
        ("vgg16", (64, 128, 256, 512, 512), (1, 2, 4, 8, 16)),
    ],
)
def test_a_backbone_has_five_maps(backbone, channels, strides):
    module, blocks = infnet.BACKBONES[backbone]
    maps = shapes(module(64, blocks), (2, 96, 160, 3))[1]
    assert [m.shape for m in maps] == [
        (2, 96 // s, 160 // s, c) for c, s in zip(channels, strides, strict=True)
    ]


@pytest.mark.parametrize("row", ROWS)
def test_the_rows_of_table_4(row):
    decoder, reverse, edge = ROWS[row]
    model = models.build(
        "infnet",
        **TINY,
        partial_decoder=decoder,
        reverse_attention=reverse,
        edge_attention=edge,
    )
    variables, out = shapes(model)
    modules = {"backbone"} | ({"ppd", "rfb3", "rfb4", "rfb5"} if decoder else {"global"})
    modules |= {"ra3", "ra4", "ra5"} if reverse else set()
    assert variables["params"].keys() == modules | ({"edge"} if edge else set())
    assert model.mask_stages == (("Sg", "S5", "S4") if reverse else ())
    assert model.edge_stages == (("Se",) if edge else ())
    assert len(out.mask_logits) == len(model.mask_stages)
    assert len(out.edge_logits) == len(model.edge_stages)
    assert all(leaf.shape == (1, 64, 64, 1) for leaf in jax.tree.leaves(out))


def conv(x, kernel, stride=1):
    """Convolves (H, W, C) with (k, k, C, N), padded by k // 2, tap by tap."""
    k = len(kernel)
    padded = np.pad(x, [(k // 2,) * 2] * 2 + [(0, 0)])
    height, width = (-(-n // stride) for n in x.shape[:2])
    rows, columns = stride * (height - 1) + 1, stride * (width - 1) + 1
    return sum(
        padded[i : i + rows : stride, j : j + columns : stride] @ kernel[i, j]
        for i in range(k)
        for j in range(k)
    )


@pytest.mark.parametrize(("stride", "first"), [(1, True), (2, True), (1, False)])
def test_a_res2net_block_is_its_plain_form(stride, first):
    """Four groups by hand; averages are convolutions with equal taps, zeros outside counted."""
    block = Res2NetBlock(planes=8, stride=stride, first=first)
    x = np.random.default_rng(0).standard_normal((6, 8, 5 if first else 32)).astype(np.float32)
    variables = models.initialise(block, x.shape, 0)

    def layer(x, name, stride=1, relu=True):
        # In evaluation a fresh norm only divides by the square root of 1 + ε.
        y = conv(x, variables["params"][name]["conv"]["kernel"], stride) / np.sqrt(1 + 1e-5)
        return np.maximum(y, 0) if relu else y

    groups = np.split(layer(x, "conv1"), 4, axis=-1)
    done = [layer(groups[0], "group0", stride)]
    for i in (1, 2):
        done.append(layer(groups[i] + (0 if first else done[-1]), f"group{i}", stride))
    average = np.full((3, 3, 1, 1), 1 / 9) * np.eye(3)
    done.append(conv(groups[3], average, stride) if first else groups[3])
    shortcut = x
    if first:
        means = x.reshape(6 // stride, stride, 8 // stride, stride, 5).mean((1, 3))
        shortcut = layer(means, "shortcut", relu=False)
    wanted = np.maximum(layer(np.concatenate(done, -1), "conv3", relu=False) + shortcut, 0)
    found = jax.jit(functools.partial(block.apply, train=False))(variables, x[None])
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-5)


def aligned(x):
    """Doubles (H, W, C), linear between samples whose outermost ones stay outermost."""
    for axis in (0, 1):
        n = x.shape[axis]
        x = np.apply_along_axis(
            lambda line, n=n: np.interp(np.linspace(0, n - 1, 2 * n), np.arange(n), line), axis, x
        )
    return x


def test_the_partial_decoder_is_its_plain_form():
    rng = np.random.default_rng(1)
    x3, x4, x5 = (rng.standard_normal((n, 2 * n, 4)).astype(np.float32) for n in (8, 4, 2))
    module = PartialDecoder()
    inputs = [x[None] for x in (x3, x4, x5)]
    shape = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, False))
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shape["params"])
    stats = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32) + 1, shape["batch_stats"])

    def layer(x, name):
        norm, moments = params[name]["norm"], stats[name]["norm"]
        y = conv(x, params[name]["conv"]["kernel"]) - moments["mean"]
        return y / np.sqrt(moments["var"] + 1e-5) * norm["scale"] + norm["bias"]

    y4 = layer(aligned(x5), "up5_to4") * x4
    y3 = layer(aligned(aligned(x5)), "up5_to3") * layer(aligned(x4), "up4_to3") * x3
    y4 = layer(np.concatenate([y4, layer(aligned(x5), "up5_join")], -1), "join4")
    y3 = layer(np.concatenate([y3, layer(aligned(y4), "up4_join")], -1), "join3")
    wanted = layer(y3, "conv") @ params["predict"]["kernel"][0, 0] + params["predict"]["bias"]
    run = jax.jit(functools.partial(module.apply, train=False))
    found = run({"params": params, "batch_stats": stats}, *inputs)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.fixture(scope="module")
def reverse():
    """Runs a reverse attention in one of its two forms on a feature and a deeper map."""
    rng = np.random.default_rng(2)
    f, e_att = (rng.standard_normal((1, n, n, 5)).astype(np.float32) for n in (4, 16))

    @functools.partial(jax.jit, static_argnums=0)
    def run(printed, f, deeper, variables):
        module = ReverseAttention(3, reverse_after_concat=printed)
        return module.apply(variables, f, deeper, e_att, False)

    module = ReverseAttention(3)
    deeper = np.zeros((1, 2, 2, 1), np.float32)
    shape = jax.eval_shape(lambda: module.init(jax.random.key(0), f, deeper, e_att, False))
    variables = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32) ** 2, shape)

    def call(printed, logit, scale=1.0):
        return np.asarray(run(printed, scale * f, deeper + np.float32(logit), variables)) - logit

    return call


def test_where_nothing_is_found_yet_both_forms_of_equation_2_agree(reverse):
    np.testing.assert_allclose(reverse(False, -50), reverse(True, -50), rtol=1e-4, atol=1e-4)
    assert np.abs(reverse(False, 0) - reverse(True, 0)).max() > 1e-2


def test_what_is_found_already_is_erased(reverse):
    """With A_i = 0 the features say nothing; the edges do, if they are joined after A_i."""
    corrected, printed = reverse(False, 50), reverse(True, 50)
    np.testing.assert_allclose(corrected, reverse(False, 50, scale=-3), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(printed, reverse(True, 50, scale=-3), rtol=1e-4, atol=1e-4)
    assert np.ptp(corrected) > 1e-2
    assert np.ptp(printed) < 1e-4
    assert np.abs(reverse(False, -50) - reverse(False, -50, scale=-3)).max() > 1e-2


def test_grey_becomes_three_channels_normalised_as_those_of_imagenet():
    """A first layer that picks one channel sees what the backbone is given."""
    model = models.build(
        "infnet", **TINY, partial_decoder=False, reverse_attention=False, edge_attention=False
    )
    variables = models.initialise(model, (32, 32, 1), 0)
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    kernel[1, 1, (0, 1, 2), (0, 1, 2)] = 1
    variables["params"]["backbone"]["block1_conv1"]["kernel"] = kernel
    _, state = jax.jit(
        lambda v, x: model.apply(v, x, train=False, capture_intermediates=True, mutable=True)
    )(variables, jnp.full((1, 32, 32, 1), 0.75))
    seen = state["intermediates"]["backbone"]["block1_conv1"]["__call__"][0][0, 8, 8, :3]
    wanted = [(0.75 - 0.485) / 0.229, (0.75 - 0.456) / 0.224, (0.75 - 0.406) / 0.225]
    np.testing.assert_allclose(seen, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet34"}, "'resnet34', expected one of res2net50, resnet50, vgg16"),
        ({"width": 2}, "width is 2"),
        ({"width": 5}, "width is 5"),
        ({"blocks": (3, 4, 6)}, r"blocks is \(3, 4, 6\), expected 4 .* \(3, 4, 6, 3\)"),
        ({"backbone": "vgg16", "blocks": (1, 1, 1, 1)}, "expected 5 numbers"),
        ({"blocks": (3, 0, 6, 3)}, "at least 1"),
    ],
)
def test_a_setting_that_describes_no_network_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        models.build("infnet", **settings)


def test_published_blocks_need_not_be_named():
    assert models.build("infnet") == models.build("infnet", blocks=[3, 4, 6, 3])
    assert isinstance(hash(models.build("infnet", blocks=[1, 1, 1, 1])), int)
