"""From a weight file of somebody else's network to the variables of one of ours."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from cosup_jax.interop import files, names

_LEAVES = {
    "params": {"kernel": "weight", "scale": "weight", "bias": "bias", "gamma": "gamma"},
    "batch_stats": {"mean": "running_mean", "var": "running_var"},
}
_COUNTER = ".num_batches_tracked"  # of PyTorch's norms with a momentum; needed by none
_SHOWN = 3


class ConversionError(ValueError):
    """Weights that do not fit the network; the message names the tensors."""


@dataclasses.dataclass(frozen=True)
class Converted:
    """A network's variables with weights from a file.

    Attributes:
      variables: `{"params": …, "batch_stats": …}` of float32 NumPy arrays.
      report: what was read, into what, and what keeps its initial values.
      kept: the modules some of which keep them.
    """

    variables: dict[str, Any]
    report: str
    kept: tuple[str, ...]


def load(path: str | Path, variables: Mapping[str, Any]) -> Converted:
    """Reads a weight file into a network's variables.

    Whole networks, those of this package included, fill all of it. Networks trained on ImageNet
    fill the backbone of Inf-Net and of the comparators, or ResNet-34 the encoder of CoSupNet, and
    the rest stays as it is. Kernels are turned from PyTorch's (out, in, height, width) to (height,
    width, in, out), and all is kept in float32. A bias that stands in the file before a norm, and
    here nowhere, is taken off the norm's mean, which is the same.

    Args:
      path: one of the `names.SOURCES`, see `files.read_tensors`.
      variables: `{"params": …, "batch_stats": …}` with the initial values.

    Raises:
      WeightsFileError: the file cannot be read safely.
      ConversionError: it holds no network that is known here, or another one than this; or a
        tensor is missing, is left over, or has another shape. The message names them.
    """
    tensors = {
        name: value
        for name, value in files.read_tensors(path).items()
        if not name.endswith(_COUNTER)
    }
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    source = _recognise(tensors, flat, path)
    wanted = _names_in_file(source, flat, path)
    filled = _fill(source, tensors, flat, wanted, path)
    kept = tuple(sorted({_top(leaf) for leaf in flat if leaf not in wanted}))
    report = f"{len(filled)} tensors of {source.name} from {path}; {source.note}"
    if kept:
        report += f". Initial values are kept by: {', '.join(kept)}"
    # A network without norms has an empty collection, which flattening drops.
    tree = {name: {} for name in variables} | traverse_util.unflatten_dict(flat | filled, sep="/")
    return Converted(tree, report, kept)


def _recognise(
    tensors: Mapping[str, np.ndarray], flat: Mapping[str, Any], path: str | Path
) -> names.Source:
    if any(name.startswith("params/") for name in tensors):
        return names.OWN
    fitting = [source for source in names.SOURCES if source.sign in tensors]
    parts = {"", *map(_top, flat)}
    for source in sorted(fitting, key=lambda source: source.scope not in parts):
        return source
    known = ", ".join(dict.fromkeys(source.name for source in names.SOURCES))
    raise ConversionError(
        f"{path}: its tensors ({_some(list(tensors))}) are of no network known here: {known}"
    )


def _names_in_file(
    source: names.Source, flat: Mapping[str, Any], path: str | Path
) -> dict[str, str | None]:
    """Returns, for each leaf the file must fill, its tensor's name, or None if it has none."""
    if source is names.OWN:
        return {leaf: leaf for leaf in flat}
    scope = f"{source.scope}/" if source.scope else ""
    wanted: dict[str, str | None] = {}
    for leaf in flat:
        collection, inside = leaf.split("/", 1)
        module, _, kind = inside.removeprefix(scope).rpartition("/")
        if inside.startswith(scope) and not re.fullmatch(f"({source.kept})(/.*)?", module):
            name = source.name_in_file(module)
            wanted[leaf] = f"{name}.{_LEAVES[collection][kind]}" if name else None
    if not any(wanted.values()):
        place = f"no {source.scope!r}" if source.scope else "no such modules"
        raise ConversionError(f"{path}: it is {source.name}, but this network has {place} to fill")
    return wanted


def _fill(
    source: names.Source,
    tensors: Mapping[str, np.ndarray],
    flat: Mapping[str, Any],
    wanted: Mapping[str, str | None],
    path: str | Path,
) -> dict[str, np.ndarray]:
    missing = [
        f"{leaf} ({name or 'no counterpart'})"
        for leaf, name in wanted.items()
        if name not in tensors
    ]
    idle = _idle_biases(tensors, wanted)
    used = {*wanted.values(), *idle.values()}
    surplus = [n for n in tensors if n not in used and not re.fullmatch(source.unused, n)]
    values = {
        leaf: np.ascontiguousarray(_turned(source, leaf, tensors[name]), np.float32)
        for leaf, name in wanted.items()
        if name and name in tensors
    }
    for leaf, bias in idle.items():
        if leaf in values and values[leaf].shape == tensors[bias].shape:
            values[leaf] = values[leaf] - tensors[bias].astype(np.float32)
    misshapen = [
        f"{leaf} ({wanted[leaf]}): there {value.shape}, here {flat[leaf].shape}"
        for leaf, value in values.items()
        if value.shape != flat[leaf].shape
    ]
    infinite = [leaf for leaf, value in values.items() if not np.isfinite(value).all()]
    problems = [
        f"{len(found)} {what}: {_some(found)}"
        for what, found in (
            ("missing in the file", missing),
            ("left over in the file", surplus),
            ("of another shape", misshapen),
            ("with numbers that are not finite", infinite),
        )
        if found
    ]
    if problems:
        raise ConversionError(
            f"{path}: it is {source.name}, and does not fit this network. Tensors "
            f"{'; '.join(problems)}"
        )
    return values


def _idle_biases(
    tensors: Mapping[str, np.ndarray], wanted: Mapping[str, str | None]
) -> dict[str, str]:
    """Returns, for the running mean of each norm, the bias before it that has no place here."""
    found = {}
    for leaf, name in wanted.items():
        if not leaf.endswith("/conv/kernel") or name is None:
            continue
        bias = f"{name.removesuffix('.weight')}.bias"
        if bias in tensors:
            module = leaf.removeprefix("params/").removesuffix("/conv/kernel")
            found[f"batch_stats/{module}/norm/mean"] = bias
    return found


def _turned(source: names.Source, leaf: str, tensor: np.ndarray) -> np.ndarray:
    """Puts a kernel's axes in the order of this package."""
    if tensor.ndim != 4 or source is names.OWN:
        return tensor
    module = leaf.removeprefix("params/").removesuffix("/kernel")
    if re.fullmatch(source.transposed, module):
        # PyTorch's is (in, out, height, width), and flax correlates where it convolves.
        return tensor.transpose(2, 3, 0, 1)[::-1, ::-1]
    return tensor.transpose(2, 3, 1, 0)


def _top(leaf: str) -> str:
    """Returns the module of the network a leaf belongs to (`params/edge/conv1/…` → `edge`)."""
    return leaf.split("/")[1]


def _some(found: list[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
