"""The comparators with a ResNet: their sizes as published, and the same numbers as plain forms."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from cosup_jax import models
from cosup_jax.models.backbones import ResNet
from tests.models import published
from tests.models import torch_comparators as plain
from tests.models.published import CASES
from tests.models.test_conformance import NETWORKS, SIZES


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


def check(name, quickly, path, form=None, **settings):
    size = SIZES.get(name, (32, 48))
    for a, b in published.outputs(name, size, NETWORKS[name] | settings, quickly, path, form):
        assert np.ptp(b) > 1e-3
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@pytest.mark.parametrize("name", CASES)
def test_the_outputs_are_those_of_the_plain_form(name, quickly, tmp_path):
    check(name, quickly, tmp_path / "a.pth")


def test_deeplab_at_stride_8_with_classes(quickly, tmp_path):
    form = functools.partial(plain.deeplabv3plus, stride=8, classes=3)
    check("deeplabv3plus", quickly, tmp_path / "a.pth", form, output_stride=8, classes=3)


@pytest.mark.parametrize("name", CASES)
def test_settings_that_describe_no_network_are_refused(name):
    for settings in ({"backbone": "vgg16"}, {"width": 6}, {"blocks": (1, 1)}):
        (field,) = settings
        with pytest.raises(ValueError, match=f"{field} is"):
            models.build(name, **settings)


def test_an_unknown_output_stride_is_refused():
    with pytest.raises(ValueError, match="output_stride is 4, expected 8 or 16"):
        models.build("deeplabv3plus", output_stride=4)
