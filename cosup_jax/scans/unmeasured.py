"""Voxels without a value (NaN), as resampling and masks leave them around what a scan shows."""

import numpy as np
from scipy import ndimage

_IN_THE_SLICE = ndimage.generate_binary_structure(3, 1) & (np.arange(3) == 1)[:, None, None]


def enclosed(missing: np.ndarray) -> int:
    """Returns how many voxels without a value lie within what a slice shows, not around it.

    Those around it reach the slice's border, or are all of the slice.

    Args:
      missing: (Z, H, W) bool, in the axial view.
    """
    border = missing.copy()
    border[:, 1:-1, 1:-1] = False
    around = ndimage.binary_propagation(border, _IN_THE_SLICE, mask=missing)
    return int(np.count_nonzero(missing & ~around))


def note(missing: np.ndarray) -> str:
    """Returns what is said of those that are around."""
    count = int(np.count_nonzero(missing))
    verb = "has" if count == 1 else "have"
    return f"{_voxels(count)} {verb} no value (NaN), all around what the scan shows: taken for air"


def refusal(count: int) -> str:
    """Returns what is said of those that are enclosed."""
    return f"holds NaN at {_voxels(count)} within what it shows; expected numbers only there"


def _voxels(count: int) -> str:
    return f"{count:,} voxel{'s' * (count != 1)}"
