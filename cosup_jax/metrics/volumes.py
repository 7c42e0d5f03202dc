"""Measures of one volume in millimetres and millilitres; NumPy and SciPy, on the host.

Dice, lesion volume and its error, and how far the surfaces of prediction and truth lie apart: the
95th percentile of the Hausdorff distance, and normalised surface Dice (Nikolov et al. 2018,
arXiv:1809.04430). `empty` says what the last two are on empty masks, as it does in `scores`:

| volume | dice | surface_dice | hd95 |
| --- | --- | --- | --- |
| truth and prediction empty | 1, or NaN | 1, or NaN | 0, or NaN |
| only one of them empty | 0 | 0 | ∞ |

The first value is that of `"one"`, the second that of `"nan"`. A distance to nothing stays ∞ under
both: it is not undefined, and a mean that left it out would reward missing a lesion altogether.
Report the median, or how many there are, beside such a mean.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cosup_jax.metrics import surface
from cosup_jax.metrics.counts import confusion
from cosup_jax.metrics.scores import dice

Spacing = tuple[float, float, float]
_ROUNDING = 1e-4  # mm; what the single precision of an affine leaves open


class VolumeScores(NamedTuple):
    """The measures of one volume.

    Attributes:
      dice: 3-D Dice, over all voxels together.
      volume_ml: volume predicted as infection, mL.
      true_volume_ml: volume of the infection, mL.
      volume_error_ml: `|volume_ml − true_volume_ml|`, mL.
      hd95_mm: 95th percentile of the Hausdorff distance, mm.
      surface_dice: normalised surface Dice.
    """

    dice: float
    volume_ml: float
    true_volume_ml: float
    volume_error_ml: float
    hd95_mm: float
    surface_dice: float


class Surfaces(NamedTuple):
    """Two surfaces as elements, each with its area and its distance to the other surface.

    Attributes:
      pred_distance: (P,) mm to the nearest point of the truth's surface; ∞ if there is none.
      pred_area: (P,) mm².
      truth_distance: (T,) mm to the nearest point of the prediction's surface; ∞ if there is none.
      truth_area: (T,) mm².
    """

    pred_distance: np.ndarray
    pred_area: np.ndarray
    truth_distance: np.ndarray
    truth_area: np.ndarray


def volume_scores(
    pred: np.ndarray,
    truth: np.ndarray,
    spacing: Spacing,
    *,
    tolerance: float = 1.0,
    empty: str = "one",
) -> VolumeScores:
    """Computes all measures of one volume.

    Args:
      pred: (Z, Y, X) bool or integer; not zero is infection.
      truth: the same shape, bool or integer.
      spacing: distances of voxel centres (z, y, x) in mm.
      tolerance: of the surface Dice, in mm.
      empty: `one` or `nan`, see the module's description.

    Raises:
      ValueError: shapes, spacing or `empty` are wrong.
      TypeError: a mask is neither bool nor integer.

    Example:
      >>> truth = np.zeros((4, 8, 8), bool)
      >>> truth[1:3, 2:6, 2:6] = True
      >>> found = volume_scores(np.roll(truth, 1, axis=2), truth, (5.0, 1.0, 1.0))
      >>> found.dice, found.volume_ml, found.hd95_mm, found.surface_dice
      (0.75, 0.16, 1.0, 1.0)
    """
    both = measure_surfaces(pred, truth, spacing)
    volume, true_volume = lesion_volume(pred, spacing), lesion_volume(truth, spacing)
    return VolumeScores(
        dice=float(dice(confusion(*(m.reshape(1, 1, -1) for m in (pred, truth))), empty)[0]),
        volume_ml=volume,
        true_volume_ml=true_volume,
        volume_error_ml=abs(volume - true_volume),
        hd95_mm=hd95(both, empty),
        surface_dice=surface_dice(both, tolerance, empty),
    )


def lesion_volume(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Computes the volume of a mask in mL.

    Args:
      mask: (Z, Y, X) bool or integer; not zero is infection.
      spacing: distances of voxel centres (z, y, x) in mm.

    Raises:
      ValueError: the spacing is not three positive numbers.
      TypeError: the mask is neither bool nor integer.
    """
    _check_mask("mask", mask)
    return int(np.count_nonzero(mask)) * voxel_ml(spacing)


def voxel_ml(spacing: Sequence[float]) -> float:
    """Returns the volume of a voxel in mL, given its sides in mm.

    Raises:
      ValueError: the sides are not three positive numbers.

    >>> voxel_ml((5.0, 0.5, 0.5))
    0.00125
    """
    _check_spacing(spacing)
    return math.prod(map(float, spacing)) / 1000


def measure_surfaces(pred: np.ndarray, truth: np.ndarray, spacing: Spacing) -> Surfaces:
    """Finds the surfaces of two masks and how far each element of one is from the other.

    An element is a cell between 2 × 2 × 2 voxel centres through which the surface passes; its area
    is that of marching cubes, its place the middle of the cell (Nikolov et al. 2018). What lies
    outside of the volume counts as healthy.

    Args:
      pred: (Z, Y, X) bool or integer; not zero is infection.
      truth: the same shape, bool or integer.
      spacing: distances of voxel centres (z, y, x) in mm.

    Raises:
      ValueError: the masks are not volumes of one shape, or the spacing is not three positive
        numbers.
      TypeError: a mask is neither bool nor integer.
    """
    check_masks(pred, truth)
    _check_spacing(spacing)
    masks = [mask.astype(bool) for mask in (pred, truth)]
    either = masks[0] | masks[1]
    box = ndimage.find_objects(either.astype(np.uint8)) if either.size else []
    if not box:
        return Surfaces(*(np.zeros(0) for _ in Surfaces._fields))
    codes = [_codes(np.pad(mask[box[0]], 1)) for mask in masks]
    on_pred, on_truth = ((code > 0) & (code < 255) for code in codes)
    area = surface.areas(spacing)
    return Surfaces(
        pred_distance=_distance_to(on_truth, spacing)[on_pred],
        pred_area=area[codes[0][on_pred]],
        truth_distance=_distance_to(on_pred, spacing)[on_truth],
        truth_area=area[codes[1][on_truth]],
    )


def check_masks(pred: np.ndarray, truth: np.ndarray) -> None:
    """Refuses what is not two masks of one volume.

    Raises:
      ValueError: the masks are not volumes of one shape.
      TypeError: a mask is neither bool nor integer.
    """
    if pred.shape != truth.shape or pred.ndim != 3:
        raise ValueError(
            f"prediction of shape {pred.shape} and truth of shape {truth.shape}: both must be the "
            "same (Z, Y, X)"
        )
    for name, mask in (("prediction", pred), ("truth", truth)):
        _check_mask(name, mask)


def _check_mask(name: str, mask: np.ndarray) -> None:
    if mask.dtype.kind not in "biu":
        raise TypeError(
            f"the {name} is {mask.dtype}, expected bool or an integer type: cut probabilities at "
            "a threshold first"
        )


def _check_spacing(spacing: Sequence[float]) -> None:
    if np.shape(spacing) != (3,) or not all(0 < s < np.inf for s in spacing):
        raise ValueError(f"spacing is {spacing}, expected three positive numbers (z, y, x) in mm")


def _codes(mask: np.ndarray) -> np.ndarray:
    """The code of each cell, its corners as in `surface`; one fewer than voxels on every axis."""
    sizes = [n - 1 for n in mask.shape]
    codes = np.zeros(sizes, np.uint8)
    for k, corner in enumerate(surface.CORNERS):
        window = tuple(slice(i, i + n) for i, n in zip(corner, sizes, strict=True))
        codes |= mask[window].astype(np.uint8) << k
    return codes


def _distance_to(elements: np.ndarray, spacing: Spacing) -> np.ndarray:
    if not elements.any():
        return np.full(elements.shape, np.inf)
    return ndimage.distance_transform_edt(~elements, sampling=spacing)


def hd95(surfaces: Surfaces, empty: str = "one") -> float:
    """Computes the 95th percentile of the Hausdorff distance in mm.

    For each surface, the least distance that 95 % of its area does not exceed; the greater of both.

    Args:
      surfaces: of `measure_surfaces`.
      empty: `one` or `nan`, see the module's description.

    Raises:
      ValueError: `empty` is unknown.
    """
    instead = _if_empty(surfaces, empty, 0.0)
    if instead is not None:
        return instead
    pred_distance, pred_area, truth_distance, truth_area = surfaces
    if not len(pred_distance) or not len(truth_distance):
        return np.inf
    return max(_percentile(pred_distance, pred_area), _percentile(truth_distance, truth_area))


def _percentile(distance: np.ndarray, area: np.ndarray) -> float:
    order = np.argsort(distance)
    share = np.cumsum(area[order]) / area.sum()
    place = min(int(np.searchsorted(share, 0.95)), len(share) - 1)
    return float(distance[order][place])


def surface_dice(surfaces: Surfaces, tolerance: float = 1.0, empty: str = "one") -> float:
    """Computes normalised surface Dice: the area within the tolerance, over all area of both.

    Args:
      surfaces: of `measure_surfaces`.
      tolerance: in mm; an element at exactly this distance is within, and one that is further by
        no more than the rounding of a file's voxel sides.
      empty: `one` or `nan`, see the module's description.

    Raises:
      ValueError: `empty` is unknown, or the tolerance is no distance.
    """
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}, expected a distance in mm")
    instead = _if_empty(surfaces, empty, 1.0)
    if instead is not None:
        return instead
    pred_distance, pred_area, truth_distance, truth_area = surfaces
    reach = tolerance + _ROUNDING
    close = pred_area[pred_distance <= reach].sum()
    close += truth_area[truth_distance <= reach].sum()
    return float(close / (pred_area.sum() + truth_area.sum()))


def _if_empty(surfaces: Surfaces, empty: str, one: float) -> float | None:
    """The value `empty` gives two empty masks; None where there is a surface."""
    if empty not in ("one", "nan"):
        raise ValueError(f"empty is {empty!r}, expected one of one, nan")
    if len(surfaces.pred_area) or len(surfaces.truth_area):
        return None
    return one if empty == "one" else np.nan
