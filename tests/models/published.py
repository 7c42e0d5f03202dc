"""The comparators with a ResNet beside their authors' forms: sizes as published, plain forms.

For the tests, and for the table of benchmarks/networks.
"""

import dataclasses
import functools
from collections.abc import Mapping
from unittest import mock

import jax
import numpy as np

from cosup_jax import interop, models
from cosup_jax.interop.rules import NUMBERED_RESNET, Source, pair
from tests.models import torch_comparators as plain
from tests.models import torch_plain

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
      settings: of the network, where the form has more of something than the smallest one.
    """

    form: object
    published: int
    idle: int = 0
    gain: float = 1.0
    settings: Mapping[str, int] = dataclasses.field(default_factory=dict)


CASES = {
    "deeplabv3plus": Case(plain.deeplabv3plus, 42_500_160 + 15_535_104 + 1_303_905),
    "pspnet": Case(plain.pspnet, 23_631_808 + 4_198_400 + 18_875_905 + 2_360_065),
    "scrn": Case(plain.scrn, 25_226_498, gain=0.5, settings={"units": 2}),
    "f3net": Case(plain.f3net, 25_536_710, idle=3_328),
    "cenet": Case(plain.cenet, 29_003_093, idle=994),
    "danet": Case(plain.danet, 42_500_160 + 23_926_917),
    # Of those in the authors' file, 43.27 M, the ones that reach the logit.
    "cpfnet": Case(plain.cpfnet, 30_650_724, idle=512),
    "acfnet": Case(plain.acfnet, 108_959_939, idle=512),
}


# Of ACFNet there is no file with the paper's class centres, so its names are no public ones.
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


def outputs(name, size, settings, compiled, path, form=None):
    """Loads a plain form's tensors by their authors' names, and runs both on one image.

    Returns (ours, the plain form's) for every output, each (2, H, W, 1).
    """
    image = np.random.default_rng(1).random((2, *size, 1), np.float32)
    net = torch_plain.Plain(settings["width"], settings["blocks"], CASES[name].gain)
    colours = (image - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    with torch.no_grad():
        wanted = (form or CASES[name].form)(net, torch.from_numpy(colours).permute(0, 3, 1, 2))
    torch.save(net.state, path)
    model = models.build(name, **{**settings, **CASES[name].settings})
    variables = models.initialise(model, image.shape, 0)
    sources = (ACFNET,) if name == "acfnet" else interop.convert.names.SOURCES
    with mock.patch.object(interop.convert.names, "SOURCES", sources):
        found = interop.load(path, variables)
    assert "Initial values" not in found.report
    apply = functools.partial(model.apply, train=False)
    out = compiled(apply, found.variables, image)(found.variables, image)
    ours = jax.tree.leaves((out.logits, out.edge_logits, out.mask_logits))
    theirs = [b.permute(0, 2, 3, 1).numpy() for b in jax.tree.leaves(wanted)]
    return list(zip(map(np.asarray, ours), theirs, strict=True))
