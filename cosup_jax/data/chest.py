"""Where the chest's air lies in a picture: the box that a network's input is cut to.

Lungs fill a third of a CT's picture. A network of a fixed input size sees them larger, and always
about as large, when the rest is cut off. The box needs no lungs drawn: air that is enclosed by the
body, of all slices of a volume together, in whatever grey values. It may be too large (bowel, air
between arm and chest), which costs a little resolution; of what is infected it must lose nothing.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

Box = tuple[slice, slice]
# What part of a slice a network takes: all, the box of the volume's lungs, that of the slice's own,
# or two whose probabilities are averaged: both of these, the first as its mirror image, or the
# first and its mirror image.
CROPS = WHOLE, VOLUME, SLICE, BOTH, MIRRORED = "", "volume", "slice", "both", "mirrored"
CLOSER = SLICE, BOTH

_COARSE = 128  # pixels along the longer side
_TISSUE = 0.5  # of the range of grey values; in the lung window this is -600 HU
_CROPPED = 0.4  # of the picture's border, if more is tissue the picture has been cut already
_SPECK = 0.003  # of the picture; less enclosed air is no lung
_MARGIN = 0.03  # of the picture's side
_FEW = 8  # slices, whose air may miss a lung that is dense in all of them
_MARGIN_OF_FEW = 0.08
_PIECE = 0.001  # of a slice; smaller pieces of lung do not count
_MARGIN_OF_ONE = 0.02  # of the picture's side
_SHOWN = 96  # pixels along a slice that the network for lungs is shown
_CLOSEST = 0.5  # of the sides of the volume's box, which a slice's own are no shorter than


class Air(NamedTuple):
    """What the box of a volume needs to know of one slice, in coarse maps.

    Attributes:
      shape: (H, W) of the slice.
      air: (h, w) bool, enclosed by the body.
      body: (w,) bool, columns of the body.
      border: share of the picture's border that is tissue.
      step: pixels of the slice in a coarse one.
    """

    shape: tuple[int, ...]
    air: np.ndarray
    body: np.ndarray
    border: float
    step: int


def find_box(slices: Iterable[np.ndarray]) -> Box | None:
    """Returns rows and columns of the box around the air in the chest, one for all slices.

    Args:
      slices: (H, W) each, of one volume or alone; grey values, or HU within a lung window.

    Returns:
      The box, or None, as `box_around` does.
    """
    return box_around([enclosed(values) for values in slices])


def box_around(parts: Sequence[Air]) -> Box | None:
    """Returns rows and columns of the box around the air in the chest, one for all slices.

    The box is as far from the body's middle on the left as on the right, so that a lung without air
    lies in it too. It is the whole picture where no air is enclosed, and where the picture has been
    cut to the chest already: tissue then lies at its border.

    Args:
      parts: what `enclosed` finds in each slice of a volume, or in one alone.

    Returns:
      The box, or None where there is no slice, or slices differ in size and each has its own.
    """
    shapes = {part.shape for part in parts}
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    air = np.logical_or.reduce([part.air for part in parts])
    if not air.any() or np.median([part.border for part in parts]) > _CROPPED:
        return slice(0, shape[0]), slice(0, shape[1])
    body = np.flatnonzero(np.logical_or.reduce([part.body for part in parts]))
    air |= np.roll(air[:, ::-1], body[0] + body[-1] + 1 - air.shape[1], axis=1)
    share = _MARGIN if len(parts) > _FEW else _MARGIN_OF_FEW
    rows, columns = (
        _range(air.any(axis=1 - axis), share, parts[0].step, shape[axis]) for axis in (0, 1)
    )
    return rows, columns


def closer(box: Box, lung: np.ndarray) -> Box:
    """Returns the part of a volume's box that a slice of it is looked at closely in.

    It is the box of the slice's lungs, as far from the middle of the volume's box on the left as on
    the right, so that a lung that was not found lies in it too, and at least half as long and wide
    as the volume's.

    Args:
      box: of all slices, from `find_box`.
      lung: (H, W) bool, the lungs of one.

    Returns:
      The part; all of the box where there is no lung.
    """
    pieces, _ = ndimage.label(lung[box])
    large = np.bincount(pieces.ravel()) >= _PIECE * lung.size
    large[0] = False
    found = large[pieces]
    if not found.any():
        return box
    parts = []
    for axis, part in enumerate(box):
        filled, size = found.any(axis=1 - axis), part.stop - part.start
        margin = int(np.ceil(_MARGIN_OF_ONE * lung.shape[axis]))
        first, last = np.flatnonzero(filled)[[0, -1]]
        start, stop = max(0, int(first) - margin), min(size, int(last) + 1 + margin)
        if axis == 1:
            start = min(start, size - stop)
            stop = size - start
        length = max(stop - start, int(np.ceil(_CLOSEST * size)))
        start = min(max(0, (start + stop - length) // 2), size - length)
        parts.append(slice(part.start + start, part.start + start + length))
    return parts[0], parts[1]


def touching(lung: np.ndarray) -> np.ndarray:
    """Returns (H, W) bool: the lungs of a slice, and what a network's pixel further touches them.

    Args:
      lung: (H, W) bool.
    """
    further = max(1, round(max(lung.shape) / _SHOWN))
    return ndimage.maximum_filter(lung, 2 * further + 1)


def enclosed(values: np.ndarray) -> Air:
    """Finds the air that is enclosed by the body in a slice (H, W), as for `find_box`."""
    # Of a narrow picture one coarse pixel must be left across.
    step = max(1, min(round(max(values.shape) / _COARSE), *values.shape))
    height, width = (n // step for n in values.shape)
    parts = values[: height * step, : width * step].reshape(height, step, width, step)
    grey = parts.mean((1, 3), dtype=np.float32)
    low, high = np.percentile(grey, (1, 99))
    bright = grey > low + _TISSUE * (high - low)
    pieces, _ = ndimage.label(ndimage.binary_opening(bright), np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = (pieces == sizes.argmax()) & (pieces > 0)
    dark = ndimage.binary_opening(_between(body, 0) & _between(body, 1) & ~bright, np.ones((2, 2)))
    pieces, _ = ndimage.label(dark)
    large = np.bincount(pieces.ravel()) >= _SPECK * dark.size
    large[0] = False
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return Air(values.shape, large[pieces], body.any(axis=0), float(border.mean()), step)


def _between(body: np.ndarray, axis: int) -> np.ndarray:
    """Returns what has body on both sides along an axis; lungs may touch the picture's border."""
    back = np.flip(np.maximum.accumulate(np.flip(body, axis), axis), axis)
    return np.maximum.accumulate(body, axis) & back


def _range(filled: np.ndarray, share: float, step: int, size: int) -> slice:
    """Returns pixels from the first to the last that are filled, with a margin."""
    margin = int(np.ceil(share * len(filled)))
    first, last = np.flatnonzero(filled)[[0, -1]]
    start, stop = int(max(0, first - margin)) * step, int(last + 1 + margin) * step
    # The last pixels, which fill no coarse one, belong to the last of these.
    return slice(start, size if stop >= len(filled) * step else stop)
