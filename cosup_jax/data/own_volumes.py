"""Volumes of one's own: of which files each is made, and its slices.

Every layout (`volume_layouts`) ends in the same list of volumes, and each of these is read here.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax.data import own_masks, schema, slice_files, volume_cases
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans import dicom_files, find, masks, nifti
from cosup_jax.scans.geometry import SHEARED
from cosup_jax.scans.intensity import IntensityError
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.nifti_labels import OtherGridError, UndeclaredError
from cosup_jax.scans.scan import Scan
from cosup_jax.scans.source import ScanError, Source

LUNG_VALUES = {0: 0, 1: 1, 2: 2, 255: 1}
UNLABELLED = "unlabelled"
IMAGES = "a NIfTI file (.nii, .nii.gz), a folder with one DICOM series, or a zip of one"
MASKS = "a NIfTI file (.nii, .nii.gz) or a DICOM Segmentation"
# What reading a scan and its masks may raise of files in any condition.
BAD = (VolumeError, ScanError, IntensityError, schema.ExampleError, OSError)


@dataclass(frozen=True)
class OwnVolume:
    """One volume, before anything of it is read.

    Attributes:
      case_id: names it.
      patient_id: the person scanned, or `schema.UNKNOWN_PATIENT`.
      image: its file, or all of its DICOM files.
      mask: what is drawn of the infection; empty where nobody has.
      lung: what is drawn of the lungs; empty where nobody has.
      split: the split that it is given for; empty where none is given.
      hu_offset: what is to be added to its values to make them HU; None: the scan tells.
      content: SHA-256 of the scan, by which it is told from others in the same files, as in a zip;
        empty where nobody knows it.
    """

    case_id: str
    patient_id: str
    image: tuple[Path, ...]
    mask: tuple[Path, ...] = ()
    lung: tuple[Path, ...] = ()
    split: str = ""
    hu_offset: float | None = None
    content: str = ""

    def __post_init__(self) -> None:
        """Brings both names into the form in which they are compared."""
        for name in ("case_id", "patient_id"):
            object.__setattr__(self, name, schema.stored_name(getattr(self, name)))


@dataclass(frozen=True)
class Reading:
    """How volumes are read.

    Attributes:
      mask_values: stored value to class, or None where it is not declared (see `masks.read`).
      lung_values: stored value to lung, for the lungs drawn by themselves.
      lungs_in_mask: stored value to lung where the mask's file has the lungs too; else None.
      nearest: masks of another grid are brought to the image's by nearest neighbours.
      lungs_only: slices without lungs are left out.
    """

    mask_values: Mapping[int, int] | None = None
    lung_values: Mapping[int, int] | None = None
    lungs_in_mask: Mapping[int, int] | None = None
    nearest: bool = False
    lungs_only: bool = False


def image_files(path: Path, root: Path | None, where: str) -> tuple[Path, ...]:
    """Returns the files of an image, without opening more of them than the first bytes.

    Args:
      path: a NIfTI file, a folder of DICOM files or a zip.
      root: the folder in which all must lie; None where they may lie anywhere.
      where: what names it in a message.

    Raises:
      DatasetLayoutError: there is no such image, or a file that is none or lies elsewhere.
    """
    if path.is_dir():
        files = [f for f in sorted(path.rglob("*")) if f.is_file() and not _hidden(f, path)]
        found = tuple(file for file in files if _is_dicom(file, root, where))
        if not found:
            raise DatasetLayoutError(f"{where}: {path} holds no DICOM file; expected {IMAGES}")
        return found
    _check_file(path, root, where, IMAGES)
    if not path.name.lower().endswith((*nifti.SUFFIXES, ".zip")):
        raise DatasetLayoutError(
            f"{where}: {path} is no image{masks.to_do(path)}; expected {IMAGES}"
        )
    return (path,)


def path_in(root: Path, name: Any, where: str) -> Path:
    """Returns the path that a table or description names, relative to its folder or absolute.

    Names are compared as `schema.normal_name` has them, where none is spelled alike.

    Raises:
      DatasetLayoutError: no such text, or it leads out of the folder.
    """
    if not isinstance(name, str) or "\0" in name or not name.strip():
        raise DatasetLayoutError(f"{where}: {name!r}; expected a path in {root}")
    path = _as_spelled(root / name)
    if not path.resolve().is_relative_to(root.resolve()):
        raise DatasetLayoutError(f"{where}: {name!r} leads out of {root}; expected a path in it")
    return path


def _as_spelled(path: Path) -> Path:
    """Returns a path as the folders spell it, where that is known and not as it is given."""
    if path.exists() or path.is_symlink() or path == path.parent:
        return path
    folder = _as_spelled(path.parent)
    wanted = schema.normal_name(path.name)
    there = folder.iterdir() if folder.is_dir() else ()
    same = [entry for entry in there if schema.normal_name(entry.name) == wanted]
    return same[0] if len(same) == 1 else path


def mask_files(path: Path, root: Path | None, where: str) -> tuple[Path, ...]:
    """Returns the file of a mask, of which a folder may hold one.

    Raises:
      DatasetLayoutError: as `image_files`.
    """
    if path.is_dir():
        found = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
        if len(found) != 1:
            raise DatasetLayoutError(
                f"{where}: {path} holds {len(found)} files; expected one, {MASKS}"
            )
        path = found[0]
    _check_file(path, root, where, MASKS)
    if not path.name.lower().endswith(nifti.SUFFIXES) and not _is_dicom(path, root, where):
        raise DatasetLayoutError(f"{where}: {path} is no mask{masks.to_do(path)}; expected {MASKS}")
    return (path,)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _check_file(path: Path, root: Path | None, where: str, expected: str) -> None:
    if not path.exists() and not path.is_symlink():
        raise DatasetLayoutError(f"{where}: {path} does not exist; expected {expected}")
    if root is not None:
        slice_files.check_inside(path, root)


def _is_dicom(path: Path, root: Path | None, where: str) -> bool:
    if root is not None:
        slice_files.check_inside(path, root)
    try:
        return dicom_files.looks_like(path)
    except OSError as error:
        raise DatasetLayoutError(f"{where}: {path}: {error.strerror}") from error


def read(volume: OwnVolume, reading: Reading) -> Iterator[dict[str, Any]]:
    """Yields the slices of a volume, from the feet to the head, as examples of the schema.

    All files are read and checked before the first slice is yielded.

    Raises:
      VolumeError: naming the case, the file and what is wrong with it.
    """
    try:
        scan, mask, lung = _read(volume, reading)
        if reading.lungs_only and (lung is None or not np.any(lung)):
            raise VolumeError("has no lungs, by which slices=lungs chooses; expected some drawn")
    except UndeclaredError as error:
        raise VolumeError(
            f"case {volume.case_id!r}: {error} (mask_values declares what each value means)"
        ) from error
    except OtherGridError as error:
        raise VolumeError(
            f"case {volume.case_id!r}: {error} (resample=nearest brings a mask there)"
        ) from error
    except BAD as error:
        raise VolumeError(f"case {volume.case_id!r}: {error}") from error
    yield from volume_cases.examples(
        scan.slices,
        mask,
        lung,
        lungs_only=reading.lungs_only,
        intensity=scan.intensity,
        case_id=volume.case_id,
        patient_id=volume.patient_id,
        spacing=scan.spacing,
        slope=scan.slope,
        intercept=scan.intercept,
    )


def source_of(image: tuple[Path, ...], content: str = "") -> Source:
    """Returns the scan that the files of an image are.

    Args:
      image: its files.
      content: SHA-256 of the scan that is meant, where there may be others in these files.

    Raises:
      VolumeError: they are not one scan, and none of this content.
    """
    first = image[0]
    if first.name.lower().endswith(nifti.SUFFIXES):
        return Source(first, "nifti", image)
    found = find.find_scans(image, Path(os.devnull)).scans
    if len(found) > 1 and content:
        found = [source for source in found if digest_of(source) == content][:1]
    if len(found) != 1:
        place = first if len(image) == 1 else first.parent
        raise VolumeError(f"{place} holds {len(found)} scans; expected one")
    return found[0]


def digest_of(source: Source) -> str:
    """Returns the SHA-256 of a scan's content, or nothing where it cannot be read."""
    try:
        return source.digest()
    except (OSError, VolumeError):
        return ""


def sheared(volumes: Iterable[OwnVolume]) -> dict[str, float]:
    """Returns by case `Grid.shear` of the scans whose grids are sheared, by their headers alone.

    A scan that cannot be read is refused, or left out, where its slices are read.
    """
    found = {}
    for volume in volumes:
        with contextlib.suppress(*BAD):
            shear = source_of(volume.image, volume.content).grid_shear()
            if abs(shear - 1) > SHEARED:
                found[volume.case_id] = shear
    return found


def _read(volume: OwnVolume, reading: Reading) -> tuple[Scan, np.ndarray | None, np.ndarray | None]:
    scan = source_of(volume.image, volume.content).read(volume.hu_offset)

    def drawn(paths: Sequence[Path], values: Mapping[int, int] | None) -> np.ndarray | None:
        if not paths:
            return None
        return own_masks.read(
            paths[0],
            values,
            scan,
            volume.case_id,
            nearest=reading.nearest,
            mask=paths == volume.mask,
        )

    mask = drawn(volume.mask, reading.mask_values)
    if volume.lung:
        try:
            lung = drawn(volume.lung, reading.lung_values or LUNG_VALUES)
        except UndeclaredError as error:
            raise VolumeError(
                f"{error}, of which 1 and 2 are the left and the right lung"
            ) from error
        if mask is not None and lung is not None and _is_lungs(mask, lung):
            raise VolumeError(
                f"{volume.mask[0]}: marks all of the lungs of {volume.lung[0]} and nothing else; "
                "expected a mask of infection"
            )
        return scan, mask, lung
    if reading.lungs_in_mask is not None:
        return scan, mask, drawn(volume.mask, reading.lungs_in_mask)
    return scan, mask, None


def _is_lungs(mask: np.ndarray, lung: np.ndarray) -> bool:
    return bool(mask.any()) and np.array_equal(mask > 0, lung > 0)
