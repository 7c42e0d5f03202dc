"""Which layout a folder of volumes has, and which volume is of which split."""

import dataclasses
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from cosup_jax.data import nnunet, results_folder, slice_files, sources, splits, volume_table
from cosup_jax.data.builder import DatasetLayoutError, DealingError
from cosup_jax.data.own_volumes import UNLABELLED, OwnVolume
from cosup_jax.data.schema import UNKNOWN_PATIENT
from cosup_jax.data.volume_lists import IMAGES, MASKS, Listed, by_subject, read_plain


@dataclasses.dataclass(frozen=True)
class Dealing:
    """How volumes are dealt into splits where none are given.

    Attributes:
      fold: the one tested on, or validated on where volumes to test on are given.
      folds: how many.
      seed: names the dealing.
      test: whether some are kept to test on.
    """

    fold: int = 0
    folds: int = 5
    seed: str = "0"
    test: bool = True


def find(
    source: Path,
    fold: int,
    mask_values: Mapping[int, int] | None,
    scans: Path | None = None,
    *,
    corrected: bool = False,
) -> Listed:
    """Lists the volumes of a folder or table, whatever its layout.

    Args:
      source: a folder, or a CSV file.
      fold: of `splits_final.json`, where there is one.
      mask_values: stored value to class; None: the folder or the tool says it.
      scans: where the scans lie, of a folder of results.
      corrected: of a folder of results, take only those whose masks somebody has corrected.

    Raises:
      DatasetLayoutError: no such folder, no layout that is known, or several.
    """
    if source.is_file() and source.suffix.lower() == ".csv":
        _check_results("a table", corrected=corrected)
        return by_subject(_table(source))
    if not source.is_dir():
        raise DatasetLayoutError(f"looked in {source}, which is neither a folder nor a CSV file")
    table = source / volume_table.NAME
    there = {
        f"a table ({table.name})": (table.exists(), lambda: _own_table(table)),
        f"nnU-Net or Decathlon ({nnunet.DESCRIPTION})": (
            nnunet.is_here(source),
            lambda: nnunet.read(source, fold, mask_values),
        ),
        f"a plain folder ({IMAGES}/)": (
            # Beside a table they are the folders that its rows point into.
            (source / IMAGES).is_dir() and not table.exists(),
            lambda: read_plain(source),
        ),
        results_folder.LAYOUT: (
            results_folder.is_here(source),
            lambda: results_folder.read(source, scans, corrected=corrected),
        ),
    }
    found = {name: read for name, (is_there, read) in there.items() if is_there}
    if len(found) != 1:
        inside = [path for path in slice_files.visible(source) if _may_be(path) and not found]
        hint = f" ({inside[0].name}, which lies in it, has)" if inside else ""
        to_do = f" of {', '.join(there)}"
        if found:
            to_do = f", or the file {table.name} itself" if table.exists() else ""
        raise DatasetLayoutError(
            f"looked in {source}, which has {' and '.join(found) or 'none'} of the layouts that "
            f"are known{hint}; expected one{to_do}"
        )
    ((layout, read),) = found.items()
    _check_results(layout, corrected=corrected)
    return by_subject(read())


def _may_be(folder: Path) -> bool:
    return nnunet.is_here(folder) or (folder / IMAGES).is_dir()


def _check_results(layout: str, *, corrected: bool) -> None:
    if corrected and layout != results_folder.LAYOUT:
        raise DatasetLayoutError(
            f"masks=corrected is for {results_folder.LAYOUT}, whose records tell what was "
            f"corrected; this is {layout}"
        )


def _own_table(table: Path) -> Listed:
    slice_files.check_inside(table, table.parent)
    return _table(table)


def _table(table: Path) -> Listed:
    """Reads a table, and notes which of the images beside it stand in no row."""
    listed, root = volume_table.read(table), table.parent
    read = {path for volume in listed.volumes for path in volume.image}
    read |= {folder for path in read for folder in path.parents}
    beside = slice_files.visible(root / IMAGES) if (root / IMAGES).is_dir() else []
    left = [path.name for path in beside if path not in read and path.resolve() not in read]
    if not left:
        return listed
    note = f"in no row of {table.name}, so not read: {', '.join(left)} of {IMAGES}/"
    return dataclasses.replace(listed, notes=(*listed.notes, note))


def deal(listed: Listed, dealing: Dealing) -> tuple[dict[str, list[OwnVolume]], list[str]]:
    """Returns the volumes of each split, and what the user should know of the splits.

    Volumes without a mask are `unlabelled`, but for those of patients who are in another split too,
    which are left out. Patients stay together.

    Raises:
      DealingError: no masks, or of too few patients; one scan twice; options that choose nothing.
    """
    notes: list[str] = []
    if not any(volume.mask for volume in listed.volumes):
        raise DealingError(
            f"none of the {len(listed.volumes)} volumes of {listed.layout} has a mask; expected "
            f"masks of some ({MASKS}/ beside {IMAGES}/, a column mask of a table)"
        )
    _check_each_once(listed.volumes)
    result: dict[str, list[OwnVolume]] = {}
    pending = [volume for volume in listed.volumes if volume.mask and not volume.split]
    for volume in listed.volumes:
        if volume.mask and volume.split:
            result.setdefault(volume.split, []).append(volume)
    if pending:
        dealt, note = _dealt(pending, dealing, set(result))
        for name, group in dealt.items():
            result.setdefault(name, []).extend(group)
        notes.append(note)
    else:
        _check_idle(listed.splits, dealing, set(result))
        notes.append(f"the splits are those of {listed.splits}" if listed.splits else "")
    busy = {v.patient_id for group in result.values() for v in group} - {UNKNOWN_PATIENT}
    bare = [volume for volume in listed.volumes if not volume.mask]
    if free := [volume for volume in bare if volume.patient_id not in busy]:
        result[UNLABELLED] = free
    notes += [
        f"left out: {volume.case_id}, without a mask, of a patient of another split"
        for volume in bare
        if volume.patient_id in busy
    ]
    notes += _same_masks(listed.volumes)
    return result, [note for note in notes if note]


def _check_idle(given: str, dealing: Dealing, there: Set[str]) -> None:
    """Refuses options of dealing where splits are given: every fold would be the same."""
    plain, names = Dealing(), ["folds", "seed", *["test"] * ("test" in there)]
    names = ["fold", *names] if nnunet.SPLITS not in given else names
    idle = [name for name in names if getattr(dealing, name) != getattr(plain, name)]
    if idle:
        raise DealingError(
            f"{', '.join(idle)} of data.config: the splits are those of {given or 'the folder'}, "
            "and nothing is dealt; leave the option out, or take the splits out to have them dealt"
        )


def _check_each_once(volumes: Sequence[OwnVolume]) -> None:
    """Refuses a scan that is there under two names, as it might be learnt and tested on."""
    known: dict[tuple[str, ...], OwnVolume] = {}
    for volume in volumes:
        content = (volume.content, *sorted(map(sources.file_digest, volume.image)))
        twin = known.setdefault(content, volume)
        if twin is volume or twin.patient_id == volume.patient_id != UNKNOWN_PATIENT:
            continue
        raise DealingError(
            f"case {volume.case_id!r}: its image is that of case {twin.case_id!r}; expected each "
            "scan once, or a table that gives both one patient"
        )


def _same_masks(volumes: Sequence[OwnVolume]) -> list[str]:
    """Notes masks of several volumes that are one, as empty ones may be, and a wrong copy is."""
    found: dict[str, list[str]] = {}
    for volume in volumes:
        for mask in volume.mask:
            found.setdefault(sources.file_digest(mask), []).append(volume.case_id)
    return [
        f"the masks of {', '.join(cases)} are the same, which is right only if nothing is drawn"
        for cases in found.values()
        if len(cases) > 1
    ]


def _dealt(
    volumes: Sequence[OwnVolume], dealing: Dealing, given: Set[str]
) -> tuple[dict[str, list[OwnVolume]], str]:
    # Nobody knows whose a volume of an unknown patient is; it is dealt by itself.
    whose = {v.case_id: v.patient_id or f"\0{v.case_id}" for v in volumes}
    count = len(set(whose.values()))
    needed = [name for name in ("train", "validation") if name not in given]
    needed += ["test"] * (dealing.test and "test" not in given)
    if count < len(needed):
        raise DealingError(
            f"masks of {count} patient{'s' * (count != 1)}, too few to be dealt into "
            f"{', '.join(needed[:-1])} and {needed[-1]}; expected {len(needed)} at least, splits "
            f"that are given{', or test=no' * ('test' in needed)}"
        )
    if dealing.folds < len(needed):
        less = f" ({len(needed) - 1} with test=no)" * ("test" in needed)
        raise DealingError(f"folds={dealing.folds}; expected {len(needed)} at least{less}")
    count = min(dealing.folds, count)
    if not 0 <= dealing.fold < count:
        raise DealingError(f"no fold {dealing.fold}; expected fold=0 to fold={count - 1}")
    fold_of = splits.folds(whose.values(), count, dealing.seed)
    names = dict.fromkeys(range(count), "train")
    for i, name in enumerate(name for name in needed[::-1] if name != "train"):
        names[(dealing.fold + i) % count] = name
    result: dict[str, list[OwnVolume]] = {}
    for volume in volumes:
        result.setdefault(names[fold_of[whose[volume.case_id]]], []).append(volume)
    what = "tested" if "test" in needed else "validated"
    note = (
        f"no splits are given: patients were dealt into {count} folds with the seed "
        f"{dealing.seed!r}, and fold {dealing.fold} is {what} on"
    )
    return result, note
