"""Reads a compiled program (XLA's HLO text): its kernels, what each moves and computes.

What is counted, for each kernel that the program starts, as often as it starts it:

- bytes: its operands and results once each, as if no cache kept anything from kernel to kernel. Of
  an operand of which a fusion takes only slices, the slices; of a result that is written in place,
  what is written;
- FLOPs: those of convolutions and matrix products, a product and a sum as two, without those of a
  padding's zeros. A gradient of a convolution has as many as the convolution itself.

A loop whose count the program does not know is counted once, and `unknown_loops` says so.
"""

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from hlo_text import Computation, Instruction, parse

FORWARD, BY_INPUT, BY_FILTER = "convolution", "gradient by input", "gradient by filter"
PRODUCT = "matrix product"

_CALLED = re.compile(r"(?:calls|to_apply|body)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"(?:branch_computations=\{|(?:true|false)_computation=)([^}\s]+)")
_TARGET = re.compile(r'custom_call_target="([^"]+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LABELS = re.compile(r"dim_labels=((\w+)_(\w+)->(\w+))")
_CONTRACTED = re.compile(r'lhs_contracting_dim(?:ension)?s"?[=:][\[{]"?(\d+)')
# They start nothing on a device.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "copy-done"),
    *("partition-id", "replica-id", "opt-barrier"),
}
_SLICES = {"slice", "dynamic-slice", "gather"}
_CUDNN = {
    "__cudnn$convForward": FORWARD,
    "__cudnn$convBiasActivationForward": FORWARD,
    "__cudnn$convBackwardInput": BY_INPUT,
    "__cudnn$convBackwardFilter": BY_FILTER,
}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """Something the program starts on its device.

    Attributes:
      name: of the instruction.
      kind: a convolution or one of its gradients, a matrix product, `reduction`, `maximum pool` and
        its gradient, `change of layout`, `elementwise`, or the opcode.
      times: how often it is started.
      bytes: what it reads and writes, once.
      flops: of convolutions and matrix products, once.
      dtype: of what it multiplies, or of its first result.
      layout: a convolution's, as XLA writes it, such as `b01f_o01i->b01f`; else empty.
      twin: a text that is equal for two convolutions of the same operands; else empty.
    """

    name: str
    kind: str
    times: int
    bytes: int
    flops: int
    dtype: str
    layout: str = ""
    twin: str = ""


@dataclasses.dataclass(frozen=True)
class Program:
    """All kernels in the order in which they are started."""

    kernels: tuple[Kernel, ...]
    unknown_loops: int

    @property
    def flops(self) -> int:
        """Of convolutions and matrix products."""
        return sum(kernel.flops * kernel.times for kernel in self.kernels)

    @property
    def bytes(self) -> int:
        """What all kernels read and write."""
        return sum(kernel.bytes * kernel.times for kernel in self.kernels)

    def repeated(self) -> int:
        """Returns how many convolutions compute what another one has computed."""
        twins = Counter(kernel.twin for kernel in self.kernels if kernel.twin)
        return sum(twins.values()) - len(twins)

    def least_seconds(self, bandwidth: float, peaks: Mapping[str, float]) -> float:
        """Returns the sum over kernels of the least time that bytes or FLOPs take.

        Args:
          bandwidth: bytes a second.
          peaks: FLOPs a second by type, such as `f32`.
        """
        return sum(
            k.times * max(k.bytes / bandwidth, k.flops / peaks[k.dtype] if k.flops else 0.0)
            for k in self.kernels
        )


def read(text: str) -> Program:
    """Reads a scheduled program, of a CPU or a GPU."""
    parts, entry = parse(text)
    unknown: list[str] = []
    kernels = tuple(_kernels(parts, entry, 1, unknown))
    return Program(kernels, len(unknown))


def _kernels(
    parts: Mapping[str, Computation], name: str, times: int, unknown: list[str]
) -> Iterator[Kernel]:
    here = parts[name]
    for one in here.values():
        if one.opcode in ("while", "call", "conditional", "async-start"):
            trips = _TRIPS.search(one.rest)
            if one.opcode == "while" and not trips:
                unknown.append(one.name)
            called = _CALLED.findall(one.rest)
            for names in _BRANCHES.findall(one.rest):
                called += re.findall(r"[\w.\-]+", names)
            for inner in called:
                yield from _kernels(parts, inner, times * int(trips[1] if trips else 1), unknown)
        elif one.opcode not in _FREE and not one.opcode.endswith("-done"):
            yield _kernel(one, here, parts, times)


class _Work(NamedTuple):
    """A convolution or a product, which may stand in a fusion."""

    kind: str
    flops: int
    dtype: str
    layout: str


def _kernel(
    one: Instruction, here: Computation, parts: Mapping[str, Computation], times: int
) -> Kernel:
    called = _CALLED.search(one.rest)
    inside = parts[called[1]] if called and one.opcode == "fusion" else {}
    operands = [here[name] for name in one.operands]
    moved = _moved(one, operands, inside)
    work = _work(one, here) or next(filter(None, (_work(i, inside) for i in inside.values())), None)
    if work is None:
        dtype = one.results[0].dtype if one.results else ""
        return Kernel(one.name, _kind(one, inside), times, moved, 0, dtype)
    twin = " ".join([work.kind, *one.operands, one.rest.split(", metadata=")[0]])
    twin = "" if work.kind == PRODUCT else twin
    return Kernel(one.name, work.kind, times, moved, work.flops, work.dtype, work.layout, twin)


def _kind(one: Instruction, inside: Computation) -> str:
    opcodes = {i.opcode for i in inside.values()} or {one.opcode}
    for opcode, kind in (
        ("select-and-scatter", "gradient of a maximum pool"),
        ("scatter", "scatter"),
        ("reduce-window", "maximum pool"),
        ("sort", "sort"),
        ("reduce", "reduction"),
        ("transpose", "change of layout"),
    ):
        if opcode in opcodes:
            return kind
    if opcodes <= {"copy", "parameter", "bitcast", "copy-start"}:
        return "change of layout"
    return "elementwise" if inside else one.opcode


def _moved(one: Instruction, operands: Sequence[Instruction], inside: Computation) -> int:
    """Returns the bytes an instruction reads and writes."""
    if not inside:
        return sum(operand.bytes for operand in operands) + one.bytes
    read = 0
    for parameter in (i for i in inside.values() if i.opcode == "parameter"):
        used = [i for i in inside.values() if parameter.name in i.operands]
        if used and all(i.opcode in _SLICES and i.operands[0] == parameter.name for i in used):
            read += sum(i.bytes for i in used)
        elif not used or not all(_is_written_in(i, parameter) for i in used):
            read += parameter.bytes
    written = [inside[i.operands[1]] for i in inside.values() if i.opcode == "dynamic-update-slice"]
    return read + (sum(i.bytes for i in written) if written else one.bytes)


def _is_written_in(user: Instruction, parameter: Instruction) -> bool:
    return user.opcode == "dynamic-update-slice" and user.operands[0] == parameter.name


def _work(one: Instruction, here: Computation) -> _Work | None:
    """Returns what an instruction multiplies, or None."""
    target = _TARGET.search(one.rest)
    kind = _CUDNN.get(target[1], "") if target else ""
    operands = [here[name] for name in one.operands if name in here]
    dtype = operands[0].results[0].dtype if operands and operands[0].results else ""
    if kind or one.opcode == "convolution":
        labels = _LABELS.search(one.rest)
        if not labels:
            raise ValueError(f"{one.name} does not say what its axes are")
        kind = kind or FORWARD
        flops = _convolution(kind, one, operands, labels.groups()[1:])
        return _Work(kind, flops, dtype, labels[1])
    if one.opcode == "dot" or (target and "cublas" in target[1]):
        return _Work(PRODUCT, _product(one, operands), dtype, "")
    return None


def _product(one: Instruction, operands: Sequence[Instruction]) -> int:
    contracted = _CONTRACTED.search(one.rest)
    if not contracted:
        raise ValueError(f"{one.name} does not say over which axis it sums")
    return 2 * math.prod(one.results[0].shape) * operands[0].results[0].shape[int(contracted[1])]


def _convolution(
    kind: str, one: Instruction, operands: Sequence[Instruction], labels: Sequence[str]
) -> int:
    """Returns the FLOPs of a convolution or of one of its gradients, padding left out."""
    first, second, result = (i.results[0].shape for i in (*operands[:2], one))
    roles = {
        FORWARD: (first, second, result),
        BY_INPUT: (result, second, first),
        BY_FILTER: (first, result, second),
    }[kind]
    axes = (dict(zip(*pair, strict=True)) for pair in zip(labels, roles, strict=True))
    source, kernel, output = axes
    spatial = sorted(axis for axis in kernel if axis.isdigit())
    pairs = math.prod(
        _pairs(source[axis], kernel[axis], output[axis], *window)
        for axis, window in zip(spatial, _window(one.rest, len(spatial)), strict=True)
    )
    return 2 * output["b"] * output["f"] * kernel["i"] * pairs


def _window(rest: str, rank: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields stride, padding before, and the dilations of input and kernel, of each axis."""

    def along(name: str, default: int) -> list[int]:
        found = re.search(rf"\b{name}=([\dx_\-]+)", rest)
        return [int(n.split("_")[0]) for n in found[1].split("x")] if found else [default] * rank

    names = (("stride", 1), ("pad", 0), ("lhs_dilate", 1), ("rhs_dilate", 1))
    yield from zip(*(along(*pair) for pair in names), strict=True)


def _pairs(
    source: int, kernel: int, output: int, stride: int, before: int, lhs: int, rhs: int
) -> int:
    """Returns how many pairs of an output and a tap meet a number of the input along an axis."""
    place = np.arange(output)[:, None] * stride + np.arange(kernel) * rhs - before
    return int(((place >= 0) & (place <= (source - 1) * lhs) & (place % lhs == 0)).sum())


def to_json(program: Program) -> str:
    """Returns a program as text, for `from_json`."""
    kernels = [dataclasses.asdict(kernel) for kernel in program.kernels]
    return json.dumps({"kernels": kernels, "unknown_loops": program.unknown_loops})


def from_json(text: str) -> Program:
    """Reads what `to_json` has written."""
    found = json.loads(text)
    kernels = tuple(Kernel(**kernel) for kernel in found["kernels"])
    return Program(kernels, found["unknown_loops"])
