"""Masks of volumes scored against each other: NIfTI, DICOM Segmentations, results of `predict`.

Both are read by what they hold, not by how it is stored, and compared on the truth's voxels.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from cosup_jax import metrics
from cosup_jax.data import nnunet, results_folder, schema, slice_files
from cosup_jax.data.volume_lists import stem_of
from cosup_jax.evaluation import whole_volumes
from cosup_jax.evaluation.map_values import AUTO
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.evaluation.saved import SavedMapError, evaluate_folders
from cosup_jax.evaluation.whole_volumes import Pair
from cosup_jax.scans import dicom_files, masks, nifti, results
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.masks import Drawing
from cosup_jax.scans.nifti_labels import UndeclaredError
from cosup_jax.scans.results import MASKS

Values = Mapping[int, int] | None
_OPTIONS = ("--prediction-values", "--truth-values")
_CORRECTED = "corrected by hand since predict wrote it"
_CHANNEL = "_0000"  # which nnU-Net puts behind the names of images, and not of labels


def evaluate_saved(
    predictions: str | Path,
    truths: str | Path,
    *,
    protocol: str,
    out: str | Path | None = None,
    map_values: str = AUTO,
    prediction_values: Values = None,
    truth_values: Values = None,
) -> dict[str, Any]:
    """Scores saved maps or masks against truths of the same names, pictures or volumes.

    Args:
      predictions: folder of pictures (see `evaluate_folders`), or of masks of volumes: NIfTI files,
        DICOM Segmentations, or results of `predict`.
      truths: folder of the same kind.
      protocol: `cosup` or `semiseg`, by which slices are scored.
      out: where to write; None writes nothing.
      map_values: of pictures.
      prediction_values: of volumes, stored value (or number of a segment) to class, of which 0 is
        no infection. None: a `dataset.json` in the folder says it, or 1 to 3 and 255 are infection.
      truth_values: likewise.

    Raises:
      DatasetLayoutError, SavedMapError, ImageError, VolumeError: naming the file.
    """
    folders = Path(predictions).expanduser(), Path(truths).expanduser()
    values = prediction_values, truth_values
    if not any(map(_holds_volumes, folders)):
        if any(one is not None for one in values):
            raise ValueError(f"{_OPTIONS[0]} and {_OPTIONS[1]} are for volumes; these are pictures")
        return evaluate_folders(
            predictions, truths, protocol=protocol, out=out, map_values=map_values
        )
    if map_values != AUTO:
        raise ValueError(f"--map-values={map_values} is for pictures; volumes hold labels")
    sides = [
        _Side(folder, option, _values(folder, option, given), _listed(folder))
        for folder, option, given in zip(folders, _OPTIONS, values, strict=True)
    ]
    note = "each volume is taken for a patient of its own"
    if folders[0].samefile(folders[1]):
        note += "; PREDICTIONS AND TRUTHS ARE THE SAME FOLDER"
    about = {
        "dataset": str(truths),
        "split": "",
        "predictions": str(predictions),
        "note": note,
    }
    where = None if out is None else Path(out).expanduser()
    return whole_volumes.score(_read_pairs(*sides), protocol_named(protocol), about, where)


class _Mask(NamedTuple):
    """A mask of a volume, and what must be said of it."""

    path: Path
    note: str = ""


class _Side(NamedTuple):
    """Predictions or truths: their folder, what the values in it mean, and its masks by name."""

    folder: Path
    option: str
    values: Values
    masks: Mapping[str, _Mask]

    @property
    def kind(self) -> str:
        return "prediction" if self.option == _OPTIONS[0] else "truth"


def _values(folder: Path, option: str, given: Values) -> Values:
    if given is not None:
        if not all(0 <= label <= schema.MAX_CLASS for label in given.values()):
            raise ValueError(f"{option}: {dict(given)}; expected classes 0..{schema.MAX_CLASS}")
        return given
    return nnunet.label_values(folder, option)


def _holds_volumes(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return any(
        path.name.lower().endswith((*nifti.SUFFIXES, *dicom_files.SUFFIXES))
        or masks.to_do(path)
        or any((path / name).exists() for name in MASKS)
        for path in folder.iterdir()
    )


def _read_pairs(pred: _Side, truth: _Side) -> Iterator[Pair]:
    paths = _paired(pred, truth)
    for name, pair in tqdm(paths.items(), desc="volumes", delay=2.0, leave=False):
        drawn = [_read(*one) for one in zip((pred, truth), pair, strict=True)]
        found, actual, grid, notes = on_one_grid(*drawn)
        notes = [*_notes(pred, pair[0], drawn[0]), *_notes(truth, pair[1], drawn[1]), *notes]
        slices = list(found), list(actual)
        yield Pair(name, name, *slices, grid.spacing, range(len(actual)), notes, shear=grid.shear)


def _read(side: _Side, mask: _Mask) -> Drawing:
    try:
        return masks.read_infection(mask.path, side.values)
    except UndeclaredError as error:
        raise UndeclaredError(f"{error} ({side.option} says what each value means)") from error


def _notes(side: _Side, mask: _Mask, drawn: Drawing) -> list[str]:
    """Returns what a reader must know of one mask."""
    notes = [mask.note, *drawn.notes]
    if side.values is None and mask.path.name.lower().endswith(nifti.SUFFIXES):
        found = [str(v) for v in range(1, schema.MAX_CLASS + 1) if (drawn.classes == v).any()]
        if len(found) > 1:
            notes.append(
                f"holds {', '.join(found)}, all taken for infection; {side.option} says otherwise"
            )
    return [f"{side.kind}: {note}" for note in notes if note]


def _listed(folder: Path) -> dict[str, _Mask]:
    """Returns the masks in a folder by name; what is neither NIfTI nor DICOM is left aside."""
    if not folder.is_dir():
        raise SavedMapError(f"{folder}: no such folder; expected one with masks of volumes")
    found: dict[str, _Mask] = {}
    for entry in slice_files.visible(folder):
        for mask in _masks_at(entry):
            slice_files.check_inside(mask.path, folder)
            name = schema.normal_name(stem_of(entry))
            if name in found:
                raise SavedMapError(
                    f"{mask.path}: has the name of {found[name].path}; expected one a volume"
                )
            found[name] = mask
    return found


def _masks_at(entry: Path) -> list[_Mask]:
    if entry.is_file():
        named = entry.name.lower().endswith(nifti.SUFFIXES)
        return [_Mask(entry)] if named or dicom_files.looks_like(entry) else []
    paths = [entry / name for name in MASKS if (entry / name).exists()]
    if paths and results.is_here(entry):
        # Of two formats of one mask the one is meant that somebody has corrected.
        result = results_folder.read_result(entry)
        corrected = result.state == results_folder.CORRECTED
        return [_Mask(path, _CORRECTED * corrected) for path in (result.mask,) if path is not None]
    if len(paths) > 1:
        raise SavedMapError(f"{paths[0]} and {paths[1].name}: expected one of the two")
    return [_Mask(path) for path in paths]


def _paired(pred: _Side, truth: _Side) -> dict[str, tuple[_Mask, _Mask]]:
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
            f"{pred.folder}, {truth.folder}: no masks of volumes in either"
            f"{_to_do(pred.folder, '')}; expected NIfTI or DICOM"
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
                f"{_to_do(side.folder, lone[0]) or hint}; expected one for every volume "
                f"({len(lone)} of {len(some)} without)"
            )
    return {name: (pred.masks[names[name]], mask) for name, mask in truth.masks.items()}


def _to_do(folder: Path, name: str) -> str:
    """Returns what to do with a file of a name whose format is not read, where there is one."""
    found = [p for p in slice_files.visible(folder) if p.name.startswith(name) and masks.to_do(p)]
    return f", but {found[0].name}{masks.to_do(found[0])}" if found else ""


def on_one_grid(pred: Drawing, truth: Drawing) -> tuple[np.ndarray, np.ndarray, Grid, list[str]]:
    """Brings a prediction to the truth's voxels, by nearest neighbours where they differ.

    Of a Segmentation only the planes with labels are known; the truth is then taken to be empty
    around them, on the prediction's grid where that has the same voxels.

    Returns:
      prediction and truth (Z, H, W) bool in the axial view, their grid, and what was done.
    """
    notes = []
    if pred.orientation != truth.orientation:
        notes.append(f"stored as {pred.orientation}, the truth as {truth.orientation}")
    grid = truth.grid
    if not truth.whole and pred.whole and truth.fits(pred.grid):
        grid = pred.grid
    elif not truth.whole:
        known = [one for one in (truth, pred) if one.depth_known]
        if not known:
            raise SavedMapError(
                f"{pred.path}, {truth.path}: neither says how far its planes lie apart, so that no "
                "volume is known; expected one of them as NIfTI, on the voxels of the scan"
            )
        grid = known[0].grown(pred if known[0] is truth else truth)
    if not truth.whole and not pred.whole:
        notes.append("two Segmentations: slices beyond their planes are not among those scored")
    if not truth.placed:
        truth.on(pred.grid)  # the same voxels, or an error
    outside = pred.outside(grid)
    if outside:
        volume = outside * metrics.voxel_ml(pred.grid.spacing)
        notes.append(f"{outside} voxels ({volume:.3g} mL) predicted outside the truth's grid")
    found, done = pred.on(grid, nearest=True)
    actual, _ = truth.on(grid)
    return found > 0, actual > 0, grid, [*notes, *filter(None, [done])]
