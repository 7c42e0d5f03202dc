"""Slices put together to volumes, and the measures of these in millimetres and millilitres.

Volumes are measured on the grid of the scan whatever the protocol: σ(S_p) is resized to the slice's
own size and cut at 0.5.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from cosup_jax import metrics
from cosup_jax.data import records
from cosup_jax.metrics import THRESHOLD, Counts

_DISTANCES = ("hd95_mm", "surface_dice")
_IN_MM = ("volume_ml", "true_volume_ml", "volume_error_ml", *_DISTANCES)
UNKNOWN_SPACING = "spacing unknown: no volumes or distances"
SHEARED_GRID = "the grid is sheared, as a tilted gantry leaves it: no distances"
_PART = "only {} of {} slices are in this split: no volumes or distances"
_GAPS = "slices missing in between: no distances"
_SIZES = "slices of several sizes: no distances"


class _Slice(NamedTuple):
    """Two masks of eight pixels a byte, and their shape."""

    pred: np.ndarray
    truth: np.ndarray
    shape: tuple[int, ...]


@dataclass
class _Case:
    patient_id: str
    spacing: tuple[float, float, float]
    slices: dict[int, _Slice] = field(default_factory=dict)


class Volumes:
    """Collects the masks of slices in any order; a bit a voxel.

    Args:
      sheared: the cases of which distances are not measured, see `sheared_cases`.
      slices: how many slices each case has; one of which fewer are added is not measured.
    """

    def __init__(
        self, sheared: Collection[str] = (), slices: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._cases: dict[str, _Case] = {}
        self._sheared, self._slices = sheared, slices

    @classmethod
    def of(cls, builder: tfds.core.DatasetBuilder) -> "Volumes":
        """Returns an empty collection for the slices of a built dataset."""
        return cls(sheared_cases(builder), records.slices_of_cases(builder))

    def __len__(self) -> int:
        return len(self._cases)

    def add(self, example: dict[str, Any], prob: np.ndarray, truth: np.ndarray) -> None:
        """Adds a slice.

        Args:
          example: `case_id`, `patient_id`, `slice_index`, and `spacing` (z, y, x) in mm, NaN where
            unknown.
          prob: (H, W) float, at the slice's own size.
          truth: (H, W) bool.
        """
        z, y, x = (float(s) for s in example["spacing"])
        case = self._cases.setdefault(example["case_id"], _Case(example["patient_id"], (z, y, x)))
        case.slices[example["slice_index"]] = _Slice(
            np.packbits(prob > THRESHOLD), np.packbits(truth), truth.shape
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields the measures of each case, by name; NaN where `note` says why there is none."""
        for case_id, case in sorted(self._cases.items()):
            place = {"case_id": case_id, "patient_id": case.patient_id, "slices": len(case.slices)}
            spacing = dict(zip(("spacing_z", "spacing_y", "spacing_x"), case.spacing, strict=True))
            count = self._slices.get(case_id, 0)
            row = {**place, **spacing, **_measures(case, count)}
            yield without_distances(row) if case_id in self._sheared else row


def sheared_cases(builder: tfds.core.DatasetBuilder) -> Mapping[str, float]:
    """Returns `Grid.shear` of the cases of a built dataset whose grids are sheared.

    Datasets built by earlier versions do not know of any.
    """
    return builder.info.metadata.get("sheared", {})


def without_distances(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row of a volume on a sheared grid, whose `note` says what is missing."""
    blank = dict.fromkeys(_DISTANCES, float("nan"))
    return {**row, **blank, "note": row["note"] or SHEARED_GRID}


def _measures(case: _Case, count: int) -> dict[str, Any]:
    """Measures a case that has `count` slices, or as many as there are where that is unknown."""
    order = sorted(case.slices)
    slices = [case.slices[i] for i in order]
    masks = [
        [_unpack(s.pred, s.shape) for s in slices],
        [_unpack(s.truth, s.shape) for s in slices],
    ]
    absent = dict.fromkeys(_IN_MM, float("nan"))
    if len(order) < count:
        note = _PART.format(len(order), count)
        return {"dice": _dice(*masks), **absent, "note": note}
    if not all(np.isfinite(case.spacing)):
        return {"dice": _dice(*masks), **absent, "note": UNKNOWN_SPACING}
    whole = len(order) == order[-1] - order[0] + 1
    if whole and len({mask.shape for mask in masks[0]}) == 1:
        pred, truth = map(np.stack, masks)
        return {**metrics.volume_scores(pred, truth, case.spacing)._asdict(), "note": ""}
    found, true = (
        sum(metrics.lesion_volume(mask, case.spacing) for mask in side) for side in masks
    )
    volumes = {"volume_ml": found, "true_volume_ml": true, "volume_error_ml": abs(found - true)}
    return {"dice": _dice(*masks), **absent, **volumes, "note": _SIZES if whole else _GAPS}


def _unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)


def _dice(pred: list[np.ndarray], truth: list[np.ndarray]) -> float:
    slices = [metrics.confusion(p[None], t[None]) for p, t in zip(pred, truth, strict=True)]
    return float(metrics.dice(Counts(*map(sum, zip(*slices, strict=True))))[0])
