"""Where the images of one CT series lie: their order, their grid, and whether all are there."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cosup_jax.scans.geometry import Grid, GridError
from cosup_jax.scans.nifti import VolumeError

_SAME_DIRECTION = 1e-3
_PERPENDICULAR = 0.02  # of products of directions, which may be rounded to two digits
_SAME_SPACING = 1e-3  # mm
_SAME_PLACE = 1e-2  # mm; images nearer than this are doubles
_UNEVEN = 0.1  # of the usual distance
_ROUNDING, _MOST_ROUNDING = 0.1, 0.25  # mm, of positions with one digit; of the usual distance
_GAP = 1.5  # thicknesses between planes, above which something lies between the slices
_TILT = 0.5  # degrees; less is rounding
_STRAIGHT = 1.0  # pixels that an image may lie beside the line of all
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class Plane(NamedTuple):
    """Where the header of an image says that it lies; None where it has no usable value.

    Attributes:
      position: of the centre of the first pixel, in mm, in the LPS frame.
      orientation: directions of a row and of a column.
      spacing: of rows and of columns, in mm.
      rows: pixels from top to bottom.
      columns: pixels from left to right.
      thickness: of the slice in mm.
    """

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    rows: int
    columns: int
    thickness: float | None = None


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


def sort(planes: Sequence[Plane]) -> Arrangement:
    """Puts the images of a series in order.

    Args:
      planes: where they lie.

    Raises:
      VolumeError: a value is missing or absurd; images differ in direction, pixel spacing or size,
        are missing, doubled or out of line.
    """
    across, down = _directions(planes)
    row_distance, column_distance = _pixel_spacing(planes)
    _check_sizes(planes)
    normal = np.cross(across, down)
    places = _values(planes, "position", "ImagePositionPatient")
    heights = places @ normal
    order = np.argsort(heights, kind="stable")
    places, heights = places[order], heights[order]
    notes: list[str] = []
    if len(planes) == 1:
        thickness = planes[0].thickness or 0.0
        if thickness <= 0:
            raise VolumeError("a single image without SliceThickness; its volume is unknown")
        step, distance = normal * thickness, thickness
        notes.append("a single image: its slice thickness is taken for the spacing")
    else:
        distance = _check_steps(heights)
        step = (places[-1] - places[0]) / (len(places) - 1)
        notes += _check_line(places, step, normal, min(row_distance, column_distance))
        notes += _note_gaps(planes, distance)
    affine = np.eye(4)
    affine[:3, 0] = _LPS_TO_RAS @ across * column_distance
    affine[:3, 1] = _LPS_TO_RAS @ down * row_distance
    affine[:3, 2] = _LPS_TO_RAS @ step
    affine[:3, 3] = _LPS_TO_RAS @ places[0]
    shape = (planes[0].columns, planes[0].rows, len(planes))
    upright = affine.copy()
    upright[:3, 2] = _LPS_TO_RAS @ normal * distance
    try:
        grid, spacing = Grid(shape, affine), Grid(shape, upright).spacing
    except GridError as error:
        raise VolumeError(f"the headers place the images nowhere: {error}") from error
    return Arrangement(order.tolist(), grid, spacing, distance, notes)


def _values(planes: Sequence[Plane], field: str, attribute: str) -> np.ndarray:
    found = [getattr(plane, field) for plane in planes]
    missing = sum(value is None for value in found)
    if missing:
        raise VolumeError(f"{missing} of {len(planes)} images without a usable {attribute}")
    return np.array(found, np.float64)


def _directions(planes: Sequence[Plane]) -> tuple[np.ndarray, np.ndarray]:
    all_six = _values(planes, "orientation", "ImageOrientationPatient")
    turned = int((np.abs(all_six - all_six[0]).max(axis=1) > _SAME_DIRECTION).sum())
    if turned:
        raise VolumeError(
            f"{turned} of {len(planes)} images are turned against the first; expected none"
        )
    return perpendicular(all_six[0])


def perpendicular(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the directions of a row and of a column, of which a header gives rounded numbers.

    As they are, they would stretch the voxels.

    Args:
      directions: (6,) as ImageOrientationPatient has them.

    Raises:
      VolumeError: they are no two directions at a right angle.
    """
    across, down = directions[:3], directions[3:]
    gram = [across @ across, down @ down, across @ down]
    if np.abs(np.subtract(gram, [1, 1, 0])).max() > _PERPENDICULAR:
        raise VolumeError("ImageOrientationPatient holds no two perpendicular directions")
    across = across / np.linalg.norm(across)
    down = down - (across @ down) * across
    return across, down / np.linalg.norm(down)


def _pixel_spacing(planes: Sequence[Plane]) -> tuple[float, float]:
    spacings = _values(planes, "spacing", "PixelSpacing")
    if spacings.min() <= 0 or np.ptp(spacings, axis=0).max() > _SAME_SPACING:
        raise VolumeError(
            f"pixel spacings from {spacings.min(axis=0)} to {spacings.max(axis=0)} mm; expected one"
        )
    return float(spacings[0, 0]), float(spacings[0, 1])


def _check_sizes(planes: Sequence[Plane]) -> None:
    first = planes[0]
    for plane in planes:
        if (plane.rows, plane.columns) != (first.rows, first.columns):
            raise VolumeError(
                f"an image of {plane.columns} × {plane.rows} pixels, where others of the series "
                f"have {first.columns} × {first.rows}"
            )


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
    rounding = min(_ROUNDING + _SAME_PLACE, _MOST_ROUNDING * usual)
    uneven = np.flatnonzero(np.abs(steps - usual) > max(_UNEVEN * usual, rounding))
    if uneven.size:
        first = int(uneven[0])
        raise VolumeError(
            f"images are missing or unevenly spaced: image {first + 1} and the next of "
            f"{len(heights)} are {steps[first]:.2f} mm apart, most others {usual:.2f} mm "
            f"({uneven.size} such gaps)"
        )
    return float((heights[-1] - heights[0]) / (len(heights) - 1))


def _note_gaps(planes: Sequence[Plane], distance: float) -> list[str]:
    """Notes planes further apart than they are thick: nobody sees whether there were others."""
    thickness = np.median([plane.thickness or distance for plane in planes])
    if distance <= _GAP * thickness:
        return []
    return [
        f"slices of {thickness:g} mm lie {distance:.3g} mm apart: volumes take what is between "
        "them to be as they are"
    ]


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
