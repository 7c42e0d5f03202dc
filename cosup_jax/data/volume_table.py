"""A table of volumes: one row each, with the paths of its files below the table's folder."""

from collections.abc import Mapping
from pathlib import Path

from cosup_jax.data import schema, slice_files, splits
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.own_volumes import UNLABELLED, OwnVolume, image_files, mask_files, path_in
from cosup_jax.data.volume_lists import EACH_A_PATIENT, Listed, stem_of

NAME = "volumes.csv"
_PATHS = ("image", "mask", "lung")
_COLUMNS = (*_PATHS, "case", "patient", "split")
_SPLITS = {
    "": "",
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "validation"), "validation"),
    "test": "test",
    **dict.fromkeys((UNLABELLED, "unlabeled"), UNLABELLED),
}


def read(path: Path) -> Listed:
    """Lists the volumes of a table.

    Columns: `image` (needed), `mask`, `lung`, `case`, `patient`, `split`. Paths are relative to the
    table's folder and stay in it. A row without a mask is unlabelled. Without a column `patient`
    each volume is of a patient of its own; an empty cell is an unknown patient. Splits are given
    for every volume with a mask, or for none.

    Raises:
      DatasetLayoutError: naming the row and what was expected of it.
      PatientOverlapError: two spellings of one patient's id.
    """
    root = path.parent
    rows = slice_files.read_rows(path, _COLUMNS, _PATHS)
    volumes: dict[str, OwnVolume] = {}
    row_of: dict[Path, int] = {}
    spelled: dict[str, tuple[str, str]] = {}
    for number, row in rows:
        splits.check_spelling(row.get("patient", ""), f"{path}, row {number}", spelled)
        volume = _volume(root, row, f"{path}, row {number}")
        for mask in volume.mask:
            if row_of.setdefault(mask, number) != number:
                raise DatasetLayoutError(
                    f"{path}, row {number}: {row['mask']} is the mask of row {row_of[mask]}; "
                    "expected a mask of its own for each volume"
                )
        if volume.case_id in volumes:
            raise DatasetLayoutError(
                f"{path}, row {number}: case {volume.case_id!r} again; expected one row a volume, "
                "or a column `case` that names them apart"
            )
        volumes[volume.case_id] = volume
    if not volumes:
        raise DatasetLayoutError(f"{path}: holds no row; expected one for each volume")
    labelled = [volume for volume in volumes.values() if volume.mask]
    without = [volume.case_id for volume in labelled if not volume.split]
    if 0 < len(without) < len(labelled):
        raise DatasetLayoutError(
            f"{path}: no split for case {without[0]!r}; expected one for every volume with a mask, "
            f"or for none ({len(without)} of {len(labelled)} without)"
        )
    notes = () if any("patient" in row for _, row in rows) else (EACH_A_PATIENT,)
    given = "" if without or not labelled else "the column split"
    return Listed("a table", tuple(volumes.values()), splits=given, notes=notes)


def _volume(root: Path, row: Mapping[str, str], where: str) -> OwnVolume:
    if not row["image"]:
        raise DatasetLayoutError(f"{where}: no image; expected the path of one")
    image = path_in(root, row["image"], where)
    case = row.get("case") or stem_of(image)
    named = f"{where}, case {case!r}"
    mask, lung = (
        mask_files(path_in(root, row[name], named), root, named) if row.get(name) else ()
        for name in ("mask", "lung")
    )
    split = row.get("split", "").lower()
    if split not in _SPLITS:
        raise DatasetLayoutError(
            f"{named}: split {split!r}; expected train, validation, test or {UNLABELLED}"
        )
    split = _SPLITS[split]
    if mask and split == UNLABELLED:
        raise DatasetLayoutError(
            f"{named}: has a mask, but is said to be {UNLABELLED}; empty one of the two cells"
        )
    if not mask and split not in ("", UNLABELLED):
        raise DatasetLayoutError(f"{named}: no mask, but is of {split}; expected a mask")
    patient = row.get("patient", case) or schema.UNKNOWN_PATIENT
    return OwnVolume(case, patient, image_files(image, root, named), mask, lung, split)
