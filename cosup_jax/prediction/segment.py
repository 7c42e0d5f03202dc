"""From one CT volume to the mask of its infection, as an array."""

import math
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax import weights
from cosup_jax.prediction import findings, hysteresis, limits, lungs, unlike
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.scans import kinds, nifti_place, unmeasured
from cosup_jax.scans.geometry import Grid, GridError
from cosup_jax.scans.intensity import judge


def segment(
    volume: np.ndarray,
    *,
    affine: np.ndarray | None = None,
    spacing: tuple[float, float, float] | None = None,
    intensity: str | None = None,
    network: weights.Pretrained | str | Path = weights.DEFAULT,
    threshold: float | None = None,
    peak: float | None = None,
    min_lesion_ml: float = 0.0,
    tta: bool = False,
    hu_offset: float | None = None,
    unlimited: bool = False,
) -> np.ndarray:
    """Marks the infection in one CT volume, as `predict` does.

    Values that are no Hounsfield units although they look like a CT's are refused, or, where the
    offset is sure, taken with a warning; `intensity="hu"` says that they are HU.

    Args:
      volume: three axes of real numbers. With `affine` in any stored order (what nibabel gives);
        without, (Z, H, W) in the radiological axial view of `cosup_jax.scans.geometry`.
      affine: (4, 4), stored index to mm in the RAS frame, or None. One that programs write by
        default (`np.eye(4)`) tells no size, with a warning.
      spacing: voxel spacing (z, y, x) in mm where there is no affine; needed by `min_lesion_ml`.
      intensity: one of `kinds.INTENSITIES`, or None to judge by the values.
      network: what `load_pretrained` returns, or takes.
      threshold: probability above which a voxel is infection, between 0 and 1; None takes that of
        the weights.
      peak: probability that a voxel of each part of it must reach, from 0 for none to below 1; None
        takes that of the weights.
      min_lesion_ml: lesions smaller than this many mL are dropped.
      tta: average over each slice and its mirror image, left and right exchanged.
      hu_offset: what is to be added to the values to make them HU.
      unlimited: keep marks that cannot lie in the lungs (`limits.USUAL`), which otherwise are
        removed, with a warning.

    Returns:
      bool array of the volume's shape and order.

    Raises:
      ValueError: the volume has not three axes of real numbers, is empty or masked, or holds
        infinite values, or NaN elsewhere than around what it shows (there it is air, with a
        warning); an argument is none of those that it may be; there is no spacing, and
        `min_lesion_ml` needs one.
      IntensityError: the values are no HU, and not surely anything else.
      WeightsError: no such weights.
    """
    values = _checked(volume)
    if intensity is not None and intensity not in kinds.INTENSITIES:
        raise ValueError(
            f"intensity={intensity!r}: expected one of {', '.join(kinds.INTENSITIES)}, or None"
        )
    if intensity is not None and hu_offset is not None:
        raise ValueError("intensity and hu_offset: give one of them")
    highest = kinds.LARGEST_OFFSET
    if hu_offset is not None and not -highest <= hu_offset <= highest:
        raise ValueError(f"hu_offset={hu_offset}: expected a number of HU, of {highest:,} at most")
    if threshold is not None and not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold}: expected a number between 0 and 1")
    if peak is not None and not 0 <= peak < 1:
        raise ValueError(f"peak={peak}: expected a number from 0 to below 1")
    if not 0 <= min_lesion_ml < math.inf:
        raise ValueError(f"min_lesion_ml={min_lesion_ml}: expected mL, 0 or more")
    if affine is not None and spacing is not None:
        raise ValueError("affine and spacing: give one of them")
    try:
        grid = None if affine is None else Grid(values.shape, _numbers("affine", affine, (4, 4)))
    except GridError as error:
        raise ValueError(str(error)) from error
    no_size = "" if grid is None else nifti_place.unknown_size(grid.affine)
    sides = None if grid is None or no_size else grid.spacing
    if spacing is not None:
        z, y, x = _numbers("spacing", spacing, (3,)).tolist()
        if min(z, y, x) <= 0:
            raise ValueError(f"spacing={spacing}: expected three sides of a voxel above 0 mm")
        sides = z, y, x
    if min_lesion_ml and sides is None:
        why = no_size or "give the spacing (or the affine) that it is measured by"
        raise ValueError(f"min_lesion_ml: {why}")
    if no_size:
        warnings.warn(f"no size of a voxel is known: {no_size}", stacklevel=2)
    axial = _with_air(values if grid is None else grid.to_axial(values))
    kind, added = intensity, 0.0
    if kind is None:
        found = judge(list(axial), offset=hu_offset)
        kind, added = found.kind, found.offset
        for note in found.notes:
            warnings.warn(note, stacklevel=2)
    for note in unlike.lost(list(axial)):
        warnings.warn(note, stacklevel=2)
    if isinstance(network, str | Path):
        network = weights.load_pretrained(network)

    def slices() -> Iterator[np.ndarray]:
        return (np.asarray(pixels, np.float32) + np.float32(added) for pixels in axial)

    segmenter = Segmenter(network, tta=tta)
    boxes = segmenter.boxes(slices(), kind)
    most = network.threshold if threshold is None else threshold
    least = network.peak if peak is None else peak
    true = [] if unlimited else [*slices()]
    with ThreadPoolExecutor(1) as beside:
        known: dict[str, Any] = {"intensity": kind, "spacing": sides}
        if not unlimited and kind == "hu" and sides is not None:
            known["find"] = lungs.begun(lungs.find_by_both, true, sides, beside)
        each = segmenter(slices(), kind, len(axial), boxes)
        masks = hysteresis.marked(each, most, least)
    for limit in () if unlimited else limits.USUAL:
        masks, note = limit(true, masks, **known)
        if note:
            warnings.warn(note, stacklevel=2)
    mask = np.stack(masks)
    if min_lesion_ml and sides is not None:
        mask = findings.drop_small(mask, min_lesion_ml, sides)
    return mask if grid is None else np.ascontiguousarray(grid.from_axial(mask))


def _checked(volume: np.ndarray) -> np.ndarray:
    """Returns a volume of real numbers, NaN among them."""
    if isinstance(volume, np.ma.MaskedArray) and volume.mask is not np.ma.nomask:
        raise ValueError("a masked array: fill what is masked, with -1000 HU where it is outside")
    values = np.asarray(volume)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"a volume of {values.dtype}: expected real numbers")
    if values.ndim != 3 or np.isinf(values).any() or np.isnan(values).all():
        raise ValueError(
            f"a volume of shape {values.shape}: expected three axes and finite numbers only"
        )
    return values


def _with_air(axial: np.ndarray) -> np.ndarray:
    """Returns a volume in the axial view with its lowest value where it holds NaN."""
    if not np.isnan(axial.min()):  # which it is if any is
        return axial
    missing = np.isnan(axial)
    if count := unmeasured.enclosed(missing):
        raise ValueError(f"the volume {unmeasured.refusal(count)}")
    warnings.warn(unmeasured.note(missing), stacklevel=3)
    return np.where(missing, np.nanmin(axial), axial)


def _numbers(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns an argument as float64 of a shape."""
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={given!r}: expected numbers") from error
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(
            f"{name} of shape {found.shape}: expected {' × '.join(map(str, shape))} finite numbers"
        )
    return found
