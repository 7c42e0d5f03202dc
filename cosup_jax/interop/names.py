"""The published networks whose weights can be read, and how their modules are called there."""

from cosup_jax.interop.rules import (
    DEEP_RESNET,
    NUMBERED_RESNET,
    RES2NET,
    RESNET,
    Rules,
    Source,
    layer,
    pair,
    within,
)
from cosup_jax.interop.zoo_names import ZOO


def _basic(path: str, name: str) -> Rules:
    """The rules of one `BasicConv2d`, as Inf-Net's release calls its `ConvNorm`."""
    return pair(path, f"{name}.conv", f"{name}.bn")


_ENCODER = sum((layer(f"stage{i + 1}", f"layer{i}", 0) for i in (1, 2, 3, 4)), ())

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

# Of several that fit a file, the first is meant for whose scope the network has a place.
SOURCES = (
    *ZOO,
    Source(
        name="Inf-Net with Res2Net-50",
        sign="resnet.layer1.0.convs.0.weight",
        scope="",
        rules=(*_PARTS, *within(RES2NET, "backbone", "resnet")),
        unused=r"resnet\.fc\.(weight|bias)",
        note="the backbone's classifier is left out",
    ),
    Source(
        name="Inf-Net with ResNet-50",
        sign="resnet.layer1.0.conv3.weight",
        scope="",
        rules=(*_PARTS, *within(RESNET, "backbone", "resnet")),
        unused=r"resnet\.fc\.(weight|bias)",
        note="the backbone's classifier is left out",
    ),
    Source(
        name="Inf-Net with VGG-16",
        sign="vgg.conv1.conv1_1.weight",
        scope="",
        rules=(*_PARTS, *within(_VGG_OF_INFNET, "backbone", "vgg")),
        unused=r"vgg\.conv[45]_2\..*",
        note="the second, unused form of the backbone's last two blocks is left out",
    ),
    Source(
        name="Res2Net-50 v1b",
        sign="layer1.0.convs.0.weight",
        scope="backbone",
        rules=RES2NET,
        unused=r"fc\.(weight|bias)",
        note="the classifier is left out",
    ),
    *(
        Source(
            name=f"ResNet-50 or -101{stem}",
            sign=sign,
            scope="backbone",
            rules=rules,
            unused=r"fc\.(weight|bias)",
            note="the classifier is left out",
        )
        for stem, sign, rules in (
            (" with a deep stem", "conv1.6.weight", DEEP_RESNET),
            (" with a deep stem", "conv3.weight", NUMBERED_RESNET),
            ("", "layer1.0.conv3.weight", RESNET),
        )
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
        name="ResNet-34",
        sign="layer1.0.conv2.weight",
        scope="backbone",
        rules=RESNET,
        unused=r"fc\.(weight|bias)",
        note="the classifier is left out",
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
