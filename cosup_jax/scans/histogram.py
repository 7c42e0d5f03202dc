"""The pattern that the histogram of a body's CT follows, and how well values follow it.

Air is −1000 HU, fat about −105, muscle and blood 20 to 70, lung between −950 and −700. Single
values that stand out of their neighbours (padding, or where a scale was cut off) count little.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

AIR = -1000.0  # HU
BIN = 8  # HU

_FIRST, _LAST = -1400, 2400  # HU
_FLOOR = 1e-6  # density of values that no tissue has
LEAST_SHARE = 0.02  # of the voxels, for air and lung and for soft tissue
_FEWEST_KEPT = 0.05  # of the voxels, or single values are all that there is
_PEAK = 17  # values over which counts are smoothed
_FLANK = 40  # values on each side of a peak
_HEAP = 5  # times as often as any of the next values is a value at which a scale was cut off
_CUT = 0.4  # of what lies above a peak must lie below it, or it is where a scale was cut off


class Histogram(NamedTuple):
    """How often values occur.

    Attributes:
      lowest: the first value, a multiple of `BIN`.
      counts: voxels of each whole value from `lowest` on; a multiple of `BIN` long.
      slices: (slices, bins) the same in bins, single values that stand out being cut.
    """

    lowest: int
    counts: np.ndarray
    slices: np.ndarray

    def share(self, low: float, high: float) -> float:
        """Returns the share of voxels between two values."""
        start, end = self._places(low, high)
        return float(self.counts[start:end].sum() / self.counts.sum())

    def has_air_and_tissue(self, offset: float) -> bool:
        """Whether there are air (or lung) and soft tissue in HU + `offset`."""
        air = self.share(offset - 1100, offset - 500)
        return min(air, self.share(offset - 150, offset + 250)) >= LEAST_SHARE

    def scaled(self, factor: float) -> "Histogram":
        """Returns the histogram of the values times a factor, rounded; it knows no slices."""
        places = np.flatnonzero(self.counts)
        values = np.rint((places + self.lowest) * factor).astype(np.int64)
        start = int(values.min()) // BIN * BIN
        size = (int(values.max()) - start) // BIN * BIN + BIN
        counts = np.bincount(values - start, self.counts[places], size).astype(np.int64)
        return Histogram(start, counts, self.slices[:0])

    def unwrapped(self, period: int) -> "Histogram":
        """Returns that of values whose upper half is negative numbers plus `period`."""
        places = np.flatnonzero(self.counts)
        values = places + self.lowest
        values = np.where(values >= period // 2, values - period, values)
        start = int(values.min()) // BIN * BIN
        size = (int(values.max()) - start) // BIN * BIN + BIN
        counts = np.bincount(values - start, self.counts[places], size).astype(np.int64)
        return Histogram(start, counts, self.slices[:0])

    def cut_off(self) -> float:
        """Returns the share of voxels at the lowest value, where they are heaped; 0 elsewhere."""
        first = int(np.flatnonzero(self.counts)[0])
        heap, near = self.counts[first], self.counts[first + 1 : first + 1 + BIN]
        heaped = heap > _HEAP * near.max(initial=0)
        return float(heap / self.counts.sum()) if heaped else 0.0

    def peak(self, low: float, high: float) -> int | None:
        """Returns the commonest value between two; None where the scale was cut off there."""
        counts = _cap(self.counts, 1)
        smooth = np.convolve(counts, np.ones(_PEAK) / _PEAK, "same")
        start, end = self._places(low, high)
        if start >= end or not smooth[start:end].any():
            return None
        place = start + int(np.argmax(smooth[start:end]))
        below = counts[max(0, place - _FLANK) : place].sum()
        above = counts[place + 1 : place + 1 + _FLANK].sum()
        return None if below < _CUT * above else place + self.lowest

    def fits(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns offsets in HU, and how well the values fit HU + each of them.

        That is the mean logarithm of the pattern's density over that of values which no tissue has,
        in nats.
        """
        return fits(self.counts, self.lowest)

    def fits_of_slices(self, offset: float) -> np.ndarray:
        """Returns how well each slice fits HU + `offset`, and 0 where little is in it."""
        bins = np.arange(self.slices.shape[1]) * BIN + self.lowest - offset
        place = np.floor((bins - _FIRST) / BIN).astype(int)
        inside = (place >= 0) & (place < _WEIGHTS.size)
        weights = np.where(inside, _WEIGHTS[np.clip(place, 0, _WEIGHTS.size - 1)], 0)
        return self.slices @ weights.astype(np.float32) / np.maximum(self.slices.sum(1), 1)

    def _places(self, low: float, high: float) -> tuple[int, int]:
        start, end = (int(np.clip(v - self.lowest, 0, self.counts.size)) for v in (low, high))
        return start, end


def count(
    slices: Sequence[np.ndarray], slope: float, intercept: float, lowest: float, highest: float
) -> Histogram:
    """Counts the values `stored * slope + intercept` of slices, rounded to whole numbers.

    Args:
      slices: real numbers of any shape.
      slope: see above.
      intercept: see above.
      lowest: the smallest value.
      highest: the largest one.
    """
    start = int(np.floor(lowest)) // BIN * BIN
    size = (int(np.ceil(highest)) - start) // BIN * BIN + BIN
    counts = np.zeros(size, np.int64)
    binned = np.zeros((len(slices), size // BIN), np.float32)
    for i, pixels in enumerate(slices):
        if slope == 1 and float(intercept).is_integer() and pixels.dtype.kind in "iu":
            index = pixels.ravel().astype(np.intp) + (int(intercept) - start)
        else:
            index = np.rint(pixels.ravel() * slope + (intercept - start)).astype(np.intp)
        here = np.bincount(index, minlength=size)
        counts += here
        binned[i] = _cap(here, 2).reshape(-1, BIN).sum(1)
    return Histogram(start, counts, binned)


def are_whole(slices: Sequence[np.ndarray], slope: float, intercept: float) -> bool:
    """Whether all values `stored * slope + intercept` are whole numbers."""
    if not (float(slope).is_integer() and float(intercept).is_integer()):
        return False
    return all(bool((pixels == np.rint(pixels)).all()) for pixels in slices)


def fits(counts: np.ndarray, lowest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `Histogram.fits` does, of counts of a multiple of `BIN` values."""
    capped = _cap(counts, 2)
    if capped.sum() < _FEWEST_KEPT * counts.sum():
        capped = counts.astype(np.float64)
    binned = capped.reshape(-1, BIN).sum(1)
    found = np.correlate(binned, _WEIGHTS, "full") / max(float(binned.sum()), 1.0)
    offsets = (np.arange(found.size) - (_WEIGHTS.size - 1)) * BIN + lowest - _FIRST
    return offsets, found


def _cap(counts: np.ndarray, times: int) -> np.ndarray:
    """Returns float64 counts of which none is more than so many times its near neighbours'."""
    padded = np.pad(counts, 3)
    near = np.max([padded[i : i + counts.size] for i in (0, 1, 2, 4, 5, 6)], axis=0)
    return np.minimum(counts, times * near).astype(np.float64)


def _pattern() -> np.ndarray:
    """Returns the log density of a body's CT over the floor, per `BIN` HU from `_FIRST` on."""
    hu = np.arange(_FIRST, _LAST, BIN) + BIN / 2

    def normal(mean: float, deviation: float) -> np.ndarray:
        return np.exp(-0.5 * ((hu - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))

    density = (
        0.25 * normal(AIR, 25)
        + 0.18 * normal(-860, 70)
        + 0.06 * normal(-750, 150)
        + 0.06 * ((hu > -900) & (hu < 0)) / 900
        + 0.12 * normal(-105, 25)
        + 0.27 * normal(40, 40)
        + 0.06 * np.where(hu > 60, np.exp(-(hu - 60) / 250) / 250, 0)
    )
    return np.log(np.maximum(density, _FLOOR) / _FLOOR)


_WEIGHTS = _pattern()
