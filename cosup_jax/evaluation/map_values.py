"""What the numbers in saved maps mean, which all files of a folder decide together."""

import dataclasses
from collections.abc import Iterable

import numpy as np

AUTO, LABELS = "auto", "labels"
_FULL = (255, 65535)  # of 8 and of 16 bits
_FEW = 4  # so many different values, 0 and others, are rather classes than probabilities


class MapValuesError(ValueError):
    """Numbers that can mean several things, or not what was declared."""


@dataclasses.dataclass(frozen=True)
class Meaning:
    """How grey values become probabilities.

    Attributes:
      words: for the summary.
      full: the value that is certainly infected; 0 takes every value but 0 for infection.
    """

    words: str
    full: int

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Returns the probabilities (H, W) float64 of grey values (H, W) of a whole-number type."""
        return codes / self.full if self.full else (codes > 0).astype(np.float64)


def decide(values: Iterable[int], depths: Iterable[int], declared: str = AUTO) -> Meaning:
    """Decides what grey values mean.

    0 and 1, 0 and 255, or 0 and 65535 alone are healthy and infected. Otherwise the values are
    probabilities over the whole range of 8 or 16 bits, if more than half of the range is used.

    Args:
      values: all that occur in any of the maps.
      depths: the bits of a pixel that occur, 8 or 16.
      declared: `auto`; `labels`, where any value but 0 is infection; or the value that is certainly
        infected, such as `100`.

    Raises:
      MapValuesError: the numbers can mean several things, or one is above the one declared.

    >>> decide({0, 1}, {16}).full, decide({0, 255}, {16}).full, decide(range(256), {8}).full
    (1, 255, 255)
    """
    found, bits = set(values), set(depths)
    top = max(found, default=0)
    if declared != AUTO:
        return _declared(declared, top)
    if top == 0:
        return Meaning("0 throughout: nothing is infected", 1)
    for full in (1, *_FULL):
        if found <= {0, full}:
            return Meaning(f"0 healthy, {full} infected", full)
    full = 2 ** max(bits) - 1
    few = 0 in found and len(found) <= _FEW and len(found) > 2
    if len(bits) == 1 and not few and 2 * top > full:
        return Meaning(f"probabilities 0..{full}", full)
    shown = ", ".join(map(str, sorted(found)[:_FEW])) + ", …" * (len(found) > _FEW)
    raise MapValuesError(
        f"the maps hold the values {shown} up to {top} in {' and '.join(map(str, sorted(bits)))} "
        "bits, which can be labels or probabilities; say which with --map-values=labels (any value "
        "but 0 is infection), or with the value that is certainly infected, as --map-values=255"
    )


def _declared(declared: str, top: int) -> Meaning:
    if declared == LABELS:
        return Meaning("as declared, any value but 0 is infected", 0)
    if not declared.isdecimal() or not 1 <= int(declared) <= _FULL[-1]:
        raise MapValuesError(
            f"--map-values={declared}: expected {AUTO}, {LABELS}, or a value from 1 to {_FULL[-1]}"
        )
    if top > int(declared):
        raise MapValuesError(f"--map-values={declared}: the maps hold {top}, which is above it")
    return Meaning(f"as declared, probabilities 0..{int(declared)}", int(declared))
