"""Masks of volumes scored against each other: NIfTI, DICOM Segmentations, results of `predict`.

Both are read by what they hold, not by how it is stored, and compared on the truth's voxels.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cosup_jax import metrics
from cosup_jax.data import nnunet, schema
from cosup_jax.data.volume_lists import EACH_A_PATIENT
from cosup_jax.evaluation import mask_files, whole_volumes
from cosup_jax.evaluation.map_values import AUTO
from cosup_jax.evaluation.mask_files import PREDICTION, TRUTH, Mask, Side, Values
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.evaluation.saved import SAME, SavedMapError, evaluate_folders
from cosup_jax.evaluation.whole_volumes import Pair
from cosup_jax.scans import masks, nifti
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.masks import Drawing
from cosup_jax.scans.nifti_labels import UndeclaredError

_SHOWN = 5  # names of what is not read


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
        DICOM Segmentations, or results of `predict`; or one such file.
      truths: folder of the same kind; or one file.
      protocol: `cosup` or `semiseg`, by which slices are scored.
      out: where to write; None writes nothing.
      map_values: of pictures.
      prediction_values: of volumes, stored value (or number of a segment) to class, of which 0 is
        no infection. None: a `dataset.json` in the folder says it, or 1 to 3 and 255 are infection.
      truth_values: likewise.

    Raises:
      DatasetLayoutError, SavedMapError, ImageError, VolumeError: naming the file.
    """
    places = Path(predictions).expanduser(), Path(truths).expanduser()
    values = prediction_values, truth_values
    if not any(map(mask_files.holds_volumes, places)):
        if any(one is not None for one in values):
            raise ValueError("what values mean is declared of volumes; these are pictures")
        return evaluate_folders(
            predictions, truths, protocol=protocol, out=out, map_values=map_values
        )
    if map_values != AUTO:
        raise ValueError(f"--map-values={map_values} is for pictures; volumes hold labels")
    sides = [
        _side(kind, place, given)
        for kind, place, given in zip((PREDICTION, TRUTH), places, values, strict=True)
    ]
    note = EACH_A_PATIENT
    for side in sides:
        if others := mask_files.unread(side):
            shown = "; ".join(others[:_SHOWN]) + f"; … ({len(others)})" * (len(others) > _SHOWN)
            note += f"; not read of the {side.kind}s: {shown}"
    if places[0].samefile(places[1]):
        note += f"; {SAME}"
    about = {
        "dataset": str(truths),
        "split": "",
        "predictions": str(predictions),
        "note": note,
    }
    where = None if out is None else Path(out).expanduser()
    return whole_volumes.score(_read_pairs(*sides), protocol_named(protocol), about, where)


def _side(kind: str, place: Path, given: Values) -> Side:
    side = Side(kind, place, given, mask_files.listed(place))
    if given is None:
        folder = place if place.is_dir() else place.parent
        return side._replace(values=nnunet.label_values(folder, side.option))
    if not all(0 <= label <= schema.MAX_CLASS for label in given.values()):
        raise ValueError(f"{side.option}: {dict(given)}; expected classes 0..{schema.MAX_CLASS}")
    return side


def _read_pairs(pred: Side, truth: Side) -> Iterator[Pair]:
    paths = mask_files.paired(pred, truth)
    for name, pair in tqdm(paths.items(), desc="volumes", delay=2.0, leave=False):
        drawn = [_read(*one) for one in zip((pred, truth), pair, strict=True)]
        found, actual, grid, notes = on_one_grid(*drawn)
        notes = [*_notes(pred, pair[0], drawn[0]), *_notes(truth, pair[1], drawn[1]), *notes]
        slices, spacing = (list(found), list(actual)), grid.spacing
        if any(one.no_size for one in drawn):
            spacing = (math.nan,) * 3
        yield Pair(name, name, *slices, spacing, range(len(actual)), notes, shear=grid.shear)


def _read(side: Side, mask: Mask) -> Drawing:
    try:
        return masks.read_infection(mask.path, side.values)
    except UndeclaredError as error:
        raise UndeclaredError(f"{error} ({side.option} says what each value means)") from error


def _notes(side: Side, mask: Mask, drawn: Drawing) -> list[str]:
    """Returns what a reader must know of one mask."""
    notes = [mask.note, *drawn.notes]
    if side.values is None and mask.path.name.lower().endswith(nifti.SUFFIXES):
        found = [str(value) for value in drawn.values if value]
        if len(found) > 1:
            notes.append(
                f"holds {', '.join(found)}, all taken for infection; {side.option} says otherwise"
            )
    return [f"{side.kind}: {note}" for note in notes if note]


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
                f"{pred.path}, {truth.path}: neither says how far its planes lie apart, or both "
                "contradict themselves in it, so that no volume is known; expected one of them as "
                "NIfTI, on the voxels of the scan"
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
