"""Small NIfTI volumes of phantoms, of which the dummy source files of the datasets are made."""

import functools
from pathlib import Path

import nibabel as nib
import numpy as np

from cosup_jax import phantom

SIZE = 32
SLICES = 3
SPACING = (8.0, 1.5, 1.5)


@functools.cache
def draw(seed: int, *, slices: int = SLICES, infected: bool = True) -> phantom.PhantomVolume:
    """Draws a patient of `slices` axial slices of SIZE × SIZE, which nobody may write to."""
    return phantom.draw_volume(seed, size=SIZE, slices=slices, infected=infected)


def save(path: Path, axial: np.ndarray, orientation: str = "LPS") -> Path:
    """Saves a (Z, H, W) axial array as a NIfTI file whose voxels are stored in `orientation`."""
    z, y, x = SPACING
    lps = nib.Nifti1Image(axial.transpose(2, 1, 0), np.diag([-x, -y, z, 1.0]))
    way = nib.orientations.ornt_transform(
        nib.io_orientation(lps.affine), nib.orientations.axcodes2ornt(orientation)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(lps.as_reoriented(way), path)
    return path


def as_grey8(hu: np.ndarray) -> np.ndarray:
    """Returns HU squeezed into 0..255, as some volumes were before they were published."""
    return np.clip((hu.astype(np.float32) + 1250) * 255 / 1500, 0, 255).astype(np.int16)
