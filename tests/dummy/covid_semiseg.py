"""A small copy of COVID-SemiSeg: slices of a few pixels under their published names."""

from pathlib import Path

import numpy as np
from PIL import Image

from tfds_builders.covid_semiseg import covid_semiseg_dataset_builder as semiseg

# The published file names.
TEST_NUMBERS = [18, 21, 36, 38, 6, 7, 8, 9, *range(59, 67), *range(68, 100)]
DOCTOR_NUMBERS = [n for n in range(68) if n not in {22, 48, *TEST_NUMBERS}]
VOLUME_SLICES = (
    "Data-1_coronacases_org_001_1",
    "Data-1_coronacases_org_001_12",
    "Data-1_radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm_4",
    "Data-1_radiopaedia_org_covid-19-pneumonia-10_85902_3-dcm_4",
    "Data-1_radiopaedia_org_covid-19-pneumonia-29_86490_1-dcm_2",
    "Data-1_radiopaedia_org_covid-19-pneumonia-29_86491_1-dcm_2",
)
CODES = np.array([[0, 0, 1, 1, 2, 2]] * 5, np.uint8)
SOFT = np.array([[0, 1, 127, 128, 200, 255]] * 5, np.uint8)


def save(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette:
        picture.putpalette(palette)
    picture.save(path)


def draw_labelled(root, part, class_part, numbers):
    for n in numbers:
        grey = np.full(CODES.shape, n, np.uint8)
        save(root / part / "Imgs" / f"{n}.jpg", grey)
        save(root / part / "GT" / f"{n}.png", (CODES > 0).astype(np.uint8) * 255)
        save(root / class_part / "GT" / f"{n}.png", CODES, [0, 0, 0, 255, 0, 0, 0, 255, 0])


def write(folder: Path) -> None:
    """Writes the 98 labelled slices under their names, and six of the 1,600."""
    draw_labelled(folder, semiseg.DOCTOR, semiseg.DOCTOR_CLASSES, DOCTOR_NUMBERS)
    draw_labelled(folder, semiseg.TEST, semiseg.TEST_CLASSES, TEST_NUMBERS)
    for name in VOLUME_SLICES:
        grey = np.full(SOFT.shape, 90, np.uint8)
        save(folder / semiseg.PSEUDO / "Imgs" / f"{name}.jpg", grey)
        save(folder / semiseg.PSEUDO / "GT" / f"{name}.png", SOFT)
