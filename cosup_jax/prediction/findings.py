"""What a mask says about a scan: volumes, shares of the lung, number of lesions, density."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from cosup_jax import metrics
from cosup_jax.metrics.lesions import NEIGHBOURS
from cosup_jax.prediction import distances, lungs
from cosup_jax.prediction.lung_tissue import LungError, NoLungsError

FIELDS = (
    "lesion_ml",
    "lung_ml",
    "lung_percent",
    "outside_lung_ml",
    "lesions",
    "largest_lesion_ml",
    "right_lesion_ml",
    "left_lesion_ml",
    "right_lung_percent",
    "left_lung_percent",
    "lesion_mean_hu",
    "infected_slices",
    "slices",
)
_SIDES = {"right": lungs.RIGHT, "left": lungs.LEFT}
_NO_SPACING = "the size of the voxels is unknown"
_NO_HU = "grey values without Hounsfield units"
_NO_LESION = "there is no lesion"
_LESION_FIELDS = ("lesion_ml", "lesions", "largest_lesion_ml", "lesion_mean_hu", "infected_slices")
_TELLING = 0.02  # of the lungs; more marks outside of them are noted
_MOST_OUTSIDE, _FEW_ML = 0.1, 1.0  # of the marks; mL below which they are not worth a word
_MUCH_DENSE = 0.05  # of the lungs; more of them without air is noted
_NO_STACK = "slices of different sizes are no volume"
_SAME_VOLUME = 0.01  # of a voxel's volume


@dataclass
class Findings:
    """The findings of one scan.

    Attributes:
      values: one for each of `FIELDS`; None where it cannot be known.
      reasons: why, for each that is None.
      notes: what the user should know about them.
    """

    values: dict[str, float | int | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def unknown(self, reason: str, *names: str) -> None:
        """Says of some fields that they cannot be known."""
        for name in names:
            self.values[name] = None
            self.reasons[name] = reason

    def whys(self, of: Container[str] | None = None) -> list[str]:
        """Returns for each reason which fields it leaves empty, of all or of some: `no …: why`."""
        found: dict[str, list[str]] = {}
        for name, reason in self.reasons.items():
            found.setdefault(reason, []).extend([name] * (of is None or name in of))
        return [f"no {', '.join(names)}: {reason}" for reason, names in found.items() if names]


def describe(
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    intensity: str,
    spacing: tuple[float, float, float] | None,
    unknown: Mapping[str, str] = MappingProxyType({}),
    shear: float = 1.0,
    find: lungs.Finder = lungs.find,
) -> Findings:
    """Computes the findings of a scan.

    Lesions are parts of the mask that touch in any of 26 directions. The lung is what is found and
    what is marked within 5 mm of it, so that most consolidated lung counts as lung; a lesion voxel
    outside of what was found belongs to the side that is nearer, however far it lies, so that the
    volumes of both sides make that of all lesions. Where there are no lungs there are no lesions:
    all that is marked is outside.

    Args:
      slices: (H, W) in the axial view, HU where `intensity` is `hu`.
      masks: (H, W) bool, of the same sizes.
      intensity: one of `kinds.INTENSITIES`.
      spacing: voxel spacing (z, y, x) in mm, or None.
      unknown: why `size`, `sides` or `density` cannot be known, see `scans.scan.Scan`.
      shear: the product of a voxel's sides over its volume, see `Grid.shear`.
      find: finds the lungs.
    """
    found = Findings(dict.fromkeys(FIELDS))
    found.values["slices"] = len(masks)
    found.values["infected_slices"] = sum(bool(mask.any()) for mask in masks)
    if len({mask.shape for mask in masks}) > 1:
        rest = [name for name in FIELDS if name not in ("slices", "infected_slices")]
        found.unknown(_NO_STACK, *rest)
        return found
    mask = np.stack(masks)
    parts, count = ndimage.label(mask[distances.box(mask)], NEIGHBOURS)
    found.values["lesions"] = int(count)
    no_size = unknown.get("size", _NO_SPACING)
    _volumes(found, parts, spacing, no_size)
    _density(found, slices, masks, intensity, unknown.get("density"))
    if intensity != "hu" or spacing is None:
        _lungs_unknown(found, _NO_HU if intensity != "hu" else no_size)
        return found
    try:
        lung = find(slices, spacing)
    except LungError as error:
        _lungs_unknown(found, str(error))
        if isinstance(error, NoLungsError):
            found.unknown(str(error), *_LESION_FIELDS)
            found.values["outside_lung_ml"] = metrics.lesion_volume(mask, spacing)
            del found.reasons["outside_lung_ml"]
    else:
        here = distances.around(distances.box(lung.labels), distances.box(mask))
        inside = mask[here] & lungs.reach(lung.labels, spacing, lungs.REACH, here)
        mask, lung = mask[here], lung._replace(labels=lung.labels[here])
        _shares(found, mask, inside, lung, metrics.voxel_ml(spacing), unknown.get("sides"))
        _note_dense(found, lung.dense_ml)
        _note_outside(found, metrics.lesion_volume(mask & ~inside, spacing))
    _note_shear(found, shear)
    return found


def add_classes(
    found: Findings,
    labels: Sequence[np.ndarray],
    names: Sequence[str],
    spacing: tuple[float, float, float] | None,
    unknown: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Adds the volume of each class, and its share of the infection: see `class_fields`.

    Args:
      found: what `describe` returned of the mask of all infection.
      labels: (H, W) whole numbers: 0 outside the mask, the class inside.
      names: of the classes from 1 on.
      spacing: voxel spacing (z, y, x) in mm, or None.
      unknown: as for `describe`.
    """
    each = [np.bincount(label.ravel(), minlength=len(names) + 1) for label in labels]
    counts = np.sum(each, axis=0)[1:]
    for name, count in zip(names, counts, strict=True):
        volume, share = class_fields(name)
        if "lesions" in found.reasons:  # there is no volume, or no lung
            found.unknown(found.reasons["lesions"], volume, share)
            continue
        if spacing is None:
            found.unknown(unknown.get("size", _NO_SPACING), volume)
        else:
            found.values[volume] = int(count) * metrics.voxel_ml(spacing)
        if counts.sum():
            found.values[share] = 100 * int(count) / int(counts.sum())
        else:
            found.unknown(_NO_LESION, share)


def class_fields(name: str) -> tuple[str, str]:
    """Returns the fields of a class of infection.

    >>> class_fields("ground-glass")
    ('ground_glass_ml', 'ground_glass_percent')
    """
    stem = name.replace("-", "_")
    return f"{stem}_ml", f"{stem}_percent"


def drop_small(mask: np.ndarray, least_ml: float, spacing: Sequence[float]) -> np.ndarray:
    """Returns a (Z, H, W) bool mask without its lesions of less than `least_ml` mL."""
    parts, _ = ndimage.label(mask, NEIGHBOURS)
    kept = np.bincount(parts.ravel()) * metrics.voxel_ml(spacing) >= least_ml
    kept[0] = False
    return kept[parts]


def _volumes(
    found: Findings,
    parts: np.ndarray,
    spacing: tuple[float, float, float] | None,
    no_size: str,
) -> None:
    if spacing is None:
        found.unknown(no_size, "lesion_ml", "largest_lesion_ml")
        return
    voxel_ml = metrics.voxel_ml(spacing)
    sizes = np.bincount(parts[parts > 0])
    found.values["lesion_ml"] = int(sizes.sum()) * voxel_ml
    found.values["largest_lesion_ml"] = int(sizes.max(initial=0)) * voxel_ml


def _density(
    found: Findings,
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    intensity: str,
    no_density: str | None,
) -> None:
    count = sum(int(np.count_nonzero(mask)) for mask in masks)
    why = _NO_HU if intensity != "hu" else no_density or ("" if count else _NO_LESION)
    if why:
        found.unknown(why, "lesion_mean_hu")
        return
    total = sum(
        float(pixels[mask].sum(dtype=np.float64))
        for pixels, mask in zip(slices, masks, strict=True)
    )
    found.values["lesion_mean_hu"] = total / count


def _lungs_unknown(found: Findings, reason: str) -> None:
    found.unknown(reason, "lung_ml", "lung_percent", "outside_lung_ml")
    for side in _SIDES:
        found.unknown(reason, f"{side}_lesion_ml", f"{side}_lung_percent")


def _note_outside(found: Findings, outside: float) -> None:
    found.values["outside_lung_ml"] = outside
    lung, whole = found.values["lung_ml"] or 0.0, found.values["lesion_ml"] or 0.0
    if outside > _TELLING * lung or outside > max(_MOST_OUTSIDE * whole, _FEW_ML):
        found.notes.append(
            f"{outside:.1f} mL of the marks lie more than {lungs.REACH:g} mm outside of the lungs "
            "found: they are no lesions, or the lung is dense there; lung_ml leaves them out"
        )


def _note_dense(found: Findings, dense: float) -> None:
    whole = found.values["lung_ml"] or 0.0
    if dense > _MUCH_DENSE * whole:
        found.notes.append(
            f"{dense:.0f} of {whole:.0f} mL of lung have no air: they are lung by a network alone"
        )


def _note_shear(found: Findings, shear: float) -> None:
    """Notes both volumes where the header leaves open which of them is meant."""
    if abs(shear - 1) <= _SAME_VOLUME:
        return
    named = ", ".join(
        f"{name} {volume:.3f} ({volume * shear:.3f})"
        for name in ("lesion_ml", "lung_ml")
        if (volume := found.values[name]) is not None
    )
    found.notes.append(
        "the grid is sheared, as a tilted gantry leaves it: volumes are those of the voxels as "
        f"placed, {100 * (shear - 1):.1f} % less than by the product of their sides, which some "
        f"converters mean: {named}"
    )


def _shares(
    found: Findings,
    mask: np.ndarray,
    inside: np.ndarray,
    lung: lungs.Lungs,
    voxel_ml: float,
    no_sides: str | None,
) -> None:
    values = found.values
    total = int(np.count_nonzero((lung.labels > 0) | inside))
    values["lung_ml"] = total * voxel_ml
    values["lung_percent"] = 100 * int(np.count_nonzero(inside)) / total
    why = no_sides or ("" if lung.apart else "right and left lung were not told apart")
    if why:
        for side in _SIDES:
            found.unknown(why, f"{side}_lesion_ml", f"{side}_lung_percent")
        return
    sides = _side_of_each_voxel(mask, lung.labels)
    for side, label in _SIDES.items():
        here = sides == label
        marked = int(np.count_nonzero(inside & here))
        whole = int(np.count_nonzero(here & (inside | (lung.labels > 0))))
        values[f"{side}_lesion_ml"] = int(np.count_nonzero(mask & here)) * voxel_ml
        values[f"{side}_lung_percent"] = 100 * marked / whole


def _side_of_each_voxel(mask: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the labels, those of marked voxels outside of the lungs being taken from the side."""
    columns: Mapping[int, float] = {
        label: float(np.nonzero((labels == label).any((0, 1)))[0].mean())
        for label in _SIDES.values()
    }
    right, left = columns[lungs.RIGHT], columns[lungs.LEFT]
    nearer_right = np.abs(np.arange(mask.shape[2]) - right) < np.abs(
        np.arange(mask.shape[2]) - left
    )
    side = np.where(nearer_right, lungs.RIGHT, lungs.LEFT).astype(np.uint8)
    return np.where(mask & (labels == 0), side[None, None, :], labels)
