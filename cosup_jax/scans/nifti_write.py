"""Label volumes as NIfTI: on the geometry of a file, or on a grid."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from cosup_jax.scans.geometry import Grid

_STEPS = {"probability": 1 / 255}  # what a stored unit is worth


def write(path: Path, stored: np.ndarray, header: nib.Nifti1Header, step: float) -> None:
    """Writes uint8 voxels in stored order; of the header it says how they lie and nothing else."""
    written = nib.Nifti1Image(np.asarray(stored, np.uint8), None, header, dtype=np.uint8)
    written.header.set_slope_inter(step, 0)
    nib.save(written, path)


def save_on_grid(grid: Grid, folder: Path, result: str, slices: Sequence[np.ndarray]) -> None:
    """Writes a result as NIfTI; nothing but the grid is told of the scan.

    The grid is the sform, of scanner coordinates; a qform could not say how a tilted one lies.

    Args:
      grid: where the voxels lie.
      folder: where to write.
      result: `mask`, `probability` or `classes`, which the file is called by.
      slices: (H, W) uint8 in the axial view of the grid; 0 to 255 in a probability.
    """
    header = nib.Nifti1Header()
    header["pixdim"][1:4] = nib.affines.voxel_sizes(grid.affine)
    header.set_sform(grid.affine, 1)
    header.set_xyzt_units("mm")
    stored = grid.from_axial(np.stack(slices))
    write(folder / f"{result}.nii.gz", stored, header, _STEPS.get(result, 1.0))
