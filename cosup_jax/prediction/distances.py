"""Distances inside and around a part of a picture, worked out in its box and not in all of it."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

Box = tuple[slice, ...]


def box(part: np.ndarray, margins: Sequence[int] = ()) -> Box:
    """Returns the box of what is True, with a margin along each axis where there is room.

    Args:
      part: bool, of any number of axes.
      margins: voxels along each axis; none given: one.
    """
    found = []
    for axis, margin in enumerate(margins or (1,) * part.ndim):
        others = tuple(other for other in range(part.ndim) if other != axis)
        shown = np.flatnonzero(part.any(others))
        if not shown.size:
            return (slice(0, 0),) * part.ndim
        found.append(slice(max(0, int(shown[0]) - margin), int(shown[-1]) + 1 + margin))
    return tuple(found)


def depth(part: np.ndarray, sides: Sequence[float]) -> np.ndarray:
    """Returns how far each voxel of a part is from what is none of it, in mm; 0 outside.

    What is not of the part and nearest to a voxel lies at most one voxel beyond the part's box, so
    nothing is lost by looking there alone.

    Args:
      part: bool, of any number of axes.
      sides: of a voxel in mm.
    """
    here, found = box(part), np.zeros(part.shape)
    if part[here].size:
        found[here] = ndimage.distance_transform_edt(part[here], sampling=sides)
    return found


def near(part: np.ndarray, sides: Sequence[float], distance: float) -> np.ndarray:
    """Returns a part and what is at most so many mm from it, bool."""
    margins = [math.ceil(distance / side) for side in sides]
    here, found = box(part, margins), np.zeros(part.shape, bool)
    if part[here].size:
        found[here] = ndimage.distance_transform_edt(~part[here], sampling=sides) <= distance
    return found
