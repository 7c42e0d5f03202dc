"""What is drawn on volumes of one's own, on the voxels of their scans."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import logging

from cosup_jax.scans import masks
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.nifti_labels import UndeclaredError
from cosup_jax.scans.scan import Scan

_AIRY = -750  # HU; half of what healthy lungs hold is below, and next to no infection


def read(
    path: Path,
    values: Mapping[int, int] | None,
    scan: Scan,
    case: str,
    *,
    nearest: bool = False,
    mask: bool = True,
) -> np.ndarray:
    """Reads what is drawn on a scan, and logs what is odd about it.

    Args:
      path: a NIfTI file or a DICOM Segmentation.
      values: stored value, or number of a segment, to class; None: see `masks.read`.
      scan: what it is drawn on.
      case: names it in the log.
      nearest: bring it from another grid by nearest neighbours.
      mask: it is of infection, and not of lungs.

    Returns:
      (Z, H, W) uint8 classes in the axial view.

    Raises:
      VolumeError: it cannot be read, or does not lie on the scan.
      UndeclaredError: it is of infection, and nothing in it is, as far as anybody has said.
    """
    if scan.grid is None:
        raise VolumeError(
            f"{path}: drawn on an image that does not say where its slices lie; expected one that "
            "does"
        )
    drawing = masks.read(path, values)
    if mask and values is None and drawing.notes and not drawing.whole:
        raise UndeclaredError(f"{path}: {drawing.notes[0]}; expected one that is")
    for note in drawing.notes:
        logging.warning("case %r: %s: %s", case, path, note)
    if not scan.placed and not drawing.is_on(scan.grid):
        raise VolumeError(
            f"{path}: drawn on another grid than its image, whose header does not say where it "
            "lies; expected the same grid"
        )
    found, done = drawing.on(scan.grid, nearest=nearest)
    if done:
        outside = drawing.outside(scan.grid)
        if outside and not found.any():
            raise VolumeError(
                f"{path}: all {outside:,} voxels that are drawn lie outside of its image; expected "
                "one drawn on the same scan"
            )
        done += f"; {outside:,} voxels are drawn outside of it" * (outside > 0)
        logging.warning("case %r: %s %s", case, path, done)
    if mask and (density := _median(found, scan)) < _AIRY:
        logging.warning(
            "case %r: %s: half of what it marks is below %.0f HU, as in healthy lungs; is it a "
            "mask of lungs?",
            case,
            path,
            density,
        )
    return found


def _median(mask: np.ndarray, scan: Scan) -> float:
    """Returns the median HU of what is marked; infinite where nothing is, or nobody knows HU."""
    if scan.intensity != "hu" or not mask.any():
        return np.inf
    marked = np.concatenate([scan.values(i)[one > 0] for i, one in enumerate(mask) if one.any()])
    return float(np.median(marked))
