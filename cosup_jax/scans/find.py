"""What a user hands over (files, folders, zips), as scans: found, read, and their results written.

A scan is one NIfTI file, one DICOM series, or one folder of slices. Whatever it is, it is read into
slices of the axial view, and its results are written on its own grid.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from cosup_jax.scans import dicom_files, images, intensity, nifti, nifti_write, results
from cosup_jax.scans.names import name_from_file, volume_name
from cosup_jax.scans.scan import Scan

_CHUNK = 1 << 20
_LONGEST_NAME = 80
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
    """

    path: Path
    kind: str
    files: tuple[Path, ...] = field(repr=False)
    name: str = ""

    def digest(self) -> str:
        """Returns the SHA-256 of its content, in hexadecimal digits; reads all of it."""
        if self.kind == "dicom":
            return dicom_files.digest(dicom_files.list_parts(self.files))
        total = hashlib.sha256(self.kind.encode())
        for path in self.files:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    total.update(chunk)
            total.update(path.name.encode() if self.kind == "slices" else b"")
        return total.hexdigest()

    def read(self, series: int | None = None, hu_offset: float | None = None) -> Scan:
        """Reads the scan.

        Args:
          series: number of the DICOM series to read where there are several.
          hu_offset: what is to be added to the values to make them HU; None: header and values
            tell.

        Raises:
          VolumeError, ImageError, ScanError: naming the file and what is wrong with it.
          IntensityError: the values are no HU, and not surely anything else.
        """
        if self.kind == "nifti":
            return _read_nifti(self.files[0], hu_offset)
        if self.kind == "slices":
            return _read_slices(self.files, hu_offset)
        return _read_dicom(self, series, hu_offset)


def find_scans(
    inputs: Iterable[Path], ignore: Path, *, identify: bool = False
) -> tuple[list[Source], list[Path]]:
    """Finds the scans in what a user gave.

    A folder with pictures is one scan, unless all of them are named `<case>_<slice>` and there are
    several cases; a folder with DICOM files and a zip are one scan each; every NIfTI file is one.
    Folders in folders are searched too, but not hidden ones, those of results and links to folders.

    Args:
      inputs: files and folders.
      ignore: a folder that is not searched, for what was written there.
      identify: DICOM scans are called by their folder or zip.

    Returns:
      the scans in the order of their paths, and the files and links that belong to none.

    Raises:
      ScanError: an input does not exist, or there is no scan in it.
    """
    sources: list[Source] = []
    others: list[Path] = []
    for given in inputs:
        path = given.expanduser()
        if not path.exists():
            raise ScanError(f"{given}: no such file or folder")
        groups = _walk(path, ignore.resolve()) if path.is_dir() else [(path, [path], [])]
        found = []
        for folder, files, links in groups:
            scans, rest = _sort(folder, files, identify)
            found += scans
            others += [*rest, *links]
        if not found:
            raise ScanError(
                f"{given}: no scan in it; expected NIfTI files, DICOM files (or a zip of them), or "
                f"slices named {', '.join(images.IMAGE_SUFFIXES)}"
            )
        sources += found
    return _with_own_names(sources), others


def _walk(root: Path, ignore: Path) -> Iterable[tuple[Path, list[Path], list[Path]]]:
    for place, folders, files in os.walk(root, onerror=_unreadable):
        if results.is_here(Path(place)):
            del folders[:], files[:]
        folders[:] = sorted(
            f for f in folders if f[0] != "." and (Path(place) / f).resolve() != ignore
        )
        paths = [Path(place) / name for name in sorted(files) if name[0] != "."]
        links = [path for f in folders if (path := Path(place) / f).is_symlink()]
        yield Path(place), [path for path in paths if path.is_file()], links


def _unreadable(error: OSError) -> NoReturn:
    raise ScanError(f"{error.filename}: {error.strerror}") from error


def _sort(folder: Path, files: Sequence[Path], identify: bool) -> tuple[list[Source], list[Path]]:
    """Tells by name, and where names say nothing by content, what the files of a folder are."""
    volumes = [path for path in files if path.name.lower().endswith(nifti.SUFFIXES)]
    zips = [path for path in files if path.suffix.lower() == ".zip"]
    pictures = [path for path in files if path.suffix.lower() in images.IMAGE_SUFFIXES]
    rest = sorted(set(files) - {*volumes, *zips, *pictures})
    try:
        dicom = [path for path in rest if dicom_files.looks_like(path)]
    except OSError as error:
        _unreadable(error)
    sources = [Source(path, "nifti", (path,), volume_name(path)) for path in volumes]
    sources += [Source(path, "dicom", (path,), path.stem if identify else "") for path in zips]
    if dicom:
        # Damaged files go along: what is wrong with them is said when they are read.
        name = folder.resolve().name if identify else ""
        sources.append(Source(folder, "dicom", tuple(dicom), name))
    return sources + _cases(folder, pictures), [path for path in rest if path not in dicom]


def _cases(folder: Path, pictures: Sequence[Path]) -> list[Source]:
    names = {path: name_from_file(path.stem) for path in pictures}
    cases: dict[str, list[Path]] = {}
    for path, name in names.items():
        cases.setdefault(name.case_id if name.case_known else "", []).append(path)
    if "" in cases or len(cases) == 1:
        cases = {folder.stem if folder in pictures else folder.resolve().name: list(pictures)}
    return [
        Source(folder, "slices", tuple(sorted(files, key=_numbered)), case)
        for case, files in cases.items()
        if files
    ]


def _numbered(path: Path) -> tuple:
    """Sorts `a10` after `a9`."""
    return tuple(
        (int(t), "") if t.isdecimal() else (-1, t) for t in re.split(r"(\d{1,18})", path.name)
    )


def _with_own_names(sources: Sequence[Source]) -> list[Source]:
    """Cleans the names; of several in one place that become the same, each gets a digest."""
    cleaned = Counter((path, clean_name(n)) for path, n in {(s.path, s.name) for s in sources})
    result = []
    for given in sources:
        name = clean_name(given.name) if given.name else ""
        if cleaned[given.path, name] > 1:
            name = f"{name}-{hashlib.sha256(given.name.encode()).hexdigest()[:6]}"
        result.append(replace(given, name=name))
    return result


def clean_name(name: str) -> str:
    """Returns a name that is safe for a file, a page and a spreadsheet.

    >>> clean_name("../=cmd|' /C calc'!A0"), clean_name("..")
    ('cmd_C_calc_A0', 'scan')
    """
    cleaned = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:_LONGEST_NAME]
    return cleaned.rstrip("._-") or "scan"


def _read_nifti(path: Path, hu_offset: float | None) -> Scan:
    volume = nifti.read_volume(path, hu_offset=hu_offset)

    def save(folder: Path, result: str, slices: Sequence[np.ndarray]) -> None:
        step = 1 / 255 if result == "probability" else 1.0
        nifti.write_labels(folder / f"{result}.nii.gz", np.stack(slices), path, step=step)

    place = volume.place
    unknown = {"sides": place.no_sides, "size": place.no_size}
    return Scan(
        slices=list(volume.slices()),
        intensity=volume.intensity,
        save=save,
        slope=volume.slope,
        intercept=volume.intercept,
        spacing=None if place.no_size else volume.grid.spacing,
        notes=(*place.notes, *volume.judgement.notes),
        unknown={what: why for what, why in unknown.items() if why}
        | _no_density(volume.judgement.no_density),
        shear=volume.grid.shear,
    )


def _no_density(why: str) -> dict[str, str]:
    return {"density": why} if why else {}


def _read_slices(files: Sequence[Path], hu_offset: float | None) -> Scan:
    stems = [path.stem for path in files]
    for path in files:
        if stems.count(path.stem) > 1:
            raise ScanError(f"{path}: another slice is called {path.stem} too; rename one of them")
    pixels = [images.read_grey(path) for path in files]
    depths = {array.dtype.itemsize for array in pixels}
    if len(depths) > 1:
        odd = next(p for p, a in zip(files, pixels, strict=True) if a.dtype != pixels[0].dtype)
        raise ScanError(f"{odd}: 8 and 16 bits among the slices of one scan; expected one of them")
    found = intensity.judge(pixels, offset=hu_offset, grey="grey8" if depths == {1} else "grey16")
    return Scan(
        slices=pixels,
        intensity=found.kind,
        save=partial(_save_slices, stems),
        intercept=found.offset,
        notes=found.notes,
        unknown=_no_density(found.no_density),
    )


def _save_slices(
    stems: Sequence[str], folder: Path, result: str, slices: Sequence[np.ndarray]
) -> None:
    (folder / result).mkdir()
    for stem, pixels in zip(stems, slices, strict=True):
        picture = Image.fromarray(pixels * np.uint8(255) if result == "mask" else pixels)
        if result == "classes":
            picture.putpalette(_COLOURS)
        picture.save(folder / result / f"{stem}.png")


def _read_dicom(source: Source, series: int | None, hu_offset: float | None) -> Scan:
    try:
        from cosup_jax.scans import dicom, dicom_seg
    except ImportError as error:
        raise ScanError(
            f"reading DICOM needs {error.name}; install it with: pip install 'cosup-jax[dicom]'"
        ) from error
    found = dicom.read_series(source.files, series, hu_offset)
    stored, added = found.grid.to_axial(found.stored), hu_offset or 0.0
    judged = intensity.judge(list(stored), intercept=-added, offset=hu_offset)
    if judged.kind == "grey8":
        judged = replace(judged, notes=("8-bit grey values in a CT's headers",))

    def save(folder: Path, result: str, slices: Sequence[np.ndarray]) -> None:
        frames = found.grid.from_axial(np.stack(slices)).transpose(2, 1, 0)
        dicom_seg.write(folder / f"{result}.dcm", np.ascontiguousarray(frames), found, result)

    return Scan(
        slices=list(stored),
        intensity=judged.kind,
        save=save,
        intercept=judged.offset - added,
        spacing=found.spacing,
        notes=found.notes + judged.notes,
        unknown=_no_density(judged.no_density or found.no_density),
        save_nifti=partial(nifti_write.save_on_grid, found.grid),
    )
