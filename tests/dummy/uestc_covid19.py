"""A small copy of UESTC-COVID-19: ten experts' patients and four with noisy labels."""

from pathlib import Path

import nibabel as nib
import numpy as np

from tests.dummy import volumes

EXPERT = 10
NOISY = 4
ORIENTATIONS = ("LPS", "RAS", "LAI")
WINDOW = (-1400.0, 100.0)


def write(folder: Path) -> None:
    """Writes both parts; their files are named alike, as those published are."""
    root = folder / "UESTC-COVID-19"
    for part, count, first in (("part1", NOISY, 50), ("part2", EXPERT, 0)):
        for i in range(count):
            patient = volumes.draw(first + i, slices=2 + i % 2, infected=True)
            orientation = ORIENTATIONS[i % len(ORIENTATIONS)]
            name = f"{i + 1}.nii.gz"
            volumes.save(root / part / "image" / name, in_window(patient.image), orientation)
            infected = (patient.mask > 0).astype(np.uint8)
            save_without_place(root / part / "label" / name, infected, orientation)


def save_without_place(path: Path, axial: np.ndarray, orientation: str) -> None:
    """Saves labels whose voxels are in the image's order, but whose header knows nothing of it."""
    placed = nib.load(volumes.save(path, axial, orientation))
    nib.save(nib.Nifti1Image(np.asarray(placed.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0])), path)


def in_window(hu: np.ndarray) -> np.ndarray:
    """Returns HU as they were published: the window as float32 of 0..1."""
    lowest, highest = WINDOW
    return ((np.clip(hu, *WINDOW) - lowest) / (highest - lowest)).astype(np.float32)
