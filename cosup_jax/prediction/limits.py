"""Masks limited to the lungs."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from cosup_jax import metrics
from cosup_jax.data import chest
from cosup_jax.metrics.lesions import NEIGHBOURS
from cosup_jax.prediction import distances, hysteresis, lungs
from cosup_jax.prediction.lung_tissue import LungError
from cosup_jax.weights import lung_network

# From slices and masks to masks and a note; see `along_z`.
Limit = Callable[..., tuple[list[np.ndarray], str]]
BEYOND = 10.0  # mm along z; slices further from any with lung show no lesion
_MOST_REMOVED_ML, _MOST_REMOVED = 10.0, 0.1  # mL; of the marks
_MOST_APART_ML, _LARGEST_APART_ML = 50.0, 10.0  # of all parts far from the lungs; of one
_MOST_BESIDE, _LARGEST_BESIDE = 0.0125, 0.0025  # the same of 4 litres of lung, as shares of it
_KEEPS = " (--unlimited keeps them)"


def within_lungs(
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    intensity: str,
    spacing: tuple[float, float, float] | None,
    find: lungs.Finder = lungs.find,
) -> tuple[list[np.ndarray], str]:
    """Returns the masks without what lies outside of the lungs, and a note on what was done.

    Nothing is removed where lungs cannot be found, or where that would be more than 10 mL or a
    tenth of the marks, since dense lung looks like any tissue.

    Args:
      slices: as for `findings.describe`.
      masks: as for `findings.describe`.
      intensity: as for `findings.describe`.
      spacing: as for `findings.describe`.
      find: finds the lungs.
    """
    kept = "marks outside of the lungs were kept"
    if intensity != "hu" or spacing is None:
        return list(masks), f"{kept}: lungs are found in HU of a known spacing only"
    try:
        lung = find(slices, spacing)
    except LungError as error:
        return list(masks), f"{kept}: {error}"
    mask = np.stack(masks)
    inside = mask & lungs.reach(lung.labels, spacing, lungs.REACH)
    return _without(masks, list(inside), spacing, "outside of the lungs")


def along_z(
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    intensity: str,
    spacing: tuple[float, float, float] | None,
    find: lungs.Finder = lungs.find,
) -> tuple[list[np.ndarray], str]:
    """Returns the masks without what lies in slices above or below all lung, and a note on it.

    Nothing is removed where lungs cannot be found, or where that would be more than 10 mL or a
    tenth of the marks: the bases of both lungs may be dense over some centimetres.

    Takes what `within_lungs` takes.
    """
    lung = _known(slices, intensity, spacing, find)
    if lung is None or spacing is None:
        return list(masks), ""
    first, last = reaching(lung, spacing)
    kept = [m if first <= z <= last else np.zeros_like(m) for z, m in enumerate(masks)]
    where = f"in slices more than {BEYOND:g} mm above or below all lung"
    if not any(mask.any() for z, mask in enumerate(masks) if not first <= z <= last):
        return list(masks), ""
    limited, note = _without(masks, kept, spacing, where)
    return limited, note + _KEEPS * (limited is kept)


def apart(
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    intensity: str,
    spacing: tuple[float, float, float] | None,
    find: lungs.Finder = lungs.find,
) -> tuple[list[np.ndarray], str]:
    """Returns the masks without parts that are nowhere near the lungs, and a note on it.

    Such are marks of the liver, a kidney or the bowel. Lung that is dense, so that it is not found,
    touches lung that is, or is large: parts of more than 10 mL are kept, and all of them where they
    are more than 50 mL together, or where lungs cannot be found.

    Takes what `within_lungs` takes.
    """
    lung = _known(slices, intensity, spacing, find)
    if lung is None or spacing is None:
        return list(masks), ""
    mask = np.stack(masks)
    far = far_parts(mask, lung, spacing, _LARGEST_APART_ML)
    if not far.any():
        return list(masks), ""
    kept = [one & ~gone if gone.any() else one for one, gone in zip(mask, far, strict=True)]
    where = f"in parts that are nowhere within {lungs.REACH:g} mm of the lungs"
    limited, note = _without(masks, kept, spacing, where, _MOST_APART_ML, 1.0)
    return limited, note + _KEEPS * (limited is kept)


def in_pictures(
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    intensity: str,
    spacing: tuple[float, float, float] | None,
    find: lungs.Finder = lungs.find,
) -> tuple[list[np.ndarray], str]:
    """Returns the masks without parts that touch no lung, and a note on it.

    What `apart` does where sizes or HU are not known: in pictures and grey values a network finds
    the lungs, slice by slice. A part of more than 0.25 % of all lung is kept, and so are all of
    them where they are more than 1.25 % together. Pictures of different sizes are no stack, and
    their parts and lungs are shares of each picture.

    Args:
      slices: as for `within_lungs`; sizes may differ.
      masks: as for `within_lungs`.
      intensity: as for `within_lungs`.
      spacing: as for `within_lungs`; where it is known and values are HU, `apart` knows better.
      find: not asked.
    """
    known = intensity == "hu" and spacing is not None
    if known or not any(mask.any() for mask in masks):
        return list(masks), ""
    lung = [*lung_network.find_each(slices, intensity)]
    whole = sum(np.count_nonzero(part) / part.size for part in lung)
    kept, removed, share = list(masks), 0, 0.0
    for stack in hysteresis.stacks(masks):
        mask = np.stack(masks[stack])
        near = np.stack([chest.touching(part) for part in lung[stack]])
        here, pixels = distances.box(mask), mask[0].size
        parts, sizes = parts_beside(mask[here], near[here])
        gone = (sizes > 0) & (sizes <= _LARGEST_BESIDE * whole * pixels)
        if gone.any():
            mask[here] &= ~gone[parts]
            kept[stack] = mask
            removed += int(sizes[gone].sum())
            share += float(sizes[gone].sum()) / pixels
    if not removed:
        return list(masks), ""
    noun, verb = ("pixel", "was") if removed == 1 else ("pixels", "were")
    where = f"{removed} {noun} of marks in parts that touch no lung {verb}"
    if share > _MOST_BESIDE * whole:
        return list(masks), f"{where} kept: they are too many to be errors"
    return kept, f"{where} removed{_KEEPS}"


def parts_beside(mask: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the parts of a mask, numbered, and their voxels, 0 of those that touch lung.

    Args:
      mask: (Z, H, W) bool.
      near: (Z, H, W) bool, of `chest.touching`.
    """
    parts, _ = ndimage.label(mask, NEIGHBOURS)
    sizes = np.bincount(parts.ravel(), minlength=1)
    sizes[np.unique(parts[near])] = sizes[0] = 0
    return parts, sizes


def far_parts(
    mask: np.ndarray,
    lung: lungs.Lungs,
    spacing: tuple[float, float, float],
    largest_ml: float = math.inf,
) -> np.ndarray:
    """Returns the parts of a mask (Z, H, W) that are nowhere within `lungs.REACH` of the lungs.

    Args:
      mask: bool.
      lung: the lungs.
      spacing: as for `within_lungs`.
      largest_ml: larger parts are left out.
    """
    here, found = distances.box(mask), np.zeros_like(mask)
    outside = mask[here] & ~lungs.reach(lung.labels, spacing, lungs.REACH, here)
    if not outside.any():
        return found
    # A part that reaches the lungs does so next to what is outside of them, in its box and margin.
    there = distances.box(outside)
    outside, marked = outside[there], mask[here][there]
    parts, _ = ndimage.label(marked, NEIGHBOURS)
    sizes, inside = (np.bincount(parts[part]) for part in (marked, marked & ~outside))
    far = sizes * metrics.voxel_ml(spacing) <= largest_ml
    far[: len(inside)] &= inside == 0
    found[here][there][outside] = far[parts[outside]]
    return found


def _known(
    slices: Sequence[np.ndarray],
    intensity: str,
    spacing: tuple[float, float, float] | None,
    find: lungs.Finder,
) -> lungs.Lungs | None:
    """Returns the lungs, or None where they cannot be told."""
    if intensity != "hu" or spacing is None:
        return None
    try:
        return find(slices, spacing)
    except LungError:
        return None


def _without(
    masks: Sequence[np.ndarray],
    kept: list[np.ndarray],
    spacing: tuple[float, float, float],
    where: str,
    most_ml: float = _MOST_REMOVED_ML,
    share: float = _MOST_REMOVED,
) -> tuple[list[np.ndarray], str]:
    """Returns `kept` where it lacks little of the masks, else the masks, and a note on it."""
    before, after = (sum(int(np.count_nonzero(m)) for m in each) for each in (masks, kept))
    whole, removed = (n * metrics.voxel_ml(spacing) for n in (before, before - after))
    if removed > min(most_ml, share * whole):
        few, many = (f"{ml:.{metrics.places(ml, 1)}f}" for ml in (removed, whole))
        why = f"{few} of {many} mL are too many to be errors"
        return list(masks), f"marks {where} were kept: {why}"
    return kept, f"{removed:.{metrics.places(removed, 3)}f} mL of marks {where} were removed"


def reaching(lung: lungs.Lungs, spacing: tuple[float, float, float]) -> tuple[int, int]:
    """Returns the first and the last slice that are not `BEYOND` all lung."""
    shown = np.flatnonzero(lung.labels.any((1, 2)))
    first, last = lung.extent or (int(shown[0]), int(shown[-1]))
    more = int(BEYOND / spacing[0])
    return first - more, last + more


# What is removed unless somebody wants it kept, in this order: then notes do not say both.
USUAL: tuple[Limit, ...] = (apart, along_z, in_pictures)
