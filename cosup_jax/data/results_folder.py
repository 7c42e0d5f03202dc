"""A folder of results of `predict`, whose masks somebody may have corrected by hand.

A record has the digest of the mask that was written, so that one which was saved since is known as
corrected. What nobody has corrected is the network's own opinion: it may be trained on, but no
network is chosen or scored by it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cosup_jax.data import slice_files, sources
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.own_volumes import OwnVolume, digest_of, mask_files
from cosup_jax.data.volume_lists import EACH_A_PATIENT, Listed
from cosup_jax.scans import find, masks, results
from cosup_jax.scans.results import MASKS
from cosup_jax.scans.source import ScanError, Source

LAYOUT = "results of predict"
CORRECTED, PREDICTED, UNKNOWN = "corrected", "as predicted", "unknown"
_SHOWN = 3


@dataclass(frozen=True)
class Result:
    """What lies in the folder of one scan.

    Attributes:
      folder: the folder.
      record: of `predict`.
      mask: the mask that is meant; None where there is none.
      state: `CORRECTED`, `PREDICTED` or `UNKNOWN`; without a mask, why there is none.
    """

    folder: Path
    record: Mapping[str, Any]
    mask: Path | None
    state: str

    @property
    def content(self) -> Any:
        """The SHA-256 of the scan."""
        return self.record["made_of"].get("input")

    def provenance(self) -> dict[str, Any]:
        """Returns who made the mask, in values of JSON."""
        made_of, row = self.record["made_of"], self.record["row"]
        return {
            "mask": self.state,
            "mask_sha256": "" if self.mask is None else sources.file_digest(self.mask),
            "predicted_with": row.get("weights", ""),
            "weights_sha256": made_of.get("weights", ""),
            "threshold": made_of.get("settings", {}).get("threshold"),
            "version": made_of.get("version", ""),
        }


def is_here(root: Path) -> bool:
    """Whether a folder has results of `predict` in it."""
    return any(results.is_here(path) for path in root.iterdir() if path.is_dir())


def read(root: Path, scans: Path | None, *, corrected: bool = False) -> Listed:
    """Lists the scans whose results lie in a folder, each with the mask that lies there now.

    A scan is where its record says, if it has still the content that the record says; or it is
    found by its content in a folder. Masks that nobody has corrected are of the split `train`.

    Args:
      root: the folder of results.
      scans: where the scans lie; None where the records say it.
      corrected: leave out those whose masks nobody has corrected.

    Raises:
      DatasetLayoutError: naming the scan, and what was expected of it; or nothing was corrected.
    """
    known = {} if scans is None else _by_content(scans, root, f"scans={scans}")
    found, notes = _results(root)
    if found and not any(result.state != PREDICTED for result in found):
        raise DatasetLayoutError(
            f"{root}: no mask has been changed since predict wrote it; expected some that are "
            "corrected, as a network that is validated on its own masks learns nothing from them"
        )
    volumes, provenance = [], {}
    for result in found:
        case = result.folder.name
        if corrected and result.state != CORRECTED:
            notes.append(f"left out: {case}: {_WHY[result.state]}")
            continue
        volumes.append(_volume(result, root, known, scans))
        provenance[volumes[-1].case_id] = result.provenance()
    if unknown := [case for case, about in provenance.items() if about["mask"] == UNKNOWN]:
        notes.append(
            f"whether somebody corrected {_some(unknown)} is unknown, as their records are of an "
            "earlier version; they are taken for corrected"
        )
    return Listed(LAYOUT, tuple(volumes), notes=(EACH_A_PATIENT, *notes), provenance=provenance)


_WHY = {
    PREDICTED: "nobody has corrected its mask",
    UNKNOWN: "its record, of an earlier version, does not tell whether its mask was corrected",
}


def _results(root: Path) -> tuple[list[Result], list[str]]:
    """Returns one result for each scan, and what the user should know of the others."""
    found: dict[Any, Result] = {}
    notes = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if folder.name.startswith(".") or not results.is_here(folder):
            continue
        record = _record(folder)
        if record["row"].get("status") != "done":
            notes.append(f"left out: {folder.name}: {record['row'].get('reason') or 'failed'}")
            continue
        result = Result(folder, record, *_mask(folder, root, record.get("digests")))
        if result.mask is None:
            notes.append(f"left out: {folder.name}: {result.state}")
            continue
        if others := unread(folder, record.get("sizes")):
            notes.append(f"{folder.name}: {others}")
        twin = found.setdefault(result.content or folder.name, result)
        if twin is result:
            continue
        if CORRECTED == twin.state == result.state:
            raise DatasetLayoutError(
                f"case {folder.name!r}: of the same scan as {twin.folder.name!r}, and both masks "
                "are corrected; remove the one that is not meant"
            )
        kept, left = (result, twin) if result.state == CORRECTED else (twin, result)
        found[result.content] = kept
        notes.append(f"left out: {left.folder.name}: of the same scan as {kept.folder.name}")
    return list(found.values()), notes


def read_result(folder: Path) -> Result:
    """Returns what lies in the folder of one scan that was predicted.

    Raises:
      DatasetLayoutError: its record is none, or it has two masks and nobody knows which is meant.
    """
    record = _record(folder)
    return Result(folder, record, *_mask(folder, folder, record.get("digests")))


def _mask(folder: Path, root: Path, digests: Any) -> tuple[Path | None, str]:
    """Returns the mask that is meant and its state, or None and why there is none."""
    found = [folder / name for name in MASKS if (folder / name).exists()]
    if not found:
        pictures = (folder / "mask").is_dir()
        others = [masks.to_do(path) for path in slice_files.visible(folder)]
        gone = f"its mask is gone{next(filter(None, others), '')}"
        return None, "its masks are pictures, which slice_folder reads" if pictures else gone
    for path in found:
        slice_files.check_inside(path, root)
    known = isinstance(digests, dict)
    changed = [m for m in found if known and sources.file_digest(m) != digests.get(m.name)]
    if len(found) > 1 and not (known and len(changed) < 2):
        raise DatasetLayoutError(
            f"case {folder.name!r}: {found[0]} and {found[1]}; remove the one that is not meant"
        )
    if not known:
        return found[0], UNKNOWN
    return (changed[0], CORRECTED) if changed else (found[0], PREDICTED)


def unread(folder: Path, sizes: Any) -> str:
    """Says which files somebody has put there, as a mask under another name may be; or nothing.

    Args:
      folder: of one scan.
      sizes: of its record.
    """
    if not isinstance(sizes, dict):
        return ""
    ours = {results.RECORD, *MASKS, *(str(name).partition("/")[0] for name in sizes)}
    others = sorted(p.name for p in folder.iterdir() if p.name[0] != "." and p.name not in ours)
    return f"not read: {_some(others)}" if others else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)


def _volume(
    result: Result, root: Path, known: Mapping[str, tuple[Path, ...]], scans: Path | None
) -> OwnVolume:
    case = result.folder.name
    if result.mask is None:
        raise DatasetLayoutError(f"case {case!r}: {result.state}")
    offset = result.record["made_of"].get("settings", {}).get("hu_offset")
    if offset is not None and not isinstance(offset, int | float):
        raise DatasetLayoutError(
            f"{result.folder / results.RECORD}: hu_offset is {offset!r}; expected a number"
        )
    return OwnVolume(
        case,
        case,
        find_scan(result.record, root, case, scans, known),
        mask_files(result.mask, root, f"case {case!r}"),
        split="train" if result.state == PREDICTED else "",
        hu_offset=None if offset is None else float(offset),
        content=result.content or "",
    )


def _record(folder: Path) -> Mapping[str, Any]:
    path = folder / results.RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        row, made_of = found["row"], found["made_of"]
        if (
            isinstance(row, dict)
            and isinstance(made_of, dict)
            and isinstance(made_of.get("settings", {}), dict)
            and isinstance(made_of.get("input"), str | None)
        ):
            return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetLayoutError(f"{path}: {error!r}; expected a record of predict") from error
    raise DatasetLayoutError(f"{path}: expected a record of predict")


def find_scan(
    record: Mapping[str, Any],
    root: Path,
    case: str,
    scans: Path | None = None,
    known: Mapping[str, tuple[Path, ...]] = MappingProxyType({}),
    hint: str = "give the folder of the scans with scans=FOLDER",
) -> tuple[Path, ...]:
    """Returns the files of the scan that was predicted, if it has still the same content.

    Args:
      record: of its results.
      root: the folder of results, in which there are no scans.
      case: what names it in a message.
      scans: a folder of scans; None: it is where the record says.
      known: the files of each scan there, by their content.
      hint: what a message tells the user to do where the scan is not found.

    Raises:
      DatasetLayoutError: it is not there, or has other content.
    """
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
        raise DatasetLayoutError(f"{where}: its record does not say where the scan lies; {hint}")
    path = Path(said).expanduser()
    if not path.exists():
        raise DatasetLayoutError(
            f"{where}: {path}, where its record says that the scan lies"
            f"{'' if path.is_absolute() else ' (from where predict was started)'}, does not exist; "
            f"{hint}"
        )
    found = _by_content(path, root, where)
    if content not in found:
        raise DatasetLayoutError(f"{where}: {said} is not what was predicted on any more; {hint}")
    return found[content]


def _by_content(path: Path, root: Path, where: str) -> dict[str, tuple[Path, ...]]:
    """Returns the files of all scans in a place by the digests of their content."""
    try:
        found = find.find_scans([path], root).scans
    except ScanError as error:
        raise DatasetLayoutError(f"{where}: {error}") from error
    return {digest: _files(source) for source in found if (digest := digest_of(source))}


def _files(source: Source) -> tuple[Path, ...]:
    if source.stack is None:
        return source.files
    return tuple(sorted({image.part.path for image in source.stack.images}))
