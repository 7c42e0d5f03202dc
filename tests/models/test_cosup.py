"""CoSupNet: parameter count, settings, names, size errors and the maps for the figures."""

import jax
import numpy as np
import pytest

from cosup_jax import models

TINY = {"width": 2, "blocks": (1, 1, 1, 1)}


def shapes(model, size=32):
    image = jax.ShapeDtypeStruct((1, size, size, 1), np.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def formula(width=64, blocks=(3, 4, 6, 3), heads=(1, 2, 3, 4, 5)):
    """Counts the parameters of ResUNet_CiF from its description."""

    def norm(c):
        return 2 * c

    def conv(k, c_in, c_out):
        return k * k * c_in * c_out

    def conv_norm(k, c_in, c_out):
        return conv(k, c_in, c_out) + norm(c_out)

    def conv_bias(k, c_in, c_out):
        return conv(k, c_in, c_out) + c_out

    s = [width, width, 2 * width, 4 * width, 8 * width]
    total = conv_norm(3, 1, s[0])
    for i in range(1, 5):
        total += conv_norm(3, s[i - 1], s[i]) + conv_norm(3, s[i], s[i])
        total += conv_norm(1, s[i - 1], s[i]) if s[i] != s[i - 1] else 0
        total += (blocks[i - 1] - 1) * 2 * conv_norm(3, s[i], s[i])
    total += 2 * conv_norm(3, s[4], s[4])  # bridge
    x = s
    for i in (3, 2, 1, 0):
        total += conv_bias(2, x[i + 1], x[i])
        total += conv_norm(3, x[i] + s[i], x[i]) + conv_norm(3, x[i], x[i])
    total += sum(conv_bias(1, s[i - 1], 1) for i in heads)
    total += sum(conv_bias(1, c, width) + conv_bias(3, width, 1) for c in x)
    return total + conv_bias(1, width, 1)


def test_the_paper_network_has_29_million_parameters():
    params = shapes(models.build("cosup"))["params"]
    assert count(params) == formula() == 29_206_411
    # ResNet-34 as published has 21,284,672 without its classifier, of which 9,536 are its stem.
    stages = [params["encoder"][f"stage{i}"] for i in (2, 3, 4, 5)]
    assert count(stages) == 21_284_672 - 9_536


def test_the_count_follows_width_and_blocks():
    model = models.build("cosup", width=6, blocks=(1, 2, 1, 3), mask_levels=())
    assert count(shapes(model)["params"]) == formula(6, (1, 2, 1, 3), (1, 2))


def test_the_parameter_tree_reads_like_the_paper():
    model = models.build("cosup", **TINY, decoder_edge_levels=(1,), decoder_mask_levels=(3,))
    params = shapes(model)["params"]
    leaves = jax.tree_util.tree_leaves_with_path(params)
    paths = {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves}
    assert paths >= {
        "encoder/stage1/conv/kernel",
        "encoder/stage3/block0/conv1/conv/kernel",
        "encoder/stage3/block0/conv1/norm/scale",
        "bridge/conv2/norm/bias",
        "decoder/level4/up/kernel",
        "esm/stage1/kernel",
        "assm/stage3/bias",
        "esm_decoder/level1/kernel",
        "assm_decoder/level3/kernel",
        "afm/level5/gate/kernel",
        "afm/predict/kernel",
    }


def test_stages_are_named_in_the_order_of_the_output():
    model = models.build(
        "cosup", **TINY, decoder_edge_levels=(1, 4), decoder_mask_levels=(5,), mask_levels=(2,)
    )
    assert model.edge_stages == ("S1", "S2", "X1", "X4")
    assert model.mask_stages == ("S2", "X5")
    out = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=False), shapes(model), np.zeros((1, 32, 32, 1), "f4")
    )
    assert len(out.edge_logits) == 4
    assert len(out.mask_logits) == 2


def test_lists_are_taken_as_tuples():
    as_lists = models.build("cosup", blocks=[1, 1, 1, 1], edge_levels=[1], mask_levels=[])
    assert isinstance(hash(as_lists), int)
    assert as_lists == models.build("cosup", blocks=(1,) * 4, edge_levels=(1,), mask_levels=())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"edge_levels": (0, 1)}, r"edge_levels is \(0, 1\)"),
        ({"mask_levels": (6,)}, "mask_levels"),
        ({"decoder_edge_levels": (2, 2)}, "decoder_edge_levels.*different stages"),
        ({"decoder_mask_levels": (7,)}, "decoder_mask_levels"),
        ({"fusion": "add"}, "'add', expected one of attention, sum, concat, none"),
        ({"blocks": (3, 4, 6)}, "four numbers"),
        ({"blocks": (3, 0, 6, 3)}, "four numbers"),
        ({"width": 0}, "width is 0"),
        ({"widht": 8}, "widht is no.*did you mean 'width'.*edge_levels"),
    ],
)
def test_a_setting_that_describes_no_network_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        models.build("cosup", **settings)


def test_an_unknown_network_lists_the_known_ones():
    assert "cosup" in models.available()
    with pytest.raises(ValueError, match="'cosupp'.*cosup"):
        models.build("cosupp")


def test_confidence_maps_belong_to_the_prediction():
    model = models.build("cosup", **TINY)
    variables = models.initialise(model, (32, 48, 1), 0)
    x = np.random.default_rng(0).standard_normal((2, 32, 48, 1), np.float32)
    run = jax.jit(lambda v, x: (models.confidence_maps(model, v, x), model.apply(v, x, False)))
    maps, out = run(variables, x)
    assert sorted(maps) == ["P1", "P2", "P3", "P4", "P5", "Y1"]
    assert all(value.shape == (2, 32, 48, 1) for value in maps.values())
    for i in range(1, 6):
        assert 0 <= float(maps[f"P{i}"].min()) <= float(maps[f"P{i}"].max()) <= 1
    # With every other gate shut (P_i = 0 for i ≥ 2) Eq. 3 leaves X_1 + Y_1 = Y_1 (1 + 1 / P_1).
    afm = dict(variables["params"]["afm"])
    for i in range(2, 6):
        afm[f"level{i}"] = {**afm[f"level{i}"], "gate": {**afm[f"level{i}"]["gate"]}}
        afm[f"level{i}"]["gate"]["bias"] = np.full(1, -200, np.float32)
    shut = {**variables, "params": {**variables["params"], "afm": afm}}
    maps, out = run(shut, x)
    np.testing.assert_allclose(out.logits, maps["Y1"] * (1 + 1 / maps["P1"]), rtol=1e-4, atol=1e-5)


def test_confidence_maps_need_attention():
    model = models.build("cosup", **TINY, fusion="sum")
    with pytest.raises(ValueError, match="'attention'.*'sum'"):
        models.confidence_maps(model, {}, np.zeros((1, 32, 32, 1)))
