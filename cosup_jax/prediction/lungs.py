"""The lungs of a CT volume in HU, by threshold, components and hole filling; no network.

Worked out on a coarse grid, since a share of the lung needs no fine border: air inside the body is
found, the windpipe falls away where an erosion parts it from the lungs, and what is left grows back
into the air. A closing then takes in vessels and most consolidations. Airways inside the lungs and
effusions are not told apart.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

LEFT, RIGHT = 1, 2
EITHER = 1

_COARSE = 2.5  # mm, the sides of a coarse voxel where the volume's own are smaller
_AIR = -400.0  # HU; lung is below, even with ground-glass around it
_TISSUE = -250.0  # HU; the body outside of the lungs is above
_TYPICAL = (-200.0, 200.0)  # HU, between which the median of the body's tissue lies
_BODY_SHARE = 0.02  # of the voxels at least, or there is no body in the picture
_DEPTHS = (2.0, 4.0, 6.0, 8.0, 10.0, 13.0)  # mm of erosion tried until right and left come apart
_REGROW = 4.0  # mm beyond the erosion that air may be from what is left
_CLOSING = 8.0  # mm
_SMALLEST_ML, _LARGEST_ML = 100.0, 12_000.0
_SMALLER_LUNG = 0.2  # of the larger one at least, or it is something else


class LungError(ValueError):
    """No lungs were found; the message says why."""


class Lungs(NamedTuple):
    """The lungs of one volume.

    Attributes:
      labels: (Z, H, W) uint8: 0 outside, `LEFT` or `RIGHT` (of the patient); where they could not
        be told apart, `EITHER`.
      apart: whether right and left are told apart.
    """

    labels: np.ndarray
    apart: bool


def find(volume: np.ndarray, spacing: tuple[float, float, float]) -> Lungs:
    """Finds the lungs.

    Args:
      volume: (Z, H, W) in HU, in the axial view: columns run from the patient's right to the left.
      spacing: voxel spacing (z, y, x) in mm.

    Raises:
      LungError: no body or no air in it, an odd contrast, or no plausible volume.
    """
    steps = [max(1, round(_COARSE / side)) for side in spacing]
    coarse, sides = (
        _shrink(volume, steps),
        [n * side for n, side in zip(steps, spacing, strict=True)],
    )
    air = _air_inside(coarse)
    voxel_ml = math.prod(sides) / 1000
    seeds, depth, apart = _seeds(air, sides, voxel_ml)
    labels = _regrow(air, seeds, depth, sides)
    for label in (LEFT, RIGHT) if apart else (EITHER,):
        closed = _close(labels == label, sides)
        labels[closed & (labels == 0)] = label
    total = np.count_nonzero(labels) * voxel_ml
    if not _SMALLEST_ML <= total <= _LARGEST_ML:
        raise LungError(f"no lungs found: {total:,.0f} mL of air inside the body")
    return Lungs(_enlarge(labels, steps, volume.shape), apart)


def _shrink(volume: np.ndarray, steps: list[int]) -> np.ndarray:
    """Returns float32 means of the rows and columns of every `steps[0]`th slice; edges are cut."""
    _, dy, dx = steps
    height, width = (n // step for n, step in zip(volume.shape[1:], (dy, dx), strict=True))
    if 0 in (height, width):
        raise LungError(f"no lungs found: slices of {volume.shape[2]} × {volume.shape[1]} pixels")
    kept = volume[:: steps[0], : height * dy, : width * dx]
    parts = kept.reshape(len(kept), height, dy, width, dx)
    return parts.mean((2, 4), dtype=np.float32)


def _enlarge(labels: np.ndarray, steps: list[int], shape: tuple[int, ...]) -> np.ndarray:
    index = [
        np.minimum(np.arange(n) // step, m - 1)
        for n, step, m in zip(shape, steps, labels.shape, strict=True)
    ]
    return labels[np.ix_(*index)]


def _air_inside(coarse: np.ndarray) -> np.ndarray:
    """Returns the air that is not around the body."""
    body = coarse[coarse > _TISSUE]
    if body.size < _BODY_SHARE * coarse.size:
        raise LungError("no lungs found: hardly any tissue in the picture")
    median = float(np.median(body))
    if not _TYPICAL[0] < median < _TYPICAL[1]:
        raise LungError(f"odd contrast: the tissue's median is {median:.0f} HU")
    low = coarse < _AIR
    outside = np.zeros_like(low)
    # Slice by slice: a windpipe leads from the outside into the lungs.
    for slice_air, slice_outside in zip(low, outside, strict=True):
        parts, _ = ndimage.label(slice_air)
        rim = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        slice_outside[:] = np.isin(parts, np.unique(rim[rim > 0]))
    air = low & ~outside
    if not air.any():
        raise LungError("no lungs found: there is no air inside the body")
    return air


def _seeds(air: np.ndarray, sides: list[float], voxel_ml: float) -> tuple[np.ndarray, float, bool]:
    """Returns the labelled core of each lung, how deep it was eroded, and if there are two."""
    inner = ndimage.distance_transform_edt(air, sampling=sides)
    fallback: tuple[np.ndarray, float] | None = None
    for depth in (0.0, *_DEPTHS):
        parts, _ = ndimage.label(inner > depth)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        by_size = np.argsort(sizes)[::-1][:2]
        if sizes[by_size[0]] * voxel_ml < _SMALLEST_ML / 4:
            break
        if fallback is None:
            fallback = (parts == by_size[0]).astype(np.uint8) * np.uint8(EITHER), depth
        if len(by_size) == 2 and sizes[by_size[1]] >= _SMALLER_LUNG * sizes[by_size[0]]:
            centres = [float(np.nonzero(parts == part)[2].mean()) for part in by_size]
            right, left = (by_size[i] for i in np.argsort(centres))
            if abs(centres[0] - centres[1]) > air.shape[2] / 10:
                seeds = np.zeros(air.shape, np.uint8)
                seeds[parts == right], seeds[parts == left] = RIGHT, LEFT
                return seeds, depth, True
    if fallback is None:
        raise LungError("no lungs found: only small pockets of air inside the body")
    return *fallback, False


def _regrow(air: np.ndarray, seeds: np.ndarray, depth: float, sides: list[float]) -> np.ndarray:
    """Returns the air near the cores, each voxel labelled as the core nearest to it."""
    distance, nearest = ndimage.distance_transform_edt(
        seeds == 0, sampling=sides, return_indices=True
    )
    labels = seeds[tuple(nearest)]
    labels[~air | (distance > depth + _REGROW)] = 0
    return labels


def _close(lung: np.ndarray, sides: list[float]) -> np.ndarray:
    """Returns a lung with its holes filled and its bays closed up to twice `_CLOSING` mm."""
    margin = [math.ceil(_CLOSING / side) + 1 for side in sides]
    padded = np.pad(lung, [(m, m) for m in margin])
    near = ndimage.distance_transform_edt(~padded, sampling=sides) <= _CLOSING
    closed = ndimage.distance_transform_edt(near, sampling=sides) > _CLOSING
    closed = closed[tuple(slice(m, -m) for m in margin)]
    return np.stack([ndimage.binary_fill_holes(part) for part in closed | lung])
