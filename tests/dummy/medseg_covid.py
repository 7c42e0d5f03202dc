"""Small copies of the two sets of medicalsegmentation.com."""

from pathlib import Path

import numpy as np

from tests.dummy import volumes

SLICES = 100
UNLABELLED = 10
# How the nine volumes are stored.
ORIENTATIONS = ("LPS", "RAS", "LAS", "RPI", "LPS", "LPI", "RPS", "LAI", "PLS")


def write(folder: Path) -> None:
    """Writes both sets into a folder."""
    patients = [volumes.draw(seed, slices=5) for seed in range(5)]
    images, masks = (
        np.concatenate([getattr(patient, name) for patient in patients])
        for name in ("image", "mask")
    )
    chosen = np.arange(SLICES) % len(images)
    # Published in floating point; here with the number of the slice in a corner.
    stack = images[chosen].astype(np.float32)
    stack[:, 0, 0] = np.arange(SLICES)
    volumes.save(folder / "tr_im.nii.gz", stack)
    volumes.save(folder / "tr_mask.nii.gz", masks[chosen])
    volumes.save(folder / "val_im.nii.gz", stack[:UNLABELLED])
    for i, orientation in enumerate(ORIENTATIONS):
        _write_volume(folder, i, orientation)


def _write_volume(folder: Path, i: int, orientation: str) -> None:
    patient = volumes.draw(i, infected=i % 3 > 0)
    parts = {
        "rp_im": patient.image,
        "rp_msk": patient.mask.astype(np.float32),
        "rp_lung_msk": patient.lung,
    }
    for name, axial in parts.items():
        volumes.save(folder / name / f"{i + 1}.nii.gz", axial, orientation)
