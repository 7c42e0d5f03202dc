"""The lungs of a CT volume in HU, by what lung looks like and what surrounds it.

Worked out on a coarse grid, since a share of the lung needs no fine border. Lung is neither pure
air (around the body, under a blanket, in the bowel) nor tissue, varies in density by its vessels,
and does not lie open to the air. What is found grows back to its border, right and left are parted
by an erosion, and a closing takes in vessels and small consolidations. Airways inside the lungs and
effusions are not told apart.

Lung without air looks like any tissue. A network that has seen experts' lungs adds it: what it
finds beside the lungs with air, unless that is a mere rim, since their border is better told by the
air. Where it misses much of what was found by the air, one of the two is wrong, and none is told.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cosup_jax import metrics
from cosup_jax.prediction import distances
from cosup_jax.prediction.lung_tissue import TISSUE, LungError, lung_tissue, regrow
from cosup_jax.weights import lung_network

LEFT, RIGHT = 1, 2
EITHER = 1
REACH = 5.0  # mm; marks further from the lungs are outside of them

_CROSS = ndimage.generate_binary_structure(3, 1)
_COARSE = 2.5  # mm, the sides of a coarse voxel where the volume's own are smaller
_DEPTHS = (2.0, 4.0, 6.0, 8.0, 10.0, 13.0)  # mm of erosion tried until right and left come apart
_CLOSING = 6.0  # mm
_LARGEST_ML = 12_000.0
_RIM = 4.0  # mm inside their slice; dense lung is thicker than twice that, borders differ by less
_RIM_PIXELS = 1.5  # where these are more
_EVEN = 0.5  # mm more outwards than inwards, so that straight borders come back
_LEAST_ML = 2.0  # of a part of dense lung
_LEAST_MM2 = 100.0  # of the network's lungs in a slice that shows lung
_MISSED = 0.2  # of the lungs found by air; where the network leaves out more, nothing is told
_SMALLER_LUNG = 0.35  # of the larger one at least, or it is dense, missing, or something else
_ONE_SIDE = 0.9  # of what was found, on one side of the body's middle, is one lung only


class Lungs(NamedTuple):
    """The lungs of one volume.

    Attributes:
      labels: (Z, H, W) uint8: 0 outside, `LEFT` or `RIGHT` (of the patient); where they could not
        be told apart, `EITHER`.
      apart: whether right and left are told apart.
      dense_ml: how much of them a network has added.
      extent: the first slice and the last in which air or network show lung; None: as labelled.
    """

    labels: np.ndarray
    apart: bool
    dense_ml: float = 0.0
    extent: tuple[int, int] | None = None


# From slices (H, W) in HU, axial, and spacing (z, y, x) in mm to lungs, or a `LungError`.
Finder = Callable[[Sequence[np.ndarray], tuple[float, float, float]], Lungs]
# From coarse (Z, H, W) HU and the sides of a voxel in mm to (Z, H, W) bool.
Network = Callable[[np.ndarray, Sequence[float]], np.ndarray]


def find(
    slices: Sequence[np.ndarray] | np.ndarray,
    spacing: tuple[float, float, float],
    network: Network | None = None,
) -> Lungs:
    """Finds the lungs.

    Args:
      slices: (H, W) each, of one size, in HU, in the axial view: columns run from the patient's
        right to the left.
      spacing: voxel spacing (z, y, x) in mm.
      network: finds them whatever is dense in them; None: lungs are what has air.

    Raises:
      NoLungsError: nothing in the picture looks like lung.
      LungError: the picture is too small or of an odd contrast; there is air in one lung only; no
        plausible volume; the network finds other lungs.
    """
    volume, steps = np.asarray(slices), _steps(spacing)
    coarse = _shrink(volume, steps)
    sides = [n * side for n, side in zip(steps, spacing, strict=True)]
    lowest = float(volume.min())
    lung, beyond = lung_tissue(coarse, sides, lowest)
    seeds, apart = _seeds(lung, sides)
    labels = regrow(lung, seeds, math.inf, sides)
    for label in (LEFT, RIGHT) if apart else (EITHER,):
        closed = _close(labels == label, sides)
        labels[closed & (labels == 0) & ~beyond] = label
    _check(labels, apart, coarse, metrics.voxel_ml(sides))
    if network is None:
        return Lungs(_enlarge(labels, steps, volume.shape), apart)
    found = network(coarse, sides) & ~beyond
    dense = _dense(labels > 0, found, sides)
    labels = np.where(dense, regrow(dense, labels, math.inf, sides), labels)
    areas = np.count_nonzero(found, axis=(1, 2)) * sides[1] * sides[2]
    shown = np.flatnonzero((areas >= _LEAST_MM2) | labels.any((1, 2)))
    extent = int(shown[0]) * steps[0], min(int(shown[-1] + 1) * steps[0], len(volume)) - 1
    dense_ml = int(np.count_nonzero(dense)) * metrics.voxel_ml(sides)
    return Lungs(_enlarge(labels, steps, volume.shape), apart, dense_ml, extent)


def find_by_both(
    slices: Sequence[np.ndarray] | np.ndarray, spacing: tuple[float, float, float]
) -> Lungs:
    """Finds the lungs as `find`, with the network that comes with the package."""
    return find(slices, spacing, lung_network.shipped())


def begun(
    find: Finder,
    slices: Sequence[np.ndarray],
    spacing: tuple[float, float, float],
    pool: Executor,
) -> Finder:
    """Begins to find the lungs of a scan beside other work.

    Args:
      find: finds them.
      slices: as for `find`.
      spacing: as for `find`.
      pool: does the work.

    Returns:
      a finder for this scan alone, which waits for what is found and answers as often as asked.
    """
    found = pool.submit(find, slices, spacing)
    return lambda *_: found.result()


def reach(
    labels: np.ndarray,
    spacing: tuple[float, float, float],
    distance: float,
    here: distances.Box | None = None,
) -> np.ndarray:
    """Returns (Z, H, W) bool: the lungs and what is so near to them, to a coarse voxel.

    Args:
      labels: as of `Lungs`.
      spacing: voxel spacing (z, y, x) in mm.
      distance: mm.
      here: the box of the picture that is wanted, if not all of it.
    """
    steps = _steps(spacing)
    sides = [n * side for n, side in zip(steps, spacing, strict=True)]
    coarse = labels[:: steps[0], :: steps[1], :: steps[2]] > 0
    return _enlarge(distances.near(coarse, sides, distance), steps, labels.shape, here)


def _steps(spacing: tuple[float, float, float]) -> list[int]:
    return [max(1, round(_COARSE / side)) for side in spacing]


def _shrink(volume: np.ndarray, steps: list[int]) -> np.ndarray:
    """Returns float32 means of the rows and columns of every `steps[0]`th slice; edges are cut."""
    _, dy, dx = steps
    height, width = (n // step for n, step in zip(volume.shape[1:], (dy, dx), strict=True))
    if 0 in (height, width):
        raise LungError(f"no lungs told: slices of {volume.shape[2]} × {volume.shape[1]} pixels")
    kept = volume[:: steps[0], : height * dy, : width * dx]
    parts = kept.reshape(len(kept), height, dy, width, dx)
    return parts.mean((2, 4), dtype=np.float32)


def _enlarge(
    labels: np.ndarray,
    steps: list[int],
    shape: tuple[int, ...],
    here: distances.Box | None = None,
) -> np.ndarray:
    for axis in (2, 1, 0):  # columns while there are few rows, rows while there are few slices
        index = np.minimum(np.arange(shape[axis]) // steps[axis], labels.shape[axis] - 1)
        labels = np.take(labels, index if here is None else index[here[axis]], axis)
    return labels


def _seeds(lung: np.ndarray, sides: list[float]) -> tuple[np.ndarray, bool]:
    """Returns the labelled core of each lung, and if there are two."""
    inner = distances.depth(lung, sides)
    for depth in (0.0, *_DEPTHS):
        parts, _ = ndimage.label(inner > depth)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        by_size = np.argsort(sizes)[::-1][:3]
        large = sizes[by_size] >= _SMALLER_LUNG * max(1, sizes.max())
        if large.sum() != 2:
            continue
        centres = [float(np.nonzero(parts == part)[2].mean()) for part in by_size[:2]]
        right, left = (by_size[i] for i in np.argsort(centres))
        if abs(centres[0] - centres[1]) > lung.shape[2] / 10:
            seeds = np.zeros(lung.shape, np.uint8)
            seeds[parts == right], seeds[parts == left] = RIGHT, LEFT
            return seeds, True
    return lung.astype(np.uint8) * np.uint8(EITHER), False


def _close(lung: np.ndarray, sides: list[float]) -> np.ndarray:
    """Returns a lung with its holes filled and its bays closed up to twice `_CLOSING` mm."""
    here, closed = distances.box(lung), np.zeros_like(lung)
    margin = [math.ceil(_CLOSING / side) + 1 for side in sides]
    padded = np.pad(lung[here], [(m, m) for m in margin])
    near = distances.near(padded, sides, _CLOSING)
    kept = distances.deeper(near, sides, _CLOSING)[tuple(slice(m, -m) for m in margin)]
    closed[here] = [ndimage.binary_fill_holes(part) for part in kept | lung[here]]
    return closed


def _dense(lung: np.ndarray, found: np.ndarray, sides: list[float]) -> np.ndarray:
    """Returns what a network finds beside the lungs with air, rims and specks left out."""
    missed = np.count_nonzero(_thick(lung & ~found, sides))
    if missed > _MISSED * np.count_nonzero(lung):
        raise LungError(
            f"no lungs told: a network takes {100 * missed / np.count_nonzero(lung):.0f} % of what "
            "looks like lung for something else"
        )
    parts, _ = ndimage.label(_thick(found & ~lung, sides), _CROSS)
    kept = np.bincount(parts.ravel()) * metrics.voxel_ml(sides) >= _LEAST_ML
    touching = np.unique(parts[ndimage.binary_dilation(lung, _CROSS)])
    kept &= np.isin(np.arange(len(kept)), touching)
    kept[0] = False
    return kept[parts]


def _thick(part: np.ndarray, sides: list[float]) -> np.ndarray:
    """Returns a part without what is nowhere deeper than a rim within its slice."""
    kept, rim = np.zeros_like(part), max(_RIM, _RIM_PIXELS * max(sides[1:]))
    for z in np.flatnonzero(part.any((1, 2))):
        inner = distances.deeper(part[z], sides[1:], rim)
        kept[z] = part[z] & distances.near(inner, sides[1:], rim + _EVEN)
    return kept


def _check(labels: np.ndarray, apart: bool, coarse: np.ndarray, voxel_ml: float) -> None:
    """Refuses lungs that cannot be all of them."""
    total = np.count_nonzero(labels) * voxel_ml
    if not apart:
        columns = np.nonzero(coarse > TISSUE)[2]
        right = np.count_nonzero(labels[..., : int(np.median(columns))]) * voxel_ml
        if max(right, total - right) > _ONE_SIDE * total:
            raise LungError("air in one lung only: the other is dense, missing or cut off")
    if total > _LARGEST_ML:
        raise LungError(f"no lungs told: {total:,.0f} mL are no human's")
