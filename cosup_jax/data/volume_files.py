"""Folders of NIfTI volumes: which files they hold, and the slices of one case."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax.data import slice_files, volume_cases
from cosup_jax.data.builder import Case, DatasetLayoutError
from cosup_jax.scans import nifti, nifti_labels
from cosup_jax.scans.names import volume_name


@dataclass(frozen=True)
class LabelFile:
    """A label volume and the meaning of its values.

    Attributes:
      path: the file.
      mask: stored value to infection class, or None if it says nothing of infection.
      lung: stored value to lung, or None if it says nothing of the lungs.
      header_lies: its header is known to place it wrongly, see `nifti_labels.read_labels`.
    """

    path: Path
    mask: Mapping[int, int] | None = None
    lung: Mapping[int, int] | None = None
    header_lies: bool = False

    def read(self, values: Mapping[int, int], image: nifti.Volume) -> np.ndarray:
        """Returns the labels of an image, (Z, H, W) uint8; see `nifti_labels.read_labels`."""
        return nifti_labels.read_labels(self.path, values, image, header_lies=self.header_lies)


@dataclass(frozen=True)
class VolumeFiles:
    """The files of one case.

    Attributes:
      image: the CT volume.
      labels: what is drawn on it; at most one of them gives the mask, and one the lungs.
      orientation: the direction in which each stored index really grows, such as `LPS`, where the
        headers of the published files are known to be wrong; empty where they are to be believed.
    """

    image: Path
    labels: tuple[LabelFile, ...] = ()
    orientation: str = ""


def find_root(folder: Path, *names: str) -> Path:
    """Returns `folder`, or else the one folder in it, that holds all the files or folders named.

    Args:
      folder: what the user gave.
      names: names, or patterns such as `tr_im.nii*`.

    Raises:
      DatasetLayoutError: there is none, or several folders in it hold them.
    """

    def holds(root: Path) -> bool:
        return all(any(root.glob(name)) for name in names)

    if holds(folder):
        return folder
    found = [path for path in slice_files.visible(folder) if path.is_dir() and holds(path)]
    if len(found) > 1:
        raise DatasetLayoutError(
            f"both {found[0]} and {found[1]} hold {' and '.join(names)}; give the one that is meant"
        )
    if not found:
        raise DatasetLayoutError(
            f"looked in {folder} and the folders in it for {' and '.join(names)} together"
        )
    return found[0]


def list_volumes(folder: Path, root: Path) -> dict[str, Path]:
    """Lists the NIfTI files of a folder, without opening them, by name without suffix.

    Raises:
      DatasetLayoutError: no such folder, no volume in it, a link out of `root`, or two files of one
        name (`.nii` and `.nii.gz`).
    """
    if not folder.is_dir():
        raise DatasetLayoutError(f"{folder}: no such folder; expected one with NIfTI volumes")
    paths = [path for path in folder.iterdir() if path.name.lower().endswith(nifti.SUFFIXES)]
    found = volume_cases.by_name(paths, volume_name)
    for path in found.values():
        slice_files.check_inside(path, root)
    if not found:
        raise DatasetLayoutError(f"{folder}: holds no .nii or .nii.gz file")
    return found


def match(images: Mapping[str, Path], labels: Mapping[str, Path], folder: Path) -> None:
    """Checks that each image has its labels of the same name in `folder`, and no more.

    Raises:
      DatasetLayoutError: naming the first file without a partner, and how many there are.
    """
    lone = [path for name, path in images.items() if name not in labels]
    if lone:
        raise DatasetLayoutError(
            f"{lone[0]}: no labels of it in {folder}; expected some for every volume "
            f"({len(lone)} of {len(images)} without)"
        )
    orphans = [path for name, path in labels.items() if name not in images]
    if orphans:
        raise DatasetLayoutError(
            f"{orphans[0]}: the volume that it belongs to is missing; expected one for every file "
            f"in {folder} ({len(orphans)} of {len(labels)} without)"
        )


def read_case(case: Case) -> Iterator[dict[str, Any]]:
    """Yields the slices of a case whose `source` is a `VolumeFiles`, from the feet to the head.

    All files are read and checked before the first slice is yielded.

    Raises:
      VolumeError: naming the file and what is wrong with it.
    """
    files: VolumeFiles = case.source
    image = nifti.read_volume(files.image)
    mask = lung = None
    for labels in files.labels:
        if labels.mask is not None:
            mask = labels.read(labels.mask, image)
        if labels.lung is not None:
            lung = labels.read(labels.lung, image)
    grid = image.grid.stored_as(files.orientation) if files.orientation else image.grid

    def upright(axial: np.ndarray | None) -> np.ndarray | None:
        return None if axial is None else grid.to_axial(image.grid.from_axial(axial))

    yield from volume_cases.examples(
        grid.to_axial(image.stored),
        upright(mask),
        upright(lung),
        intensity=image.intensity,
        case_id=case.case_id,
        patient_id=case.patient_id,
        spacing=grid.spacing,
        slope=image.slope,
        intercept=image.intercept,
    )
