"""How the modules of the comparators with a ResNet are called here and in their authors' files."""

from cosup_jax.interop.rules import DEEP_RESNET, RESNET, Rules, Source, layer, pair, within

_NO_CLASSIFIER = r"{}fc\.(weight|bias)"

_DEEPLAB: Rules = (
    *within(RESNET, "backbone", "backbone"),
    *pair("aspp/branch0", "aspp.aspp1.atrous_conv", "aspp.aspp1.bn"),
    *(
        rule
        for i in (1, 2, 3)
        for rule in pair(f"aspp/branch{i}", f"aspp.aspp{i + 1}.atrous_conv", f"aspp.aspp{i + 1}.bn")
    ),
    *pair("aspp/pool", "aspp.global_avg_pool.1", "aspp.global_avg_pool.2"),
    *pair("project", "aspp.conv1", "aspp.bn1"),
    *pair("low", "decoder.conv1", "decoder.bn1"),
    *pair("conv1", "decoder.last_conv.0", "decoder.last_conv.1"),
    *pair("conv2", "decoder.last_conv.4", "decoder.last_conv.5"),
    ("predict", "decoder.last_conv.8"),
)

# The stem and its norms are numbered among ReLU and pooling.
_PSPNET: Rules = (
    *(
        rule
        for i, place in enumerate((0, 3, 6))
        for rule in pair(f"backbone/stem{i}", f"layer0.{place}", f"layer0.{place + 1}")
    ),
    *((f"backbone/{ours}", theirs) for ours, theirs in RESNET if ours.startswith("layer")),
    *(
        rule
        for i, bins in enumerate((1, 2, 3, 6))
        for rule in pair(f"pyramid/bins{bins}", f"ppm.features.{i}.1", f"ppm.features.{i}.2")
    ),
    *pair("head/conv", "cls.0", "cls.1"),
    ("head/predict", "cls.4"),
    *pair("auxiliary/conv", "aux.0", "aux.1"),
    ("auxiliary/predict", "aux.4"),
)


def _scrn_convs(path: str, name: str, convs: int) -> Rules:
    """The rules of convolutions in a row, numbered from 0 in both."""
    inside = f"{name}.{{}}.conv_bn" if convs > 1 else f"{name}.conv_bn"
    return sum(
        (
            pair(f"{path}/conv{i}", f"{inside.format(i)}.0", f"{inside.format(i)}.1")
            for i in range(convs)
        ),
        (),
    )


# Which of the twelve resized maps of a unit goes where: from level, to level.
_RESIZED = ((2, 1), (3, 1), (4, 1), (3, 2), (4, 2), (4, 3))
_SCRN: Rules = within(RESNET, "backbone", "resnet")
for _which in "se":
    _out, _decoder = f"output_{_which}", f"decoder_{_which}"
    for _level in (1, 2, 3, 4):
        _name = f"reduce_{_which}{_level}"
        _SCRN += _scrn_convs(_name, f"{_name}.reduce", 3)
    for _number, _level in enumerate((3, 2, 1), 1):
        _cat = f"{_out}.conv_cat{_number}"
        _SCRN += _scrn_convs(f"{_decoder}/up{_level}", f"{_out}.conv_upsample{_number}", 1)
        _SCRN += pair(
            f"{_decoder}/wide{_level}/conv0", f"{_cat}.0.conv_bn.0", f"{_cat}.0.conv_bn.1"
        )
        _SCRN += pair(
            f"{_decoder}/narrow{_level}/conv0", f"{_cat}.1.conv_bn.0", f"{_cat}.1.conv_bn.1"
        )
    _SCRN += _scrn_convs(f"{_decoder}/last", f"{_out}.output.0", 1)
    _SCRN += ((f"{_decoder}/predict", f"{_out}.output.1"),)
for _unit in (1, 2, 3, 4):
    for _number, (_from, _to) in enumerate(_RESIZED, 1):
        for _which, _before in (("e", 0), ("s", 6)):
            _SCRN += _scrn_convs(
                f"unit{_unit}/{_which}{_from}_to{_to}",
                f"df{_unit}.conv{_before + _number}.conv",
                1,
            )
    for _level in (1, 2, 3, 4):
        _SCRN += _scrn_convs(f"unit{_unit}/s{_level}", f"df{_unit}.conv_f{_level}", 2)
        _SCRN += _scrn_convs(f"unit{_unit}/e{_level}", f"df{_unit}.conv_f{_level + 4}", 2)

_F3NET: Rules = (
    *within(RESNET, "backbone", "bkbone"),
    *pair(r"squeeze(\d)", r"squeeze\1.0", r"squeeze\1.1"),
    *pair(
        r"decoder(\d)/cfm(\d\d)/conv(\d[hv])",
        r"decoder\1.cfm\2.conv\3",
        r"decoder\1.cfm\2.bn\3",
    ),
    (r"predict_p(\d)", r"linearp\1"),
    (r"predict_x(\d)", r"linearr\1"),
)

_CENET: Rules = (
    *pair("backbone/stem", "firstconv", "firstbn"),
    *sum((layer(f"backbone/layer{i}", f"encoder{i}", 0) for i in (1, 2, 3, 4)), ()),
    *((f"dac/dilated{d}", f"dblock.dilate{i}") for i, d in enumerate((1, 3, 5), 1)),
    ("dac/one", "dblock.conv1x1"),
    ("rmp/one", "spp.conv"),
    *pair(r"decoder(\d)/conv(\d)", r"decoder\1.conv\2", r"decoder\1.norm\2"),
    *pair(r"decoder(\d)/up", r"decoder\1.deconv2", r"decoder\1.norm2"),
    ("last_up", "finaldeconv1"),
    ("last", "finalconv2"),
    ("predict", "finalconv3"),
)

_DANET: Rules = (
    *within((*RESNET, *DEEP_RESNET), "backbone", "pretrained"),
    *(
        rule
        for ours, theirs in (
            ("pam_in", "conv5a"),
            ("pam_out", "conv51"),
            ("cam_in", "conv5c"),
            ("cam_out", "conv52"),
        )
        for rule in pair(ours, f"head.{theirs}.0", f"head.{theirs}.1")
    ),
    (r"pam/(query|key|value)", r"head.sa.\1_conv"),
    ("pam", "head.sa"),
    ("cam", "head.sc"),
    ("predict_pam", "head.conv6.1"),
    ("predict_cam", "head.conv7.1"),
    ("predict_sum", "head.conv8.1"),
)

_CPFNET: Rules = (
    *within(RESNET, "backbone", "backbone"),
    ("sapf/conv", "sap.conv3x3"),
    ("sapf/norm", "sap.bn.0"),
    ("sapf/norm_dilated2", "sap.bn.1"),
    ("sapf/norm_dilated4", "sap.bn.2"),
    ("sapf/fuse/conv1", "sap.conv1x1.0"),
    ("sapf/fuse/conv2", "sap.conv3x3_1.0"),
    ("sapf/fuse/conv3", "sap.conv3x3_2.0"),
    ("sapf", "sap"),
    *pair("sapf_out", "sap.conv_last.conv", "sap.conv_last.bn"),
    *pair(r"gpg(\d)/conv(\d)", r"mce_\1.conv\2.0", r"mce_\1.conv\2.1"),
    *(
        rule
        for i in (1, 2, 3, 4)
        for part, conv, norm in (
            ("depthwise", "0.conv1", "0.bn"),
            ("pointwise", "0.pointwise", "1"),
        )
        for rule in pair(
            rf"gpg(\d)/{part}{i - 1}",
            rf"mce_\1.dilation{i}.{conv}",
            rf"mce_\1.dilation{i}.{norm}",
        )
    ),
    *pair(r"gpg(\d)/join", r"mce_\1.conv_out.0", r"mce_\1.conv_out.1"),
    *(
        rule
        for k in (1, 3)
        for rule in pair(
            rf"decoder(\d)/conv{k}", rf"decoder\1.conv_{k}x{k}.conv", rf"decoder\1.conv_{k}x{k}.bn"
        )
    ),
    *(
        rule
        for i, k in enumerate((1, 3))
        for name in (f"main_head.conv_1x1_3x3.{i}",)
        for rule in pair(f"head{k}", f"{name}.conv", f"{name}.bn")
    ),
    ("predict", "main_head.conv_1x1_2"),
)

ZOO = (
    Source(
        name="DeepLabV3+",
        sign="aspp.aspp1.atrous_conv.weight",
        scope="",
        rules=_DEEPLAB,
        unused=_NO_CLASSIFIER.format(r"backbone\."),
        note="all tensors fit",
    ),
    Source(
        name="PSPNet",
        sign="ppm.features.0.1.weight",
        scope="",
        rules=_PSPNET,
        unused="",
        note="all tensors fit",
    ),
    Source(
        name="SCRN",
        sign="reduce_s1.reduce.0.conv_bn.0.weight",
        scope="",
        rules=_SCRN,
        unused=_NO_CLASSIFIER.format(r"resnet\."),
        note="all tensors fit",
    ),
    Source(
        name="F3Net",
        sign="bkbone.conv1.weight",
        scope="",
        rules=_F3NET,
        unused=_NO_CLASSIFIER.format(r"bkbone\."),
        note="all tensors fit",
    ),
    Source(
        name="CE-Net",
        sign="dblock.dilate1.weight",
        scope="",
        rules=_CENET,
        unused="",
        note="all tensors fit",
        transposed=r"decoder\d/up/conv|last_up",
    ),
    Source(
        name="DANet",
        sign="head.sa.gamma",
        scope="",
        rules=_DANET,
        unused=_NO_CLASSIFIER.format(r"pretrained\."),
        note="the backbone's classifier is left out",
    ),
    Source(
        name="CPFNet",
        sign="sap.gamma",
        scope="",
        rules=_CPFNET,
        unused=r"backbone\.fc\..*|decoder\d\.sap\..*|decoder5\.conv_3x3\..*"
        r"|sap\.conv(1x1|3x3_1|3x3_2)\.1\..*",
        note="what never reaches the output is left out",
    ),
)
