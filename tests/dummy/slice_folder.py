"""A small folder of slices with an index, lungs, and 8- and 16-bit pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.dummy import volumes

PATIENTS = {"train": (0, 1, 2), "val": (3,), "test": (4,)}


def write(folder: Path) -> None:
    """Writes all splits, a phantom for each patient."""
    for split, patients in PATIENTS.items():
        rows = [row for seed in patients for row in _write_patient(folder / split, seed)]
        text = "\n".join(["file,case,patient,slice", *rows])
        (folder / f"{split}_index.csv").write_text(f"{text}\n")


def _write_patient(folder: Path, seed: int) -> list[str]:
    patient = volumes.draw(seed)
    grey = volumes.as_grey8(patient.image)
    image = grey.astype(np.uint16) * 257 if seed % 2 else grey.astype(np.uint8)
    mask = (patient.mask > 0).astype(np.uint8) * 255
    rows = []
    for z in range(volumes.SLICES):
        name = f"scan{seed}_{z:03d}.png"
        for kind, stack in (("image", image), ("mask", mask), ("lung", patient.lung)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(stack[z]).save(folder / kind / name)
        rows.append(f"{name},scan{seed},patient{seed},{z}")
    return rows
