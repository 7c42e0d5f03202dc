"""Where the images of one CT series lie: their order, their grid, and whether all are there."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.nifti import VolumeError

_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3  # mm
_SAME_PLACE = 1e-2  # mm; images nearer than this are doubles
_UNEVEN = 0.1  # of the usual distance
_TILT = 0.5  # degrees; less is rounding
_STRAIGHT = 1.0  # pixels that an image may lie beside the line of all
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class Arrangement(NamedTuple):
    """How images make a volume.

    Attributes:
      order: their indices, along the normal of their planes.
      grid: of (columns, rows, slices).
      spacing: (z, y, x) of the axial view in mm, distances between planes being perpendicular.
      distance: between neighbouring planes in mm.
      notes: on tilt or a guessed thickness.
    """

    order: list[int]
    grid: Grid
    spacing: tuple[float, float, float]
    distance: float
    notes: list[str]


def sort(headers: Sequence[Any]) -> Arrangement:
    """Puts the images of a series in order.

    Args:
      headers: data sets with ImagePositionPatient, ImageOrientationPatient, PixelSpacing, Rows and
        Columns.

    Raises:
      VolumeError: an attribute is missing or absurd; images differ in direction or pixel spacing,
        are missing, doubled or out of line.
    """
    across, down = _directions(headers)
    row_distance, column_distance = _pixel_spacing(headers)
    normal = np.cross(across, down)
    places = np.array([_numbers(header, "ImagePositionPatient", 3) for header in headers])
    heights = places @ normal
    order = np.argsort(heights, kind="stable")
    places, heights = places[order], heights[order]
    notes: list[str] = []
    if len(headers) == 1:
        thickness = float(headers[0].get("SliceThickness") or 0)
        if not (math.isfinite(thickness) and thickness > 0):
            raise VolumeError("a single image without SliceThickness; its volume is unknown")
        step, distance = normal * thickness, thickness
        notes.append("a single image: its slice thickness is taken for the spacing")
    else:
        distance = _check_steps(heights)
        step = (places[-1] - places[0]) / (len(places) - 1)
        notes += _check_line(places, step, normal, min(row_distance, column_distance))
    affine = np.eye(4)
    affine[:3, 0] = _LPS_TO_RAS @ across * column_distance
    affine[:3, 1] = _LPS_TO_RAS @ down * row_distance
    affine[:3, 2] = _LPS_TO_RAS @ step
    affine[:3, 3] = _LPS_TO_RAS @ places[0]
    shape = (int(headers[0].Columns), int(headers[0].Rows), len(headers))
    upright = affine.copy()
    upright[:3, 2] = _LPS_TO_RAS @ normal * distance
    spacing = Grid(shape, upright).spacing
    return Arrangement(order.tolist(), Grid(shape, affine), spacing, distance, notes)


def _numbers(header: Any, attribute: str, count: int) -> np.ndarray:
    try:
        values = np.array(header.get(attribute), np.float64)
    except (TypeError, ValueError) as error:
        raise VolumeError(f"an image whose {attribute} is no list of numbers") from error
    if values.shape != (count,) or not np.isfinite(values).all():
        raise VolumeError(f"an image without a usable {attribute}; expected {count} numbers")
    return values


def _directions(headers: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    all_six = np.array([_numbers(h, "ImageOrientationPatient", 6) for h in headers])
    turned = int((np.abs(all_six - all_six[0]).max(axis=1) > _SAME_DIRECTION).sum())
    if turned:
        raise VolumeError(
            f"{turned} of {len(headers)} images are turned against the first; expected none"
        )
    across, down = all_six[0][:3], all_six[0][3:]
    gram = [across @ across, down @ down, across @ down]
    if np.abs(np.subtract(gram, [1, 1, 0])).max() > 10 * _SAME_DIRECTION:
        raise VolumeError("ImageOrientationPatient holds no two perpendicular directions")
    return across, down


def _pixel_spacing(headers: Sequence[Any]) -> tuple[float, float]:
    spacings = np.array([_numbers(header, "PixelSpacing", 2) for header in headers])
    if spacings.min() <= 0 or np.ptp(spacings, axis=0).max() > _SAME_SPACING:
        raise VolumeError(
            f"pixel spacings from {spacings.min(axis=0)} to {spacings.max(axis=0)} mm; expected one"
        )
    return float(spacings[0, 0]), float(spacings[0, 1])


def _check_steps(heights: np.ndarray) -> float:
    """Returns the usual distance of neighbouring planes in mm, which all must keep."""
    steps = np.diff(heights)
    doubles = int((steps < _SAME_PLACE).sum())
    if doubles:
        raise VolumeError(
            f"{doubles} of {len(heights)} images lie where another one lies; expected one image a "
            "place (one series, one phase)"
        )
    usual = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - usual) > _UNEVEN * usual)
    if uneven.size:
        first = int(uneven[0])
        raise VolumeError(
            f"images are missing or unevenly spaced: image {first + 1} and the next of "
            f"{len(heights)} are {steps[first]:.2f} mm apart, most others {usual:.2f} mm "
            f"({uneven.size} such gaps)"
        )
    return float((heights[-1] - heights[0]) / (len(heights) - 1))


def _check_line(
    places: np.ndarray, step: np.ndarray, normal: np.ndarray, pixel: float
) -> list[str]:
    expected = places[0] + np.arange(len(places))[:, None] * step
    beside = float(np.linalg.norm(places - expected, axis=1).max())
    if beside > _STRAIGHT * pixel + _UNEVEN * float(np.linalg.norm(step)):
        raise VolumeError(f"an image lies {beside:.1f} mm beside the line of the others")
    along = float(step @ normal)
    tilt = math.degrees(math.atan2(float(np.linalg.norm(step - along * normal)), along))
    if tilt > _TILT:
        return [f"gantry tilt of {tilt:.1f}°: slices are used as they are, reformats are sheared"]
    return []
