"""The comparators with a ResNet: their sizes as published, and the same numbers as plain forms."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from cosup_jax import interop, models
from cosup_jax.interop.rules import NUMBERED_RESNET, Source, pair
from cosup_jax.models.backbones import ResNet
from tests.models import torch_comparators as plain
from tests.models import torch_plain
from tests.models.test_conformance import NETWORKS, SIZES

torch = torch_plain.torch
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and its plain form.

    Attributes:
      form: of an image with three channels.
      published: parameters as counted in the authors' form, with one logit and three channels.
      idle: how many of them are biases before a norm, or reach no output, which are left out here.
      gain: see `torch_plain.Plain`.
    """

    form: object
    published: int
    idle: int = 0
    gain: float = 1.0


CASES = {
    "deeplabv3plus": Case(plain.deeplabv3plus, 42_500_160 + 15_535_104 + 1_303_905),
    "pspnet": Case(plain.pspnet, 23_631_808 + 4_198_400 + 18_875_905 + 2_360_065),
    "scrn": Case(plain.scrn, 25_226_498, gain=0.5),
    "f3net": Case(plain.f3net, 25_536_710, idle=3_328),
    "cenet": Case(plain.cenet, 29_003_093, idle=994),
    "danet": Case(plain.danet, 42_500_160 + 23_926_917),
    # Of those in the authors' file, 43.27 M, the ones that reach the logit.
    "cpfnet": Case(plain.cpfnet, 30_650_724, idle=512),
    "acfnet": Case(plain.acfnet, 108_959_939, idle=512),
}


ACFNET = Source(
    name="ACFNet",
    sign="dsn.0.weight",
    scope="",
    rules=(
        *((f"backbone/{ours}", theirs) for ours, theirs in NUMBERED_RESNET),
        *pair(r"aspp/branch(\d)", r"aspp.b\1.0", r"aspp.b\1.1"),
        *pair("aspp/pool", "aspp.b4.gap.1", "aspp.b4.gap.2"),
        *pair("auxiliary/conv", "auxlayer.conv5.0", "auxlayer.conv5.1"),
        ("auxiliary/predict", "auxlayer.conv5.4"),
        *pair("coarse_in", "dsn.0", "dsn.1"),
        *pair("coarse/conv", "dsn.4", "dsn.5"),
        ("coarse/predict", "dsn.8"),
        *pair("acf/conv", "acfhead.acf.conv1.0", "acfhead.acf.conv1.1"),
        ("acf/out", "acfhead.acf.conv2"),
        *pair("fine", "bottleneck.0", "bottleneck.1"),
        ("predict", "bottleneck.3"),
    ),
    unused="",
    note="",
)


def count(model, side):
    image = jax.ShapeDtypeStruct((1, side, side, 1), np.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


def left_out(blocks, few, basic=False):
    """Parameters of a backbone's blocks beyond a few of each layer; counted by hand."""
    planes = [64 << i for i in range(4)]
    sizes = [18 * p**2 + 4 * p if basic else 17 * p**2 + 12 * p for p in planes]
    return sum((n - m) * size for n, m, size in zip(blocks, few, sizes, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_default_has_the_published_number_of_parameters(name):
    """Counted with fewer blocks, which is quicker."""
    case, model, few = CASES[name], models.build(name), NETWORKS[name]["blocks"]
    more = left_out(model.blocks, few, model.backbone == "resnet34")
    found = count(models.build(name, blocks=few), SIZES.get(name, (64,))[0])
    assert found + more + case.idle == case.published


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"block": "basic"}, 21_284_672),
        ({}, 23_508_032),
        ({"deep": True}, 23_508_032 + 123_776),
        ({"blocks": (3, 4, 23, 3)}, 42_500_160),
    ],
)
def test_the_backbone_has_the_published_number_of_parameters(settings, wanted):
    few = (1, 1, 1, 1)
    model = ResNet(**settings)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(
        lambda x: dataclasses.replace(model, blocks=few).init(jax.random.key(0), x, False), image
    )
    found = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    assert found + left_out(model.blocks, few, model.block == "basic") == wanted


def check(name, form, quickly, path, **settings):
    """Loads a plain form's tensors by their authors' names, and compares all outputs."""
    height, width = SIZES.get(name, (32, 48))
    image = np.random.default_rng(1).random((2, height, width, 1), np.float32)
    settings = NETWORKS[name] | settings
    net = torch_plain.Plain(settings["width"], settings["blocks"], CASES[name].gain)
    colours = (image - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    with torch.no_grad():
        wanted = form(net, torch.from_numpy(colours).permute(0, 3, 1, 2))
    torch.save(net.state, path)
    model = models.build(name, **settings)
    found = interop.load(path, models.initialise(model, image.shape, 0))
    assert "Initial values" not in found.report
    apply = functools.partial(model.apply, train=False)
    out = quickly(apply, found.variables, image)(found.variables, image)
    ours = jax.tree.leaves((out.logits, out.edge_logits, out.mask_logits))
    for a, b in zip(ours, jax.tree.leaves(wanted), strict=True):
        b = b.permute(0, 2, 3, 1).numpy()
        assert np.ptp(b) > 1e-3
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@pytest.mark.parametrize("name", CASES)
def test_the_outputs_are_those_of_the_plain_form(name, quickly, tmp_path, monkeypatch):
    if name == "acfnet":  # of which there is no file with the paper's class centres
        monkeypatch.setattr(interop.convert.names, "SOURCES", (ACFNET,))
    check(name, CASES[name].form, quickly, tmp_path / "a.pth")


def test_deeplab_at_stride_8_with_classes(quickly, tmp_path):
    form = functools.partial(plain.deeplabv3plus, stride=8, classes=3)
    check("deeplabv3plus", form, quickly, tmp_path / "a.pth", output_stride=8, classes=3)


@pytest.mark.parametrize("name", CASES)
def test_settings_that_describe_no_network_are_refused(name):
    for settings in ({"backbone": "vgg16"}, {"width": 6}, {"blocks": (1, 1)}):
        (field,) = settings
        with pytest.raises(ValueError, match=f"{field} is"):
            models.build(name, **settings)


def test_an_unknown_output_stride_is_refused():
    with pytest.raises(ValueError, match="output_stride is 4, expected 8 or 16"):
        models.build("deeplabv3plus", output_stride=4)
