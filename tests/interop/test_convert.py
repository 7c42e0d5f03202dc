"""Weights of PyTorch networks give the same numbers here; what does not fit is named."""

import functools

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from cosup_jax import interop, models
from cosup_jax.models import backbones
from cosup_jax.models.resunet import Stage
from tests.interop.torch_backbones import (
    VGG16,
    BasicBlock,
    ResNet,
    randomise,
    torch,
)
from tests.interop.torch_infnet import InfNet, imagenet_channels
from tests.models.conftest import quickly

__all__ = ["quickly"]  # a fixture

WIDTH, BLOCKS = 8, (2, 1, 1, 2)
UNUSED = ("vgg.conv4_2", "vgg.conv5_2")  # in a published Inf-Net with VGG-16
BACKBONES = ("res2net50", "resnet50", "vgg16")


def ours(backbone, **settings):
    blocks = () if backbone == "vgg16" else BLOCKS
    return models.build("infnet", backbone=backbone, width=WIDTH, blocks=blocks, **settings)


@functools.cache
def theirs(backbone):
    return randomise(InfNet(backbone, WIDTH, BLOCKS), seed=1)


@functools.cache
def fresh(model, shape=(64, 64, 1)):
    return models.initialise(model, shape, 0)


def saved(path, state):
    torch.save(state, path)
    return path


def leaves(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def without(state, prefix):
    """The part of a state dict under a prefix, with the prefix dropped."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@pytest.mark.parametrize("backbone", ["res2net50", "vgg16"])
def test_a_whole_infnet_gives_the_same_logits(backbone, quickly, tmp_path):
    model, module = ours(backbone), theirs(backbone)
    found = interop.load(saved(tmp_path / "a.pth", module.state_dict()), fresh(model))
    image = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
    apply = functools.partial(model.apply, train=False)
    out = quickly(apply, found.variables, image)(found.variables, image)
    with torch.no_grad():
        wanted = module(imagenet_channels(image))
    mine = jax.tree.leaves((out.logits, out.edge_logits, out.mask_logits))
    for a, b in zip(mine, jax.tree.leaves(wanted), strict=True):
        b = b.permute(0, 2, 3, 1).numpy()
        assert np.ptp(b) > 0.1
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
    assert "Initial values" not in found.report


def test_a_resnet50_gives_the_same_maps(quickly, tmp_path):
    """What stands behind it is the same with every backbone."""
    module = theirs("resnet50")
    found = interop.load(saved(tmp_path / "a.pth", module.state_dict()), fresh(ours("resnet50")))
    own = {name: tree["backbone"] for name, tree in found.variables.items()}
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    apply = functools.partial(backbones.ResNet(WIDTH, BLOCKS).apply, train=False)
    maps = quickly(apply, own, image)(own, image)
    with torch.no_grad():
        wanted = module.resnet(torch.from_numpy(image).permute(0, 3, 1, 2))
    maps = (backbones.max_pool_3(maps[0]), *maps[1:])
    for a, b in zip(maps, wanted, strict=True):
        b = b.permute(0, 2, 3, 1).numpy()
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_alone_fills_the_backbone_and_says_what_it_leaves(backbone, tmp_path):
    """The same numbers as in the whole network, which is compared above."""
    model, state = ours(backbone), theirs(backbone).state_dict()
    whole = interop.load(saved(tmp_path / "whole.pth", state), fresh(model)).variables
    if backbone == "vgg16":
        alone = VGG16(WIDTH)
        used = [v for k, v in state.items() if k.startswith("vgg") and not k.startswith(UNUSED)]
        with torch.no_grad():
            for parameter, value in zip(alone.features.parameters(), used, strict=True):
                parameter.copy_(value)
        part = alone.state_dict()
    else:
        part = without(state, "resnet.")
    found = interop.load(saved(tmp_path / "part.pth", part), fresh(model))
    for leaf, value in leaves(found.variables).items():
        in_backbone = leaf.split("/")[1] == "backbone"
        source = leaves(whole if in_backbone else fresh(model))[leaf]
        np.testing.assert_array_equal(value, source, err_msg=leaf)
    rest = "Initial values are kept by: edge, ppd, ra3, ra4, ra5, rfb3, rfb4, rfb5"
    assert found.report.endswith(rest)


def test_resnet34_is_the_encoder_below_its_stem(quickly, tmp_path):
    module = randomise(ResNet(BasicBlock, WIDTH, BLOCKS), seed=2)
    model = models.build("cosup", width=WIDTH, blocks=BLOCKS)
    start = fresh(model)
    found = interop.load(saved(tmp_path / "a.pth", module.state_dict()), start)
    encoder = {k: v["encoder"] for k, v in found.variables.items()}

    def stages(variables, x):
        for i, blocks in enumerate(BLOCKS):
            own = {k: v[f"stage{i + 2}"] for k, v in variables.items()}
            x = Stage(WIDTH << i, blocks, 2 if i else 1).apply(own, x, False)
        return x

    s1 = np.random.default_rng(0).standard_normal((1, 16, 16, WIDTH)).astype(np.float32)
    mine = quickly(stages, encoder, s1)(encoder, s1)
    with torch.no_grad():
        x = torch.from_numpy(s1).permute(0, 3, 1, 2)
        for layer in (module.layer1, module.layer2, module.layer3, module.layer4):
            x = layer(x)
    wanted = x.permute(0, 2, 3, 1).numpy()
    assert np.abs(mine - wanted).max() <= 1e-4 * np.abs(wanted).max()
    changed = {
        "/".join(leaf.split("/")[1:3])
        for leaf, value in leaves(found.variables).items()
        if not np.array_equal(value, leaves(start)[leaf])
    }
    assert changed == {f"encoder/stage{i}" for i in (2, 3, 4, 5)}
    assert "S1 (3×3, one channel) keeps its initial values" in found.report
    assert "kept by: afm, assm, bridge, decoder, encoder, esm" in found.report


PUBLISHED = {
    "Inf-Net with Res2Net-50": (lambda: InfNet("res2net50"), {"backbone": "res2net50"}),
    "Inf-Net with ResNet-50": (lambda: InfNet("resnet50"), {"backbone": "resnet50"}),
    "Inf-Net with VGG-16": (lambda: InfNet("vgg16"), {"backbone": "vgg16"}),
    "ResNet-34": (lambda: ResNet(BasicBlock), {"name": "cosup"}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_full_size_has_a_place_for_every_tensor(name, monkeypatch):
    make, settings = PUBLISHED[name]
    with torch.device("meta"):
        state = make().state_dict()
    zeros = {k: np.broadcast_to(np.float32(0), tuple(v.shape)) for k, v in state.items()}
    monkeypatch.setattr(interop.convert.files, "read_tensors", lambda path: zeros)
    model = models.build(**{"name": "infnet"} | settings)
    image = jax.ShapeDtypeStruct((1, 64, 64, 1), np.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    report = interop.load("x.pth", shapes).report
    count = int(report.partition(" ")[0])
    assert f"tensors of {name} from x.pth" in report
    unused = ("num_batches_tracked", "fc.weight", "fc.bias")
    left = [k for k in state if k.endswith(unused) or k.startswith(UNUSED)]
    left += [k for k in state if name == "ResNet-34" and k.startswith(("conv1", "bn1"))]
    assert count == len(state) - len({*left})


def test_what_does_not_fit_is_named(tmp_path):
    model, state = ours("vgg16"), theirs("vgg16").state_dict()
    first = "edge_conv1.conv.weight"
    path = tmp_path / "a.pth"

    def load(says, network=model, **changes):
        merged = state | {k.replace("__", "."): v for k, v in changes.items()}
        saved(path, {k: v for k, v in merged.items() if v is not None})
        with pytest.raises(interop.ConversionError, match=says):
            interop.load(path, fresh(network))

    saved(path, {"a": torch.zeros(1)})
    with pytest.raises(interop.ConversionError, match=r"\(a\) are of no network known"):
        interop.load(path, fresh(model))
    key = first.replace(".", "__")
    load(rf"1 missing in the file: params/edge/conv1/conv/kernel \({first}\)", **{key: None})
    load("1 left over in the file: head.weight", head__weight=torch.zeros(1))
    load(
        r"1 of another shape: params/edge/conv1/conv/kernel .*there \(1, 1, 3, 8\), here",
        **{key: torch.zeros(8, 3, 1, 1)},
    )
    nan = torch.full_like(state[first], torch.nan)
    load("1 with numbers that are not finite: params/edge/conv1/conv/kernel", **{key: nan})
    load("it is Inf-Net with VGG-16, and does not fit.* missing in", ours("resnet50"))
    load("it is Inf-Net with VGG-16, but this network has no", models.build("unet", width=4))
    without_edge = ours("vgg16", edge_attention=False)
    load(r"left over in the file: edge_conv1.*of another shape: .*ra5/conv1", without_edge)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_types_become_float32(dtype, tmp_path):
    model = ours("vgg16")
    state = {k: v.to(getattr(torch, dtype)) for k, v in theirs("vgg16").state_dict().items()}
    found = interop.load(saved(tmp_path / "a.pth", state), fresh(model)).variables
    kernel = found["params"]["edge"]["conv1"]["conv"]["kernel"]
    assert kernel.dtype == np.float32
    wanted = state["edge_conv1.conv.weight"].float().permute(2, 3, 1, 0).numpy()
    np.testing.assert_array_equal(kernel, wanted)


def test_weights_of_this_package_are_taken_as_they_are(tmp_path):
    model = models.build("cosup", width=4, blocks=(1, 1, 1, 1))
    wanted = models.initialise(model, (32, 32, 1), 7)
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(leaves(wanted), path)
    found = interop.load(path, fresh(model))
    jax.tree.map(np.testing.assert_array_equal, found.variables, wanted)
    with pytest.raises(interop.ConversionError, match="of this package, and does not fit"):
        interop.load(path, fresh(ours("vgg16")))
