"""Where a scan comes from, how it is read, and how its results are written.

A scan is one NIfTI file, one DICOM series, or one folder of slices. Whatever it is, it is read into
slices of the axial view, and its results are written on its own grid.
"""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cosup_jax.scans import (
    dicom_files,
    images,
    intensity,
    labels,
    nifti,
    nifti_write,
    series_geometry,
    zips,
)
from cosup_jax.scans.dicom_files import Part
from cosup_jax.scans.geometry import SIDES
from cosup_jax.scans.scan import Scan

if TYPE_CHECKING:
    from cosup_jax.scans.dicom_series import Stack

_CHUNK = 1 << 20
# Of slices, by their type.
_BITS = {
    "uint8": "8",
    "uint16": "16",
    "int16": "16 signed",
    "int32": "32 signed",
    "float32": "32 floating",
}
# Red, green and blue of the background and of the classes 1, 2, 3, as in the figures.
_COLOURS = (0, 0, 0, 230, 64, 64, 64, 204, 89, 77, 140, 242)


class ScanError(ValueError):
    """Something that is no scan, or cannot be one; the message names it."""


@dataclass(frozen=True)
class Source:
    """Where a scan comes from.

    Attributes:
      path: the file or folder.
      kind: `nifti`, `dicom` or `slices`.
      files: its files; a zip is one.
      name: what its results are called; empty for DICOM, whose names may be those of patients,
        unless they are asked for.
      part: which of the scans that lie there, in a text that stays the same and names nobody;
        empty where there can be only one.
      member: the NIfTI file of a zip.
      stack: the images of a DICOM series; None: all of its files are meant.
      fault: why it cannot be read, where that is known already.
    """

    path: Path
    kind: str
    files: tuple[Path, ...] = field(repr=False)
    name: str = ""
    part: str = ""
    member: Part | None = field(default=None, repr=False)
    stack: "Stack | None" = field(default=None, repr=False, compare=False)
    fault: str = ""

    def digest(self) -> str:
        """Returns the SHA-256 of its content, in hexadecimal digits; reads all of it.

        Raises:
          VolumeError, OSError: a file cannot be read.
        """
        if self.stack is not None:
            parts = dict.fromkeys(image.part for image in self.stack.images)
            frames = sorted(image.frame for image in self.stack.images if image.frame is not None)
            chosen = f"{frames}" if self.stack.part and frames else ""
            return dicom_files.digest([*parts], chosen)
        if self.member is not None:
            return dicom_files.digest([self.member])
        total = hashlib.sha256(self.kind.encode())
        for path in self.files:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    total.update(chunk)
            total.update(path.name.encode() if self.kind == "slices" else b"")
        return total.hexdigest()

    def read(self, hu_offset: float | None = None) -> Scan:
        """Reads the scan.

        Args:
          hu_offset: what is to be added to the values to make them HU; None: header and values
            tell.

        Raises:
          VolumeError, ImageError, ScanError: naming the file and what is wrong with it.
          IntensityError: the values are no HU, and not surely anything else.
        """
        if self.fault:
            raise ScanError(self.fault)
        if self.member is not None:
            with zips.unpacked(self.path, self.member) as path:
                return _read_nifti(path, hu_offset, self.member)
        if self.kind == "nifti":
            return _read_nifti(self.files[0], hu_offset)
        if self.kind == "slices":
            return _read_slices(self.files, hu_offset)
        return _read_dicom(self, hu_offset)

    def grid_shear(self) -> float:
        """Returns `Grid.shear` of its voxels, by the headers alone; 1 of pictures.

        Raises:
          VolumeError, ScanError: naming the file and what is wrong with it.
        """
        if self.fault:
            raise ScanError(self.fault)
        if self.member is not None:
            with zips.unpacked(self.path, self.member) as path:
                return _nifti_shear(path)
        if self.kind == "nifti":
            return _nifti_shear(self.files[0])
        if self.stack is None:
            return 1.0
        return series_geometry.sort([image.plane for image in self.stack.images]).grid.shear


def _nifti_shear(path: Path) -> float:
    return nifti.place_of(nifti.read_header(path), path).grid.shear


def _read_nifti(path: Path, hu_offset: float | None, member: Part | None = None) -> Scan:
    volume = nifti.read_volume(path, hu_offset=hu_offset)
    slices = list(volume.slices())
    if (volume.slope, volume.intercept) == (1.0, 0.0) and labels.are_labels(slices):
        raise ScanError(
            f"{path}: holds whole numbers, few or in runs, as label maps do; expected a CT volume"
        )

    def save(folder: Path, result: str, slices: Sequence[np.ndarray]) -> None:
        step = 1 / 255 if result == "probability" else 1.0
        with nullcontext(path) if member is None else zips.unpacked(member.path, member) as like:
            nifti.write_labels(folder / f"{result}.nii.gz", np.stack(slices), like, step=step)

    place = volume.place
    no_size = place.no_size or place.by_default
    unknown = {"sides": place.no_sides or place.by_default, "size": no_size}
    return Scan(
        slices=slices,
        intensity=volume.intensity,
        save=save,
        slope=volume.slope,
        intercept=volume.intercept,
        spacing=None if no_size else volume.grid.spacing,
        notes=(*place.notes, *volume.judgement.notes),
        unknown={what: why for what, why in unknown.items() if why}
        | _no_density(volume.judgement.no_density),
        shear=volume.grid.shear,
        grid=volume.grid,
        placed=place.known and not place.by_default,
    )


def _no_density(why: str) -> dict[str, str]:
    return {"density": why} if why else {}


def _read_slices(files: Sequence[Path], hu_offset: float | None) -> Scan:
    stems = [path.stem for path in files]
    for path in files:
        if stems.count(path.stem) > 1:
            raise ScanError(f"{path}: another slice is called {path.stem} too; rename one of them")
    pixels = [images.read_slice(path) for path in files]
    masks = labels.are_masks(pixels)
    if all(masks):
        raise ScanError(f"{files[0]}: the slices hold few values, as masks do; expected a CT")
    kinds = [str(array.dtype) for array in pixels]
    if odd := next((p for p, kind in zip(files, kinds, strict=True) if kind != kinds[0]), None):
        found_bits = " and ".join(bits for kind, bits in _BITS.items() if kind in kinds)
        raise ScanError(
            f"{odd}: {found_bits} bits among the slices of one scan; expected one of them"
        )
    grey = {"uint8": "grey8", "uint16": "grey16"}.get(kinds[0], "")
    found = intensity.judge(pixels, offset=hu_offset, grey=grey)
    return Scan(
        slices=pixels,
        intensity=found.kind,
        save=partial(_save_slices, stems),
        intercept=found.offset,
        notes=(*_among(masks), *found.notes),
        unknown=_no_density(found.no_density),
    )


def _among(masks: Sequence[bool]) -> list[str]:
    if not any(masks):
        return []
    return [
        f"{sum(masks)} of {len(masks)} slices hold few values, as masks do (the first is number "
        f"{masks.index(True) + 1}): if they are masks, take them out"
    ]


def _save_slices(
    stems: Sequence[str], folder: Path, result: str, slices: Sequence[np.ndarray]
) -> None:
    (folder / result).mkdir()
    for stem, pixels in zip(stems, slices, strict=True):
        picture = Image.fromarray(pixels * np.uint8(255) if result == "mask" else pixels)
        if result == "classes":
            picture.putpalette(_COLOURS)
        picture.save(folder / result / f"{stem}.png")


def _read_dicom(source: Source, hu_offset: float | None) -> Scan:
    try:
        from cosup_jax.scans import dicom, dicom_seg
    except ImportError as error:
        raise ScanError(
            f"reading DICOM needs {error.name}; install it with: pip install 'cosup-jax[dicom]'"
        ) from error
    if source.stack is None:
        found = dicom.read_series(source.files, hu_offset=hu_offset)
    else:
        found = dicom.read_stack(source.stack, hu_offset=hu_offset)
    stored, added = found.grid.to_axial(found.stored), hu_offset or 0.0
    judged = intensity.judge(list(stored), intercept=-added, offset=hu_offset)
    if found.must_be_hu and judged.kind != "hu":
        raise intensity.IntensityError(
            f"no Hounsfield units in images in which {found.must_be_hu}: they may be inverted"
        )
    if judged.kind == "grey8":
        judged = replace(judged, notes=("8-bit grey values in a CT's headers",))

    no_size = ""
    if not SIDES[0] <= min(found.spacing) <= max(found.spacing) <= SIDES[1]:
        sides = " × ".join(f"{side:.3g}" for side in reversed(found.spacing))
        no_size = f"the headers give voxel sides of {sides} mm; no scan has such"

    def save(folder: Path, result: str, slices: Sequence[np.ndarray]) -> None:
        frames = found.grid.from_axial(np.stack(slices)).transpose(2, 1, 0)
        dicom_seg.write(folder / f"{result}.dcm", np.ascontiguousarray(frames), found, result)

    return Scan(
        slices=list(stored),
        intensity=judged.kind,
        save=save,
        intercept=judged.offset - added,
        spacing=None if no_size else found.spacing,
        notes=found.notes + judged.notes,
        unknown=({"size": no_size} if no_size else {})
        | _no_density(judged.no_density or found.no_density),
        save_nifti=partial(nifti_write.save_on_grid, found.grid),
        grid=found.grid,
    )
