"""A folder of results of `predict`, whose masks somebody may have corrected by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.own_volumes import OwnVolume, mask_files
from cosup_jax.data.volume_lists import EACH_A_PATIENT, Listed
from cosup_jax.scans import find, results
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.source import ScanError, Source

MASKS = ("mask.nii.gz", "mask.dcm")


def is_here(root: Path) -> bool:
    """Whether a folder has results of `predict` in it."""
    return any(results.is_here(path) for path in root.iterdir() if path.is_dir())


def read(root: Path, scans: Path | None) -> Listed:
    """Lists the scans whose results lie in a folder, each with the mask that lies there now.

    A scan is where its record says, if it has still the content that the record says; or it is
    found by its content in a folder.

    Args:
      root: the folder of results.
      scans: where the scans lie; None where the records say it.

    Raises:
      DatasetLayoutError: naming the scan, and what was expected of it.
    """
    known = {} if scans is None else _by_content(scans, root, f"scans={scans}")
    volumes, left = [], []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if folder.name.startswith(".") or not results.is_here(folder):
            continue
        record = _record(folder)
        if record["row"].get("status") != "done":
            left.append(f"{folder.name}: {record['row'].get('reason') or 'failed'}")
            continue
        masks = [folder / name for name in MASKS if (folder / name).exists()]
        if not masks:
            left.append(f"{folder.name}: its masks are pictures, which slice_folder reads")
            continue
        if len(masks) > 1:
            raise DatasetLayoutError(
                f"case {folder.name!r}: {masks[0]} and {masks[1]}; remove the one that is not meant"
            )
        case = folder.name
        offset = record["made_of"].get("settings", {}).get("hu_offset")
        if offset is not None and not isinstance(offset, int | float):
            raise DatasetLayoutError(
                f"{folder / results.RECORD}: hu_offset is {offset!r}; expected a number"
            )
        volumes.append(
            OwnVolume(
                case,
                case,
                _scan(record, root, case, known, scans),
                mask_files(masks[0], root, f"case {case!r}"),
                hu_offset=None if offset is None else float(offset),
            )
        )
    notes = (EACH_A_PATIENT, *(f"left out: {what}" for what in left))
    return Listed("results of predict", tuple(volumes), notes=notes)


def _record(folder: Path) -> Mapping[str, Any]:
    path = folder / results.RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        row, made_of = found["row"], found["made_of"]
        if (
            isinstance(row, dict)
            and isinstance(made_of, dict)
            and isinstance(made_of.get("settings", {}), dict)
        ):
            return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetLayoutError(f"{path}: {error!r}; expected a record of predict") from error
    raise DatasetLayoutError(f"{path}: expected a record of predict")


def _scan(
    record: Mapping[str, Any],
    root: Path,
    case: str,
    known: Mapping[str, tuple[Path, ...]],
    scans: Path | None,
) -> tuple[Path, ...]:
    where = f"case {case!r}"
    content, said = record["made_of"].get("input"), record["row"].get("input")
    if scans is not None:
        if content not in known:
            raise DatasetLayoutError(
                f"{where}: no scan in {scans} has the content that was predicted on; expected it "
                "unchanged"
            )
        return known[content]
    if not said or not isinstance(said, str):
        raise DatasetLayoutError(
            f"{where}: its record does not say where the scan lies; give the folder of the scans "
            "with scans=FOLDER"
        )
    path = Path(said).expanduser()
    if not path.exists():
        raise DatasetLayoutError(
            f"{where}: {path}, where its record says that the scan lies, does not exist; give the "
            "folder of the scans with scans=FOLDER"
        )
    found = _by_content(path, root, where)
    if content not in found:
        raise DatasetLayoutError(
            f"{where}: {said} is not what was predicted on any more; give the folder of the scans "
            "with scans=FOLDER"
        )
    return found[content]


def _by_content(path: Path, root: Path, where: str) -> dict[str, tuple[Path, ...]]:
    """Returns the files of all scans in a place by the digests of their content."""
    try:
        found = find.find_scans([path], root).scans
    except ScanError as error:
        raise DatasetLayoutError(f"{where}: {error}") from error
    return {digest: _files(source) for source in found if (digest := _digest(source))}


def _files(source: Source) -> tuple[Path, ...]:
    if source.stack is None:
        return source.files
    return tuple(sorted({image.part.path for image in source.stack.images}))


def _digest(source: Source) -> str:
    try:
        return source.digest()
    except (OSError, VolumeError):
        return ""
