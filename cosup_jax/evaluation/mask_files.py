"""Which masks of volumes lie in a folder, by name, and which prediction belongs to which truth."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cosup_jax.data import results_folder, schema, slice_files
from cosup_jax.data.volume_lists import stem_of
from cosup_jax.evaluation.saved import ARRAY_SUFFIX, SavedMapError
from cosup_jax.scans import dicom_files, masks, nifti, results
from cosup_jax.scans.images import IMAGE_SUFFIXES
from cosup_jax.scans.results import MASKS

Values = Mapping[int, int] | None
PREDICTION, TRUTH = "prediction", "truth"
_CORRECTED = "corrected by hand since predict wrote it"
_NO_MASK = f", which has no {' or '.join(MASKS)} in it"
_CHANNEL = "_0000"  # which nnU-Net puts behind the names of images, and not of labels


class Mask(NamedTuple):
    """A mask of a volume.

    Attributes:
      path: its file.
      note: what must be said of it.
    """

    path: Path
    note: str = ""


class Side(NamedTuple):
    """Predictions or truths.

    Attributes:
      kind: `PREDICTION` or `TRUTH`.
      place: their folder, or a single file.
      values: what stored values mean, as `masks.read` takes it.
      masks: by name.
    """

    kind: str
    place: Path
    values: Values
    masks: Mapping[str, Mask]

    @property
    def option(self) -> str:
        """The option that says what values mean."""
        return f"--{self.kind}-values"


def holds_volumes(place: Path) -> bool:
    """Whether a folder has masks of volumes in it, or files that somebody may take for such."""
    if not place.is_dir():
        return _named(place) or (place.is_file() and _may_be_mask(place))
    return any(_may_be_mask(path) or _holds_mask(path) for path in slice_files.visible(place))


def _named(path: Path) -> bool:
    """Whether a file is called as volumes are, or as those of other formats."""
    name = path.name.lower()
    return name.endswith((*nifti.SUFFIXES, *dicom_files.SUFFIXES)) or bool(masks.to_do(path))


def _may_be_mask(path: Path) -> bool:
    if path.suffix.lower() in (*IMAGE_SUFFIXES, ARRAY_SUFFIX):  # need not be opened
        return False
    return _named(path) or (path.is_file() and dicom_files.looks_like(path))


def _holds_mask(path: Path) -> bool:
    return path.is_dir() and any(map(_may_be_mask, slice_files.visible(path)))


def listed(place: Path) -> dict[str, Mask]:
    """Returns the masks in a folder by name; what is neither NIfTI nor DICOM is left aside.

    Args:
      place: the folder; or a file, which is called by an empty name.

    Raises:
      SavedMapError: no such folder, a file that is no mask, or two masks of one name.
      DatasetLayoutError: a link out of the folder, or results with two masks of which nobody knows
        which one is meant.
    """
    if place.is_file():
        if not _may_be_mask(place) or masks.to_do(place):
            raise SavedMapError(
                f"{place}: is no mask of a volume{masks.to_do(place)}; expected a NIfTI file, a "
                "DICOM Segmentation or a folder of them"
            )
        return {"": Mask(place)}
    if not place.is_dir():
        what = "file" if _named(place) else "folder"
        raise SavedMapError(f"{place}: no such {what}; expected masks of volumes there")
    found: dict[str, Mask] = {}
    for entry in slice_files.visible(place):
        for mask in _masks_at(entry):
            slice_files.check_inside(mask.path, place)
            name = schema.normal_name(stem_of(entry))
            if name in found:
                raise SavedMapError(
                    f"{mask.path}: has the name of {found[name].path}; expected one a volume"
                )
            found[name] = mask
    return found


def unread(side: Side) -> list[str]:
    """Returns what in a folder may be a mask of a volume and is not read, each with the reason."""
    if side.place.is_file():
        return []
    read = {place for mask in side.masks.values() for place in (mask.path, mask.path.parent)}
    found = []
    for entry in slice_files.visible(side.place):
        if entry in read:
            continue
        if masks.to_do(entry):
            found.append(f"{entry.name}{masks.to_do(entry)}")
        elif _holds_mask(entry) or results.is_here(entry):
            found.append(f"{entry.name}/{_NO_MASK}")
    return found


def _masks_at(entry: Path) -> list[Mask]:
    if entry.is_file():
        named = entry.name.lower().endswith(nifti.SUFFIXES)
        return [Mask(entry)] if named or dicom_files.looks_like(entry) else []
    paths = [entry / name for name in MASKS if (entry / name).exists()]
    if paths and results.is_here(entry):
        # Of two formats of one mask the one is meant that somebody has corrected.
        result = results_folder.read_result(entry)
        corrected = result.state == results_folder.CORRECTED
        left = results_folder.unread(entry, result.record.get("sizes"))
        note = "; ".join(filter(None, [_CORRECTED * corrected, left]))
        return [Mask(path, note) for path in (result.mask,) if path is not None]
    if len(paths) > 1:
        raise SavedMapError(f"{paths[0]} and {paths[1].name}: expected one of the two")
    return [Mask(path) for path in paths]


def paired(pred: Side, truth: Side) -> dict[str, tuple[Mask, Mask]]:
    """Returns prediction and truth of each volume by its name; two files belong together.

    Raises:
      SavedMapError: naming the first mask without a partner, and what may be meant.
    """
    if pred.place.is_file() != truth.place.is_file():
        raise SavedMapError(
            f"{pred.place}, {truth.place}: a file and a folder; expected two files, or two folders"
        )
    if pred.place.is_file():
        return {schema.normal_name(stem_of(truth.place)): (pred.masks[""], truth.masks[""])}
    names: dict[str, str] = {}
    for name in pred.masks:
        meant = name if name in truth.masks else name.removesuffix(_CHANNEL)
        if meant in names:
            raise SavedMapError(
                f"{pred.masks[name].path}: has the truth of {pred.masks[names[meant]].path}; "
                "expected one prediction for each truth"
            )
        names[meant] = name
    if not names and not truth.masks:
        raise SavedMapError(
            f"{pred.place}, {truth.place}: no masks of volumes in either"
            f"{_to_do(pred.place, '')}; expected a NIfTI file or a "
            "DICOM Segmentation a scan, or folders with mask.nii.gz or mask.dcm in them"
        )
    given = {meant: pred.masks[name].path for meant, name in names.items()}
    true = {name: mask.path for name, mask in truth.masks.items()}
    for some, others, side in ((given, true, truth), (true, given, pred)):
        lone = [name for name in some if name not in others]
        if lone:
            free = sorted(set(others) - set(some))
            near = [name for name in free if name in lone[0] or lone[0] in name]
            near = near or difflib.get_close_matches(lone[0], free, 1, 0.5)
            hint = f" ({others[near[0]].name} is there; rename one)" if near else ""
            raise SavedMapError(
                f"{some[lone[0]]}: no {side.kind} of this name"
                f"{_to_do(side.place, lone[0]) or hint}; expected one for every volume "
                f"({len(lone)} of {len(some)} without)"
            )
    return {name: (pred.masks[names[name]], mask) for name, mask in truth.masks.items()}


def _to_do(folder: Path, name: str) -> str:
    """Returns what to do with a file or folder of a name that is not read, where there is one."""
    if name and (folder / name).is_dir():
        return f", but {name}/{_NO_MASK}"
    found = [p for p in slice_files.visible(folder) if p.name.startswith(name) and masks.to_do(p)]
    return f", but {found[0].name}{masks.to_do(found[0])}" if found else ""
