"""MedSeg COVID-19 CT: 100 lone slices of many patients, and nine volumes with lungs."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import schema, splits, volume_files
from cosup_jax.data.builder import NO_DATA_NEEDED, Case, CtSliceBuilder, DatasetLayoutError
from cosup_jax.data.volume_files import LabelFile, VolumeFiles
from cosup_jax.scans import nifti, nifti_labels

LABELLED_SLICES = 100
UNLABELLED_SLICES = 10
PUBLISHED_VOLUMES = 9
# The 100 slices are known by nothing else; covid_semiseg has 98 of them.
COLLECTION = "the 100 slices of MedSeg"
MASK_VALUES = {0: 0, 1: 1, 2: 2, 3: 3}
# The publisher does not say which of the two lungs is which number, so neither do we.
LUNG_VALUES = {0: 0, 1: 1, 2: 1}

# How many cases are tested and validated on.
_HELD_OUT = {"slices100": (20, 10), "volumes9": (2, 1)}
_SEED = "medseg_covid"


@dataclass(frozen=True)
class StackedSlice:
    """One slice of a file that is no volume but a stack of slices of different people.

    Attributes:
      image: the file.
      mask: its labels, or None if it has none.
      position: of the slice in the stack.
      count: how many slices the stack should hold.
    """

    image: Path
    mask: Path | None
    position: int
    count: int


class Builder(CtSliceBuilder):
    """Reads the two sets of medicalsegmentation.com as they are published."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(
            name="slices100", version=VERSION, description="set 1: 100 slices, and 10 without masks"
        ),
        tfds.core.BuilderConfig(
            name="volumes9", version=VERSION, description="set 2: nine volumes with lung masks"
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download the sets of https://medicalsegmentation.com/covid19/ and unpack the archives so "
        "that the folder, or one folder in it, holds for the configuration slices100\n"
        "  tr_im.nii.gz, tr_mask.nii.gz, val_im.nii.gz\n"
        "and for volumes9\n"
        "  rp_im/1.nii.gz ... 9.nii.gz\n"
        "  rp_msk/1.nii.gz ... 9.nii.gz\n"
        "  rp_lung_msk/1.nii.gz ... 9.nii.gz\n"
        "(.nii is read as well.) Give the folder with --config.data.source=FOLDER, or to tfds "
        f"build with --manual_dir=FOLDER. {NO_DATA_NEEDED}"
    )
    collection = COLLECTION

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists train, validation and test, and with `slices100` the unlabelled ones."""
        folder = self.source_folder(dl_manager)
        name = self.builder_config.name
        if name == "volumes9":
            return _split(cases_volumes9(folder), *_HELD_OUT[name])
        labelled = _split(cases_slices100(folder), *_HELD_OUT[name])
        return {**labelled, "unlabelled": cases_unlabelled(folder)}

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a case."""
        yield from read_case(case)


def cases_slices100(folder: Path) -> list[Case]:
    """Lists the 100 labelled slices, `slice_000` to `slice_099`, each of an unknown patient.

    Args:
      folder: holds `tr_im.nii.gz` and `tr_mask.nii.gz`, itself or in one folder.

    Raises:
      DatasetLayoutError: a file is missing.
    """
    image, mask = _find_stacks(folder, "tr_im", "tr_mask")
    return _slices("slice", image, mask, LABELLED_SLICES)


def cases_unlabelled(folder: Path) -> list[Case]:
    """Lists the ten slices without masks, `val_slice_000` to `val_slice_009`.

    Args:
      folder: holds `val_im.nii.gz`, itself or in one folder.

    Raises:
      DatasetLayoutError: the file is missing.
    """
    (image,) = _find_stacks(folder, "val_im")
    return _slices("val_slice", image, None, UNLABELLED_SLICES)


def cases_volumes9(folder: Path) -> list[Case]:
    """Lists the volumes, `medseg_rp_1` to `medseg_rp_9`, each of a patient of its own.

    Args:
      folder: holds `rp_im`, `rp_msk` and `rp_lung_msk`, itself or in one folder.

    Raises:
      DatasetLayoutError: a folder or file is missing.
    """
    root = volume_files.find_root(folder, "rp_im", "rp_msk", "rp_lung_msk")
    images, masks, lungs = (
        volume_files.list_volumes(root / name, root) for name in ("rp_im", "rp_msk", "rp_lung_msk")
    )
    volume_files.match(images, masks, root / "rp_msk")
    volume_files.match(images, lungs, root / "rp_lung_msk")
    if len(images) != PUBLISHED_VOLUMES:
        logging.warning(
            "medseg_covid: %s holds %d volumes, but %d were published; the copy is incomplete or "
            "altered, and its splits are others",
            root / "rp_im",
            len(images),
            PUBLISHED_VOLUMES,
        )
    return [
        Case(
            f"medseg_rp_{name}",
            f"medseg_rp_{name}",
            VolumeFiles(
                image,
                (
                    LabelFile(masks[name], mask=MASK_VALUES),
                    LabelFile(lungs[name], lung=LUNG_VALUES),
                ),
            ),
        )
        for name, image in images.items()
    ]


def read_case(case: Case) -> Iterator[dict[str, Any]]:
    """Yields the slices of a case of either set.

    Raises:
      VolumeError: naming the file and what is wrong with it.
    """
    if not isinstance(case.source, StackedSlice):
        yield from volume_files.read_case(case)
        return
    piece = case.source
    stack, masks = _read_stack(piece.image, piece.mask)
    pixels = list(stack.slices())
    if len(pixels) != piece.count:
        raise nifti.VolumeError(
            f"{piece.image}: holds {len(pixels)} slices; expected {piece.count}, as published"
        )
    yield schema.make_example(
        pixels[piece.position],
        intensity=stack.intensity,
        case_id=case.case_id,
        patient_id=case.patient_id,
        mask=None if masks is None else masks[piece.position],
        slope=stack.slope,
        intercept=stack.intercept,
    )


@functools.lru_cache(maxsize=1)
def _read_stack(image: Path, mask: Path | None) -> tuple[nifti.Volume, np.ndarray | None]:
    """Reads a stack once for all of its slices."""
    stack = nifti.read_volume(image)
    return stack, None if mask is None else nifti_labels.read_labels(mask, MASK_VALUES, stack)


def _find_stacks(folder: Path, *names: str) -> list[Path]:
    root = volume_files.find_root(folder, *(f"{name}.nii*" for name in names))
    files = volume_files.list_volumes(root, root)
    for name in names:
        if name not in files:
            raise DatasetLayoutError(f"{root}: no {name}.nii.gz or {name}.nii in it")
    return [files[name] for name in names]


def _slices(name: str, image: Path, mask: Path | None, count: int) -> list[Case]:
    _read_stack.cache_clear()  # the files may have changed since they were last listed
    return [
        Case(f"{name}_{i:03d}", schema.UNKNOWN_PATIENT, StackedSlice(image, mask, i, count))
        for i in range(count)
    ]


def _split(cases: Sequence[Case], test: int, validation: int) -> dict[str, list[Case]]:
    order = splits.ranked((case.case_id for case in cases), _SEED)
    names = {
        "train": order[test + validation :],
        "validation": order[test : test + validation],
        "test": order[:test],
    }
    return {
        split: [case for case in cases if case.case_id in chosen] for split, chosen in names.items()
    }
