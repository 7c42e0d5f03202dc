"""The text in which XLA prints a program: computations of instructions with typed arrays."""

import dataclasses
import math
import re

Computation = dict[str, "Instruction"]

_BITS = {"pred": 8, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Array:
    """An array's type, as XLA calls it, and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size."""
        bits = re.search(r"\d+", self.dtype)
        each = _BITS.get(self.dtype, int(bits[0]) if bits else 0)
        return each * math.prod(self.shape) // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of a program.

    Attributes:
      name: of the line, and of its result.
      results: one array, or those of a tuple.
      opcode: what it does.
      operands: names of other lines.
      rest: the attributes, as they are printed.
    """

    name: str
    results: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    rest: str

    @property
    def bytes(self) -> int:
        """What its results hold."""
        return sum(array.bytes for array in self.results)


def parse(text: str) -> tuple[dict[str, Computation], str]:
    """Returns the computations of a program by name, and the name of the one it begins with."""
    parts: dict[str, Computation] = {}
    entry, here = "", None
    for line in text.splitlines():
        if line.endswith("{") and (head := re.match(r"(ENTRY )?%?([\w.\-]+) ", line)):
            here = parts.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            here = None
        elif here is not None and (found := _instruction(line)):
            here[found.name] = found
    return parts, entry


def _instruction(line: str) -> Instruction | None:
    head = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", line)
    if not head:
        return None
    left = line[head.end() :]
    end = _closing(left, 0) + 1 if left.startswith("(") else left.index(" ")
    shape, left = left[:end], left[end:].lstrip()
    start = left.index("(")
    stop = _closing(left, start)
    operands = re.findall(r"%([\w.\-]+)", left[start : stop + 1])
    return Instruction(head[1], _arrays(shape), left[:start], tuple(operands), left[stop + 1 :])


def _closing(text: str, start: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if not depth:
            return i
    raise ValueError(f"no closing bracket in {text[:80]!r}")


def _arrays(shape: str) -> tuple[Array, ...]:
    shape = re.sub(r"/\*.*?\*/", "", shape)  # numbers of a long tuple's parts
    return tuple(
        Array(dtype, tuple(int(n) for n in sides.split(",") if n))
        for dtype, sides in _ARRAY.findall(shape)
    )
