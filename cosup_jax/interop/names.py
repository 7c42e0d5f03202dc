"""How the modules of published networks are called here and in their files.

A rule is a pattern of a module's path here, from `Source.scope` on, and the module's name in the
file, with the pattern's groups in it. Only convolutions and norms have tensors; `ConvNorm` is one
of each.
"""

import dataclasses
import re

Rules = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """A published network whose weights can be read.

    Attributes:
      name: what to call it.
      sign: a tensor that only its files, and those of the sources listed before it, have.
      scope: the part of a network here that takes its weights; empty for the whole network.
      rules: where each module of that part is found in the file.
      unused: pattern of the tensors in the file that have no place here.
      kept: pattern of the modules in `scope` that the file does not fill.
      note: what `unused` and `kept` are.
    """

    name: str
    sign: str
    scope: str
    rules: Rules
    unused: str
    note: str
    kept: str = ""

    def name_in_file(self, module: str) -> str | None:
        """Returns the name in the file of a module here, or None if it has none."""
        for pattern, template in self.rules:
            if found := re.fullmatch(pattern, module):
                return found.expand(template)
        return None


def _pair(path: str, conv: str, norm: str) -> Rules:
    """The rules of one `ConvNorm`."""
    return ((f"{path}/conv", conv), (f"{path}/norm", norm))


def _basic(path: str, name: str) -> Rules:
    """The rules of one `BasicConv2d`, as Inf-Net's release calls its `ConvNorm`."""
    return _pair(path, f"{name}.conv", f"{name}.bn")


def _within(rules: Rules, path: str, name: str) -> Rules:
    """The rules of a network that is a part of another one, here and in the file."""
    return tuple((f"{path}/{pattern}", f"{name}.{template}") for pattern, template in rules)


def _layer(path: str, name: str, shortcut: int) -> Rules:
    """The rules of one resolution of a ResNet or Res2Net; `shortcut` counts what stands before."""
    block, inside = rf"{path}/block(\d+)", rf"{name}.\1"
    return (
        *_pair(rf"{block}/conv(\d)", rf"{inside}.conv\2", rf"{inside}.bn\2"),
        *_pair(rf"{block}/group(\d)", rf"{inside}.convs.\2", rf"{inside}.bns.\2"),
        *_pair(
            f"{block}/shortcut",
            f"{inside}.downsample.{shortcut}",
            f"{inside}.downsample.{shortcut + 1}",
        ),
    )


def _layers(shortcut: int) -> Rules:
    return sum((_layer(f"layer{i}", f"layer{i}", shortcut) for i in (1, 2, 3, 4)), ())


_RES2NET: Rules = (
    *_pair("stem0", "conv1.0", "conv1.1"),
    *_pair("stem1", "conv1.3", "conv1.4"),
    *_pair("stem2", "conv1.6", "bn1"),
    *_layers(shortcut=1),  # behind an average pooling
)
_RESNET: Rules = (*_pair("stem", "conv1", "bn1"), *_layers(shortcut=0))
_ENCODER = sum((_layer(f"stage{i + 1}", f"layer{i}", 0) for i in (1, 2, 3, 4)), ())

# Where torchvision's VGG-16 has its convolutions among ReLU and pooling.
_VGG_PLACES = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
_VGG: Rules = tuple(
    (f"block{i}_conv{j}", f"features.{place}")
    for i, places in _VGG_PLACES.items()
    for j, place in enumerate(places, 1)
)
# In Inf-Net's release the last two blocks exist twice, and the first of each is used.
_VGG_OF_INFNET: Rules = (
    (r"block([123])_conv(\d)", r"conv\1.conv\1_\2"),
    (r"block([45])_conv(\d)", r"conv\1_1.conv\1_\2_1"),
)

_PARTS: Rules = (
    *_basic(r"edge/conv(\d)", r"edge_conv\1"),
    *_basic("edge/predict", "edge_conv4"),
    *_basic("ppd/up5_to4", "ParDec.conv_upsample1"),
    *_basic("ppd/up5_to3", "ParDec.conv_upsample2"),
    *_basic("ppd/up4_to3", "ParDec.conv_upsample3"),
    *_basic("ppd/up5_join", "ParDec.conv_upsample4"),
    *_basic("ppd/up4_join", "ParDec.conv_upsample5"),
    *_basic("ppd/join4", "ParDec.conv_concat2"),
    *_basic("ppd/join3", "ParDec.conv_concat3"),
    *_basic("ppd/conv", "ParDec.conv4"),
    ("ppd/predict", "ParDec.conv5"),
)
for _level in (3, 4, 5):  # counted from 2 in the release
    _rfb, _ra = f"rfb{_level - 1}_1", f"ra{_level - 1}"
    _PARTS += (
        *_basic(f"rfb{_level}/branch0", f"{_rfb}.branch0.0"),
        *_basic(rf"rfb{_level}/branch(\d)_reduce", rf"{_rfb}.branch\1.0"),
        *_basic(rf"rfb{_level}/branch(\d)_row", rf"{_rfb}.branch\1.1"),
        *_basic(rf"rfb{_level}/branch(\d)_column", rf"{_rfb}.branch\1.2"),
        *_basic(rf"rfb{_level}/branch(\d)_dilated", rf"{_rfb}.branch\1.3"),
        *_basic(f"rfb{_level}/join", f"{_rfb}.conv_cat"),
        *_basic(f"rfb{_level}/shortcut", f"{_rfb}.conv_res"),
        *_basic(f"ra{_level}/reduce", f"{_ra}_conv1"),
        *(rule for i in (1, 2, 3) for rule in _basic(f"ra{_level}/conv{i}", f"{_ra}_conv{i + 1}")),
        *_basic(f"ra{_level}/predict", f"{_ra}_conv{5 if _level == 5 else 4}"),
    )

# The tensors are called as here, collection included: `params/encoder/stage1/conv/kernel`.
OWN = Source("a network of this package", "", "", (), "", "all tensors fit")

# Of several that fit a file, the first is meant.
SOURCES = (
    Source(
        name="Inf-Net with Res2Net-50",
        sign="resnet.layer1.0.convs.0.weight",
        scope="",
        rules=(*_PARTS, *_within(_RES2NET, "backbone", "resnet")),
        unused=r"resnet\.fc\.(weight|bias)",
        note="the backbone's classifier is left out",
    ),
    Source(
        name="Inf-Net with ResNet-50",
        sign="resnet.layer1.0.conv3.weight",
        scope="",
        rules=(*_PARTS, *_within(_RESNET, "backbone", "resnet")),
        unused=r"resnet\.fc\.(weight|bias)",
        note="the backbone's classifier is left out",
    ),
    Source(
        name="Inf-Net with VGG-16",
        sign="vgg.conv1.conv1_1.weight",
        scope="",
        rules=(*_PARTS, *_within(_VGG_OF_INFNET, "backbone", "vgg")),
        unused=r"vgg\.conv[45]_2\..*",
        note="the second, unused form of the backbone's last two blocks is left out",
    ),
    Source(
        name="Res2Net-50 v1b",
        sign="layer1.0.convs.0.weight",
        scope="backbone",
        rules=_RES2NET,
        unused=r"fc\.(weight|bias)",
        note="the classifier is left out",
    ),
    Source(
        name="ResNet-50",
        sign="layer1.0.conv3.weight",
        scope="backbone",
        rules=_RESNET,
        unused=r"fc\.(weight|bias)",
        note="the classifier is left out",
    ),
    Source(
        name="ResNet-34",
        sign="layer1.0.conv2.weight",
        scope="encoder",
        rules=_ENCODER,
        unused=r"(conv1|bn1|fc)\..*",
        kept="stage1",
        note=(
            "S2..S5 are its layers 1..4; its 7×7 stem for three channels and the classifier are "
            "left out, and S1 (3×3, one channel) keeps its initial values"
        ),
    ),
    Source(
        name="VGG-16",
        sign="features.0.weight",
        scope="backbone",
        rules=_VGG,
        unused=r"classifier\.\d\.(weight|bias)",
        note="the classifier is left out",
    ),
)
