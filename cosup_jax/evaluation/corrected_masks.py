"""What a mask that somebody has corrected says of its scan: the findings, worked out anew."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cosup_jax import metrics
from cosup_jax.data import own_volumes, results_folder
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.prediction import findings, lungs
from cosup_jax.scans import masks
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.masks import Drawing
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.nifti_labels import UndeclaredError
from cosup_jax.scans.scan import Scan

_CORRECTED = "its mask was corrected, and"
_NO_DEPTH = (
    "does not say how far its planes lie apart, or contradicts itself in it, which the scan alone "
    "would tell"
)
_DIGITS = 3  # of a volume in mL behind the point, and figures that are left of it at least

Measured = tuple[dict[str, float | None], tuple[str, ...]]


def measure(place: Path, fields: Sequence[str]) -> Measured:
    """Returns the findings of a corrected mask, and what the user should know of them.

    They are those of the scan where it is found, and else of the mask alone, of which no more than
    the volume is known.

    Args:
      place: folder of the results of one scan.
      fields: which of `findings.FIELDS` are wanted; None where they cannot be known.

    Raises:
      DatasetLayoutError: the record is none, or nobody knows which mask is meant.
      UndeclaredError: the mask holds a value of which nobody has said what it means.
    """
    result = results_folder.read_result(place)
    nothing: dict[str, float | None] = dict.fromkeys(fields)
    if result.mask is None:
        return nothing, (f"nothing is known of its mask: {result.state}",)
    try:
        scan = _scan(result)
    except (DatasetLayoutError, *own_volumes.BAD) as error:
        return _alone(result.mask, nothing, str(error))
    if scan.grid is None:
        return nothing, ("its masks are pictures",)
    try:
        drawn = masks.read_infection(result.mask)
        mask, done = _on(scan.grid, drawn, placed=scan.placed)
    except UndeclaredError:
        raise
    except VolumeError as error:
        if scan.spacing is None:
            return nothing, (f"{_CORRECTED} nothing is known of it: {error}",)
        return _alone(result.mask, nothing, str(error))
    found = findings.describe(
        scan.true_slices(),
        list(mask > 0),
        intensity=scan.intensity,
        spacing=scan.spacing,
        unknown=scan.unknown,
        shear=scan.shear,
        find=lungs.find_by_both,
    )
    notes = (*scan.notes, *filter(None, [done]), *found.notes, *found.whys(fields))
    return {field: found.values[field] for field in fields}, notes


def _scan(result: results_folder.Result) -> Scan:
    """Reads the scan that results were made of, where their record says that it lies."""
    files = results_folder.find_scan(
        result.record,
        result.folder.parent,
        result.folder.name,
        hint="expected the scan there, unchanged",
    )
    source = own_volumes.source_of(files, result.content or "")
    return source.read(result.record["made_of"].get("settings", {}).get("hu_offset"))


def _alone(path: Path, nothing: dict[str, float | None], why: str) -> Measured:
    """Returns what a mask says without its scan."""
    try:
        drawn = masks.read_infection(path)
    except UndeclaredError:
        raise
    except VolumeError as error:
        return nothing, (f"{_CORRECTED} nothing is known of it: {error}",)
    if drawn.no_size:
        return nothing, (f"{_CORRECTED} no volume is known of it: {drawn.no_size}; {why}",)
    if not drawn.depth_known:
        return nothing, (f"{_CORRECTED} {_NO_DEPTH}: {why}",)
    volume = metrics.lesion_volume(drawn.classes, drawn.grid.spacing)
    volume = round(volume, metrics.places(volume, _DIGITS, _DIGITS))
    said = f"{_CORRECTED} of the lungs nothing is known anew: {why}"
    return nothing | {"lesion_ml": volume}, (said, *drawn.notes)


def _on(grid: Grid, drawn: Drawing, *, placed: bool) -> tuple[np.ndarray, str]:
    """Puts a mask on the voxels of its scan, and returns what was done as well.

    A mask of as many voxels that lie elsewhere is not brought there, nor is any where the scan does
    not say where it lies: tools take headers of no place, or of two, each in a way of its own, and
    what was drawn in one place would be measured in another.

    Raises:
      VolumeError: see `Drawing.on`.
    """
    moved = drawn.grid.shape == grid.axial().shape
    mask, done = drawn.on(grid, nearest=placed and not moved)
    if done and (outside := drawn.outside(grid)):
        volume = outside * metrics.voxel_ml(drawn.grid.spacing)
        done += f"; {outside:,} voxels ({volume:.3g} mL) are drawn outside of it and not counted"
    return mask, done
