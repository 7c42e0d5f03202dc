"""What a published network's names are made of: rules, and those of the ResNets.

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
      transposed: pattern of the modules in `scope` that are transposed convolutions.
    """

    name: str
    sign: str
    scope: str
    rules: Rules
    unused: str
    note: str
    kept: str = ""
    transposed: str = ""

    def name_in_file(self, module: str) -> str | None:
        """Returns the name in the file of a module here, or None if it has none."""
        for pattern, template in self.rules:
            if found := re.fullmatch(pattern, module):
                return found.expand(template)
        return None


def pair(path: str, conv: str, norm: str) -> Rules:
    """The rules of one `ConvNorm`."""
    return ((f"{path}/conv", conv), (f"{path}/norm", norm))


def within(rules: Rules, path: str, name: str) -> Rules:
    """The rules of a network that is a part of another one, here and in the file."""
    return tuple((f"{path}/{pattern}", f"{name}.{template}") for pattern, template in rules)


def layer(path: str, name: str, shortcut: int) -> Rules:
    """The rules of one resolution of a ResNet or Res2Net; `shortcut` counts what stands before."""
    block, inside = rf"{path}/block(\d+)", rf"{name}.\1"
    return (
        *pair(rf"{block}/conv(\d)", rf"{inside}.conv\2", rf"{inside}.bn\2"),
        *pair(rf"{block}/group(\d)", rf"{inside}.convs.\2", rf"{inside}.bns.\2"),
        *pair(
            f"{block}/shortcut",
            f"{inside}.downsample.{shortcut}",
            f"{inside}.downsample.{shortcut + 1}",
        ),
    )


def _layers(shortcut: int) -> Rules:
    return sum((layer(f"layer{i}", f"layer{i}", shortcut) for i in (1, 2, 3, 4)), ())


# Three convolutions as the stem, as timm and Res2Net name them, and as PSPNet's authors do.
_DEEP_STEM: Rules = (
    *pair("stem0", "conv1.0", "conv1.1"),
    *pair("stem1", "conv1.3", "conv1.4"),
    *pair("stem2", "conv1.6", "bn1"),
)
_NUMBERED_STEM: Rules = tuple(
    rule for i in (0, 1, 2) for rule in pair(f"stem{i}", f"conv{i + 1}", f"bn{i + 1}")
)
RES2NET: Rules = (*_DEEP_STEM, *_layers(shortcut=1))  # behind an average pooling
DEEP_RESNET: Rules = (*_DEEP_STEM, *_layers(shortcut=0))
NUMBERED_RESNET: Rules = (*_NUMBERED_STEM, *_layers(shortcut=0))
RESNET: Rules = (*pair("stem", "conv1", "bn1"), *_layers(shortcut=0))
