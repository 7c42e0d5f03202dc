"""Finds of which slice of a volume a picture was cut, and where in it, by correlation alone.

The pictures are windowed crops at the size the volume was published in; the slices are whole, all
of one smaller size, equalised, and perhaps not all of the volume's. Grey values may differ by any
increasing function that correlates, directions may not: both stand upright.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 256  # pixels a side at which all pictures are held against all slices
LEAST_CORRELATION = 0.6
LEAST_LEAD = 0.04  # in correlation, over every slice further away than NEIGHBOURS
NEIGHBOURS = 3
SAMPLE = 8


class Cut(NamedTuple):
    """A picture that was found in a slice.

    Attributes:
      picture: its position among the pictures.
      slice: position of the slice among the slices.
      top: first row of the picture in the slice, at the volume's size.
      left: first column.
      correlation: normalised cross-correlation at `SIDE` pixels a side, at most 1.
      elsewhere: the highest with a slice further away than `NEIGHBOURS`, wherever in it; -1 where
        there is none.
    """

    picture: int
    slice: int
    top: int
    left: int
    correlation: float
    elsewhere: float


def find_size(
    pictures: Sequence[np.ndarray], slices: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """Tells in which (height, width) a volume was when the pictures were cut.

    Args:
      pictures: (h, w) uint8 each.
      slices: (H, W) uint8, of one size, of the same volume.
      sizes: those in question.

    Returns:
      The size at which some of the pictures fit their best slices best, in the median.
    """
    chosen = [pictures[i] for i in np.linspace(0, len(pictures) - 1, SAMPLE).astype(int)]
    fits = [np.median(correlate(chosen, slices, size).max(axis=1)) for size in sizes]
    return sizes[int(np.argmax(fits))]


def correlate(
    pictures: Sequence[np.ndarray], slices: Sequence[np.ndarray], size: tuple[int, int]
) -> np.ndarray:
    """Holds every picture against every slice.

    Args:
      pictures: (h, w) uint8 each.
      slices: (H, W) uint8, of one size.
      size: (height, width) in which the volume was when the pictures were cut.

    Returns:
      (pictures, slices) float32: the highest normalised cross-correlation over all places in the
      slice; -1 where the picture would be larger than the slice.
    """
    small = [_shrink(s, SIDE, SIDE) for s in slices]
    found = np.full((len(pictures), len(slices)), -1.0, np.float32)
    for i, picture in enumerate(pictures):
        height, width = (
            max(1, round(side * SIDE / whole))
            for side, whole in zip(picture.shape, size, strict=True)
        )
        if max(height, width) <= SIDE:
            piece = _shrink(picture, height, width)
            found[i] = [cv2.matchTemplate(s, piece, cv2.TM_CCOEFF_NORMED).max() for s in small]
    return found


def find_cuts(
    pictures: Sequence[np.ndarray], slices: Sequence[np.ndarray], size: tuple[int, int]
) -> list[Cut]:
    """Finds the slice and the place of each picture whose slice is there.

    A picture and a slice belong together where each is the other's best, the correlation is at
    least `LEAST_CORRELATION`, and slices further away than `NEIGHBOURS` are worse by `LEAST_LEAD`.
    Pictures whose own slice is not among `slices` fit the next one less well than its own picture
    does, and so find none.

    Args:
      pictures: (h, w) uint8 each.
      slices: (H, W) uint8, of one size, in the order of the volume.
      size: (height, width) in which the volume was when the pictures were cut.

    Returns:
      The pictures that were found, in their order.
    """
    found = correlate(pictures, slices, size)
    places = np.arange(len(slices))
    cuts = []
    for i, row in enumerate(found):
        best = int(row.argmax())
        far = row[abs(places - best) > NEIGHBOURS]
        elsewhere = float(far.max(initial=-1.0))
        mutual = int(found[:, best].argmax()) == i
        if mutual and row[best] >= max(LEAST_CORRELATION, elsewhere + LEAST_LEAD):
            top, left = locate(pictures[i], slices[best], size)
            cuts.append(Cut(i, best, top, left, float(row[best]), elsewhere))
    return cuts


def locate(picture: np.ndarray, whole: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    """Returns the first row and column of a picture in its slice, at the volume's size.

    Args:
      picture: (h, w) uint8, no larger than `size`.
      whole: (H, W) uint8, the slice.
      size: (height, width) of the slice when the picture was cut.
    """
    fit = cv2.matchTemplate(enlarge(whole, size), picture, cv2.TM_CCOEFF_NORMED)
    return divmod(int(fit.argmax()), fit.shape[1])


def cut_out(
    mask: np.ndarray, cut: Cut, shape: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Returns what a mask of whole slices marks on a picture.

    Args:
      mask: (H, W) bool, of the slice in which the picture was found.
      cut: where.
      shape: (h, w) of the picture.
      size: (height, width) in which the volume was when the picture was cut.

    Returns:
      (h, w) bool.
    """
    marked = enlarge(mask.astype(np.uint8) * 255, size) >= 128
    return marked[cut.top : cut.top + shape[0], cut.left : cut.left + shape[1]]


def enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns (H, W) uint8 at another (height, width), bilinear between pixel centres."""
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)


def _shrink(values: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
