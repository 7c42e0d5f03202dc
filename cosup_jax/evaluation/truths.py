"""Against what was scored: a digest of the truths, which does not depend on where they lie."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

STORED, SCORED = "stored", "scored"


class Truths:
    """The truths of scored slices.

    They are digested as they are stored and as they were scored, at the network's size perhaps: of
    two evaluations that agree in one of the two, the scores can be held against each other.
    """

    def __init__(self) -> None:
        self._slices: dict[str, list[str]] = {STORED: [], SCORED: []}

    def add(self, example: Mapping[str, Any], stored: np.ndarray, scored: np.ndarray) -> None:
        """Adds a slice: `case_id`, `slice_index` of `example`, and two truths (H, W) bool."""
        for name, truth in ((STORED, stored), (SCORED, scored)):
            about = (str(example["case_id"]), int(example["slice_index"]), truth.shape)
            content = repr(about).encode() + np.packbits(truth > 0).tobytes()
            self._slices[name].append(hashlib.sha256(content).hexdigest())

    def digests(self) -> dict[str, str]:
        """Returns both digests (16 hex digits), of the slices in any order."""
        return {
            name: hashlib.sha256("".join(sorted(found)).encode()).hexdigest()[:16]
            for name, found in self._slices.items()
        }


def agree(first: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Tells whether two evaluations were scored against the same truths."""
    return any(first.get(name) == other.get(name) is not None for name in (STORED, SCORED))
