"""Masks of volumes scored against each other: NIfTI, DICOM Segmentations, results of `predict`.

Both are read by what they hold, not by how it is stored, and compared on the truth's voxels.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cosup_jax import metrics
from cosup_jax.data import schema, slice_files
from cosup_jax.data.volume_lists import stem_of
from cosup_jax.evaluation import whole_volumes
from cosup_jax.evaluation.map_values import AUTO
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.evaluation.saved import SavedMapError, evaluate_folders
from cosup_jax.evaluation.whole_volumes import Pair
from cosup_jax.scans import dicom_files, masks, nifti
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.masks import Drawing
from cosup_jax.scans.results import MASKS

_CHANNEL = "_0000"  # which nnU-Net puts behind the names of images, and not of labels


def evaluate_saved(
    predictions: str | Path,
    truths: str | Path,
    *,
    protocol: str,
    out: str | Path | None = None,
    map_values: str = AUTO,
) -> dict[str, Any]:
    """Scores saved maps or masks against truths of the same names, pictures or volumes.

    Args:
      predictions: folder of pictures (see `evaluate_folders`), or of masks of volumes: NIfTI files,
        DICOM Segmentations, or results of `predict`.
      truths: folder of the same kind.
      protocol: `cosup` or `semiseg`, by which slices are scored.
      out: where to write; None writes nothing.
      map_values: of pictures.

    Raises:
      DatasetLayoutError, SavedMapError, ImageError, VolumeError: naming the file.
    """
    folders = Path(predictions).expanduser(), Path(truths).expanduser()
    if not any(map(_holds_volumes, folders)):
        return evaluate_folders(
            predictions, truths, protocol=protocol, out=out, map_values=map_values
        )
    if map_values != AUTO:
        raise ValueError(f"--map-values={map_values} is for pictures; volumes hold labels")
    return _evaluate(*folders, protocol, None if out is None else Path(out).expanduser())


def _holds_volumes(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return any(
        path.name.lower().endswith((*nifti.SUFFIXES, *dicom_files.SUFFIXES))
        or any((path / name).exists() for name in MASKS)
        for path in folder.iterdir()
    )


def _evaluate(predictions: Path, truths: Path, protocol: str, out: Path | None) -> dict[str, Any]:
    rules = protocol_named(protocol)
    paths = _paired(_listed(predictions), _listed(truths))
    about = {
        "dataset": str(truths),
        "split": "",
        "predictions": str(predictions),
        "note": "each volume is taken for a patient of its own",
    }
    return whole_volumes.score(_read_pairs(paths), rules, about, out)


def _read_pairs(paths: Mapping[str, tuple[Path, Path]]) -> Iterator[Pair]:
    for name, pair in tqdm(paths.items(), desc="volumes", delay=2.0, leave=False):
        pred, actual, grid, notes = on_one_grid(*map(masks.read_infection, pair))
        yield Pair(name, name, list(pred), list(actual), grid.spacing, range(len(actual)), notes)


def _listed(folder: Path) -> dict[str, Path]:
    """Returns the masks in a folder by name; what is neither NIfTI nor DICOM is left aside."""
    if not folder.is_dir():
        raise SavedMapError(f"{folder}: no such folder; expected one with masks of volumes")
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        paths = [entry / name for name in MASKS if (entry / name).exists()]
        if len(paths) > 1:
            raise SavedMapError(f"{paths[0]} and {paths[1].name}: expected one of the two")
        if entry.is_file() and _is_mask(entry):
            paths = [entry]
        for path in paths:
            slice_files.check_inside(path, folder)
            name = schema.normal_name(stem_of(entry))
            if name in found:
                raise SavedMapError(f"{path}: has the name of {found[name]}; expected one a volume")
            found[name] = path
    return found


def _is_mask(path: Path) -> bool:
    return path.name.lower().endswith(nifti.SUFFIXES) or dicom_files.looks_like(path)


def _paired(found: Mapping[str, Path], true: Mapping[str, Path]) -> dict[str, tuple[Path, Path]]:
    names = {
        name if name in true else name.removesuffix(_CHANNEL): path for name, path in found.items()
    }
    for some, others, kind in ((names, true, "truth"), (true, names, "prediction")):
        lone = [path for name, path in some.items() if name not in others]
        if lone:
            raise SavedMapError(
                f"{lone[0]}: no {kind} of this name; expected one for every volume "
                f"({len(lone)} of {len(some)} without)"
            )
    if not true:
        raise SavedMapError("no masks of volumes in either folder; expected NIfTI or DICOM")
    return {name: (names[name], path) for name, path in true.items()}


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
    if not truth.whole:
        grid = pred.grid if pred.whole and truth.fits(pred.grid) else truth.grown(pred)
    if not truth.whole and not pred.whole:
        notes.append("two Segmentations: slices beyond their planes are not among those scored")
    outside = pred.outside(grid)
    if outside:
        volume = outside * metrics.voxel_ml(pred.grid.spacing)
        notes.append(f"{outside} voxels ({volume:.3g} mL) predicted outside the truth's grid")
    found, done = pred.on(grid, nearest=True)
    actual, _ = truth.on(grid)
    return found > 0, actual > 0, grid, [*notes, *filter(None, [done])]
