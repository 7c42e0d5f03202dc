"""The slices that weights are judged on, by kind of input, none of a patient trained on."""

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosup_jax import phantom
from cosup_jax.data import preprocess
from cosup_jax.scans import images
from tfds_builders.covid_semiseg.covid_semiseg_dataset_builder import (
    DOCTOR,
    TEST,
    upright,
    validation_names,
)

MASK_VALUES = {0: 0, 255: 1}
LUNG_VALUES = {0: 0, 1: 1, 2: 1, 255: 1}
MARGIN = 4  # pixels around the box of the lungs
LEAST_LUNG = 200  # pixels; with fewer the box says nothing
HEALTHY = "normal3"  # of normal_slices, who is validated on
PHANTOMS = range(5000, 5006)


class Piece(NamedTuple):
    """One slice to be scored.

    Attributes:
      image: (H, W) float32 in its true unit.
      mask: (H, W) bool.
      lung: (H, W) bool, or None where nobody has marked them.
      patient: whose it is.
      volume: which volume it is of, whose slices come one after another; empty for a single slice.
      intensity: one of `kinds.INTENSITIES`.
    """

    image: np.ndarray
    mask: np.ndarray
    lung: np.ndarray | None
    patient: str
    volume: str = ""
    intensity: str = "grey8"


def validation(data: Path) -> dict[str, list[Piece]]:
    """Reads the sets that the epoch and the threshold are chosen by, by name."""
    return {
        "COVID-CT-Seg, equalised": list(slice_folder(data / "covid_ct_seg_slices" / "val")),
        "MedSeg, in the lung window": list(slice_folder(data / "medseg_volumes" / "val")),
        "COVID-SemiSeg, the five": list(semiseg(data / "covid_semiseg" / DOCTOR, five=True)),
        "healthy, in the lung window": list(healthy(data / "normal_slices" / "image")),
    }


def kinds_of_input(medseg: list[Piece], equalised: list[Piece]) -> dict[str, list[Piece]]:
    """Makes other kinds of input of the validation slices, by name."""
    changes: Mapping[str, Callable[[np.ndarray], tuple[np.ndarray, str]]] = {
        "MedSeg in HU": lambda grey: (as_hu(grey), "hu"),
        "MedSeg with 16 bits": lambda grey: (grey * 257, "grey16"),
        "MedSeg with a flat histogram": lambda grey: (flat(grey), "grey8"),
    }
    made = {
        "COVID-CT-Seg, equalised, cropped to the lungs": [crop(p) for p in equalised],
        "MedSeg, cropped to the lungs": [crop(p) for p in medseg],
    }
    for name, change in changes.items():
        made[name] = []
        for piece in medseg:
            image, intensity = change(piece.image)
            made[name].append(piece._replace(image=image, intensity=intensity))
    return made


def slice_folder(folder: Path) -> Iterator[Piece]:
    """Yields the slices of a split with lungs, in the order of its index."""
    with folder.with_name(f"{folder.name}_index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        image = images.read_grey(folder / "image" / row["file"]).astype(np.float32)
        mask = images.read_labels(folder / "mask" / row["file"], MASK_VALUES) > 0
        lung = images.read_labels(folder / "lung" / row["file"], LUNG_VALUES) > 0
        yield Piece(image, mask, lung, row["patient"], row["case"])


def semiseg(folder: Path, *, five: bool = False) -> Iterator[Piece]:
    """Yields expert-labelled slices of COVID-SemiSeg, upright.

    Nobody has said whose they are, so each is taken for a patient.
    """
    files = sorted((folder / "Imgs").iterdir())
    kept = validation_names([path.stem for path in files])
    for path in files:
        if not five or path.stem in kept:
            mask = images.read_labels(folder / "GT" / f"{path.stem}.png", MASK_VALUES) > 0
            image, mask = (
                upright(part, from_back=False) for part in (images.read_grey(path), mask)
            )
            yield Piece(image.astype(np.float32), mask, None, path.stem)


def semiseg_test(data: Path) -> list[Piece]:
    """Reads COVID-SemiSeg's 48 test slices, to be scored once for each file that ships."""
    return list(semiseg(data / "covid_semiseg" / TEST))


def healthy(folder: Path) -> Iterator[Piece]:
    """Yields the slices of the person without pneumonia who is validated on."""
    for path in sorted(folder.glob(f"{HEALTHY}_*.png")):
        image = images.read_grey(path).astype(np.float32)
        yield Piece(image, np.zeros(image.shape, bool), None, HEALTHY, HEALTHY)


def phantoms() -> list[Piece]:
    """Draws phantoms with infection in HU, of patients that no data set of the package holds."""
    pieces = []
    for seed in PHANTOMS:
        volume = phantom.draw_volume(seed, infected=True)
        for image, mask in zip(volume.image, volume.mask, strict=True):
            true = image.astype(np.float32)
            pieces.append(Piece(true, mask > 0, None, str(seed), str(seed), "hu"))
    return pieces


def crop(piece: Piece) -> Piece:
    """Cuts a slice to the box around its lungs; without lungs it stays whole."""
    if piece.lung is None or np.count_nonzero(piece.lung) < LEAST_LUNG:
        return piece
    box = around(piece.lung)
    return piece._replace(image=piece.image[box], mask=piece.mask[box], lung=piece.lung[box])


def around(lung: np.ndarray) -> tuple[slice, slice]:
    """Returns rows and columns of the box of what is marked in (H, W), with a margin."""
    rows, columns = (np.flatnonzero(lung.any(axis=axis)) for axis in (1, 0))
    first = max(0, rows[0] - MARGIN), max(0, columns[0] - MARGIN)
    return (
        slice(first[0], rows[-1] + 1 + MARGIN),
        slice(first[1], columns[-1] + 1 + MARGIN),
    )


def as_hu(grey: np.ndarray) -> np.ndarray:
    """Returns HU of grey values 0..255 in the lung window; what it had cut off stays cut off."""
    centre, width = preprocess.LUNG_WINDOW
    return grey / 255 * width + centre - width / 2


def flat(grey: np.ndarray) -> np.ndarray:
    """Returns grey values 0..255 with a flat histogram, (H, W) float32."""
    counts = np.bincount(grey.astype(np.intp).ravel(), minlength=256)
    return (255 * np.cumsum(counts) / grey.size)[grey.astype(np.intp)].astype(np.float32)
