"""Distances inside and around a part of a picture, worked out in its box and not in all of it."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

Box = tuple[slice, ...]
# Within a few voxels a distance is faster told by moving the part than by measuring it.
_MOST_STEPS = 1000


def box(part: np.ndarray, margins: Sequence[int] = ()) -> Box:
    """Returns the box of what is True, with a margin along each axis where there is room.

    Args:
      part: bool (or labels, of which 0 is none), of any number of axes.
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


def around(first: Box, second: Box) -> Box:
    """Returns the smallest box that holds two of `box`, one of which may be empty."""
    if any(side.stop == 0 for side in (*first, *second)):
        return second if first[0].stop == 0 else first
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )


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


def deeper(part: np.ndarray, sides: Sequence[float], distance: float) -> np.ndarray:
    """Returns what of a part is more than so many mm from what is none of it: `depth` > distance.

    Beyond the picture the part goes on, as for `depth`.

    Args:
      part: bool, of any number of axes.
      sides: of a voxel in mm.
      distance: 0 mm or more.
    """
    offsets = _within(sides, distance)
    if offsets is None:
        return depth(part, sides) > distance
    here, found = box(part), np.zeros(part.shape, bool)
    found[here] = ~_any_of(~part[here], offsets)
    return found


def near(part: np.ndarray, sides: Sequence[float], distance: float) -> np.ndarray:
    """Returns a part and what is at most so many mm from it, bool."""
    margins = [math.ceil(distance / side) for side in sides]
    here, found = box(part, margins), np.zeros(part.shape, bool)
    if part[here].size:
        offsets = _within(sides, distance)
        if offsets is None:
            apart = ndimage.distance_transform_edt(~part[here], sampling=sides)
            found[here] = apart <= distance
        else:
            found[here] = _any_of(part[here], offsets)
    return found


def _within(sides: Sequence[float], distance: float) -> list[tuple[int, ...]] | None:
    """Returns the steps that lead no further than a distance, or None where there are too many."""
    longest = [math.floor(distance / side) for side in sides]
    if math.prod(2 * steps + 1 for steps in longest) > _MOST_STEPS:
        return None
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in longest), indexing="ij"), -1)
    apart = np.sqrt(((steps * np.asarray(sides)) ** 2).sum(-1))
    return [tuple(step) for step in steps[apart <= distance].tolist()]


def _any_of(part: np.ndarray, offsets: list[tuple[int, ...]]) -> np.ndarray:
    """Returns where a part is, or was before it was moved by any of the offsets."""
    found = np.zeros_like(part)
    for offset in offsets:
        moved = [
            (slice(max(0, o), max(0, n + min(0, o))), slice(max(0, -o), max(0, n - max(0, o))))
            for o, n in zip(offset, part.shape, strict=True)
        ]
        to, of = zip(*moved, strict=True)
        found[to] |= part[of]
    return found
