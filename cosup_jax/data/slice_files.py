"""Folders of slices: which files they hold, and of which case, patient and position each one is."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import logging

from cosup_jax import files
from cosup_jax.data import sources
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.schema import normal_name
from cosup_jax.data.splits import PatientOverlapError, check_spelling, subject_of
from cosup_jax.scans.images import IMAGE_SUFFIXES, JPEG_MASK, MASK_SUFFIXES, read_grey
from cosup_jax.scans.names import UNKNOWN_PATIENT, SliceName, name_from_file

EACH_A_PATIENT = "each case is taken for a patient of its own"
_COLUMNS = ("file", "case", "patient", "slice")
_DESKTOP_FILES = ("thumbs.db", "desktop.ini")
# At most nine digits: the slice index is an int32.
_NUMBER = re.compile(r"[0-9]{1,9}")


def list_slices(folder: Path, root: Path, *, masks: bool = False) -> dict[str, Path]:
    """Lists the picture files of a folder without opening them.

    Hidden files and those that desktops leave behind (Thumbs.db, desktop.ini) are no slices.

    Args:
      folder: holds the files, and nothing else.
      root: the dataset's folder; a link that leads out of it is refused.
      masks: whether these are masks, which may not be JPEGs.

    Returns:
      file stem in its normal form to path, in the order of the names; may be empty.

    Raises:
      DatasetLayoutError: no such folder, a file of another kind, a link out of `root`, or two files
        of one stem.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise DatasetLayoutError(f"{folder}: {what}; expected a folder full of PNG or TIFF")
    found: dict[str, Path] = {}
    for path in visible(folder):
        _check_file(path, root, masks)
        stem = normal_name(path.stem)
        if stem in found:
            raise DatasetLayoutError(
                f"{path}: has the name of {found[stem].name}; expected one file per slice"
            )
        found[stem] = path
    return found


def visible(folder: Path) -> list[Path]:
    """Returns what lies in a folder by name, but for what is hidden or left behind by desktops."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower() not in _DESKTOP_FILES
    )


def unread(folder: Path, known: Sequence[str]) -> str:
    """Says which folders lie in `folder` beside those `known`, or nothing where there are none."""
    found = [path.name for path in visible(folder) if path.is_dir() and path.name not in known]
    words = ", ".join(map(repr, found))
    return f"{folder.name}: {words} are not read, only {', '.join(known)}" if found else ""


def _check_file(path: Path, root: Path, masks: bool) -> None:
    suffix = path.suffix.lower()
    if masks and suffix in IMAGE_SUFFIXES and suffix not in MASK_SUFFIXES:
        raise DatasetLayoutError(f"{path}: {JPEG_MASK}")
    suffixes = MASK_SUFFIXES if masks else IMAGE_SUFFIXES
    if suffix not in suffixes:
        raise DatasetLayoutError(f"{path}: not a slice; expected only files of {suffixes} here")
    check_inside(path, root)


def check_inside(path: Path, root: Path) -> None:
    """Refuses anything but a regular file that lies, links followed, inside `root`.

    Raises:
      DatasetLayoutError: naming the file.
    """
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DatasetLayoutError(f"{path}: a link that leads nowhere; expected a file") from error
    if not target.is_relative_to(root.resolve()):
        raise DatasetLayoutError(
            f"{path}: a link to {target}, outside of {root}; expected all files inside, so copy "
            "it there (a link to the whole folder is fine)"
        )
    if not target.is_file():
        raise DatasetLayoutError(f"{path}: not a regular file; expected one")


def match(images: Mapping[str, Path], others: Mapping[str, Path], folder: Path) -> None:
    """Checks that each image has its mask (or lung) of the same stem in `folder`, and no more.

    Raises:
      DatasetLayoutError: naming the first file without a partner, and how many there are.
    """
    lone = [path for stem, path in images.items() if stem not in others]
    if lone:
        raise DatasetLayoutError(
            f"{lone[0]}: no {lone[0].stem}.png or .tif in {folder}; expected one for every image "
            f"({len(lone)} of {len(images)} without)"
        )
    orphans = [path for stem, path in others.items() if stem not in images]
    if orphans:
        raise DatasetLayoutError(
            f"{orphans[0]}: no image of this name; expected one for every file in {folder} "
            f"({len(orphans)} of {len(others)} without)"
        )


def check_indexes(root: Path, indexes: Sequence[Path]) -> None:
    """Refuses an index under another name or in another place, as it may say whose the slices are.

    Args:
      root: the dataset's folder.
      indexes: where an index may lie: beside the folder of each split, and called by it.

    Raises:
      DatasetLayoutError: naming the file, and where an index is expected.
    """
    splits = [index.with_name(index.stem.removesuffix("_index")) for index in indexes]
    for path in (path for place in (root, *splits) for path in visible(place)):
        if "index" in path.stem.casefold() and path.is_file() and path not in indexes:
            raise DatasetLayoutError(
                f"{path}: looks like an index, and is not read; expected one for each split, "
                f"{', '.join(index.name for index in indexes)} in {root.name}, or another name"
            )


def check_pictures_apart(
    split: str, pictures: Iterable[Path], seen: dict[str, tuple[str, Path]]
) -> None:
    """Refuses a picture that an earlier split holds too, under whatever name.

    Args:
      split: its name.
      pictures: the images of the split.
      seen: digest to split and picture, of the splits before; those of this one are added.

    Raises:
      PatientOverlapError: naming both files.
    """
    for path in pictures:
        other, twin = seen.setdefault(sources.file_digest(path), (split, path))
        # Of one value alone, as beyond the body, pictures of several people may be the same.
        if other != split and np.ptp(read_grey(path)) > 0:
            raise PatientOverlapError(
                f"{path} is the picture {twin}, so a slice of {other!r} stands in {split!r}. Take "
                "it out of one of them."
            )


def read_index(
    path: Path, images: Mapping[str, Path], spelled: dict[str, tuple[str, str]]
) -> dict[str, SliceName]:
    """Reads an index CSV, whose rows name exactly the images of its split.

    Columns: `file` (an image's file name), and optionally `case`, `patient`, `slice`. A missing
    column or an empty cell of `case` or `slice` is filled from the file name. A missing column
    `patient` means that each case is a patient of its own, and a warning; an empty cell, that the
    patient is unknown.

    Args:
      path: the CSV file, UTF-8, comma-separated, with a header.
      images: stem to path.
      spelled: of the indexes before, see `splits.check_spelling`; patients of this one are added.

    Returns:
      stem to name.

    Raises:
      DatasetLayoutError: naming the CSV's row and what was expected of it.
      PatientOverlapError: two spellings of one patient's id.
    """
    rows = read_rows(path, _COLUMNS)
    if not any("patient" in row for _, row in rows):
        logging.warning("%s: no column `patient`, so %s", path, EACH_A_PATIENT)
    stems = {normal_name(image.name): stem for stem, image in images.items()}
    names: dict[str, SliceName] = {}
    for number, row in rows:
        where = f"{path}, row {number}"
        check_spelling(row.get("patient", ""), where, spelled)
        file = row["file"]
        if "/" in file or "\\" in file:
            raise DatasetLayoutError(f"{where}: file {file!r}; expected a name without folders")
        if file not in stems:
            raise DatasetLayoutError(f"{where}: file {file!r} does not exist among the images")
        if stems[file] in names:
            raise DatasetLayoutError(f"{where}: file {file!r} again; expected one row per file")
        names[stems[file]] = _name_from_row(row, stems[file], where)
    missing = [image.name for stem, image in images.items() if stem not in names]
    if missing:
        raise DatasetLayoutError(
            f"{path}: no row for the image {missing[0]}; expected one for every image "
            f"({len(missing)} of {len(images)} without)"
        )
    return names


def read_rows(
    path: Path, known: Sequence[str], paths: Sequence[str] = ()
) -> Sequence[tuple[int, dict[str, str]]]:
    """Reads a CSV whose rows name files. Other columns than those known are named in a warning.

    Args:
      path: the CSV file, UTF-8, comma-separated, with a header.
      known: the columns that are read; the first must be there.
      paths: those of them that hold paths, whose characters are kept as they are written.

    Returns:
      of each row its line and its cells by column, without blanks around them.

    Raises:
      DatasetLayoutError: naming the row and what was expected of it.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetLayoutError(
            f"{path}: {error}; expected a comma-separated UTF-8 CSV"
        ) from error
    strange = sorted(set(columns) - set(known))
    for name in strange:
        if (meant := "".join(name.casefold().split())) in known:
            raise DatasetLayoutError(
                f"{path}: has the column {name!r}; expected it to be called {meant!r}"
            )
    if known[0] not in columns:
        optional = ", ".join(f"`{name}`" for name in known[1:])
        raise DatasetLayoutError(
            f"{path}: the columns are {columns}; expected `{known[0]}`, and optionally {optional}, "
            "separated by commas"
        )
    if strange:
        logging.warning("%s: the columns %s are not read", path, ", ".join(map(repr, strange)))
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise DatasetLayoutError(f"{path}: has the column {twice[0]!r} twice; expected each once")
    for number, row in rows:
        if None in row or None in row.values():
            raise DatasetLayoutError(
                f"{path}, row {number}: another number of cells; expected {len(columns)}"
            )
    # An index may be one of ours, in which no cell is a formula.
    return [
        (number, {k: _cell(v, as_path=k in paths) for k, v in row.items()}) for number, row in rows
    ]


def _cell(text: str, *, as_path: bool) -> str:
    text = files.from_cell(text)
    return text.strip() if as_path else normal_name(text)


def name_of(stem: str) -> SliceName:
    """Reads a file's name as `name_from_file`; of a name of BIDS, its subject is the patient."""
    name = name_from_file(stem)
    return replace(name, patient_id=subject_of(name.case_id)) if name.case_known else name


def _name_from_row(row: Mapping[str, str], stem: str, where: str) -> SliceName:
    guess = name_from_file(stem)
    case_id = row.get("case") or guess.case_id
    case_known = guess.case_known or bool(row.get("case"))
    assumed = subject_of(case_id) if case_known else UNKNOWN_PATIENT
    position = row.get("slice") or str(guess.slice_index)
    if not _NUMBER.fullmatch(position):
        raise DatasetLayoutError(
            f"{where}: slice {position!r}; expected a whole number from 0 to 999999999"
        )
    return SliceName(case_id, row.get("patient", assumed), int(position), case_known)
