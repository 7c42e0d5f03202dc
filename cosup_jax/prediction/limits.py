"""Masks limited to the lungs."""

from collections.abc import Callable, Sequence

import numpy as np

from cosup_jax import metrics
from cosup_jax.prediction import lungs
from cosup_jax.prediction.lung_tissue import LungError

# From slices and masks to masks and a note; see `along_z`.
Limit = Callable[..., tuple[list[np.ndarray], str]]
BEYOND = 10.0  # mm along z; slices further from any with lung show no lesion
_MOST_REMOVED_ML, _MOST_REMOVED = 10.0, 0.1  # mL; of the marks


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
    whole = metrics.lesion_volume(mask, spacing)
    outside = metrics.lesion_volume(mask & ~inside, spacing)
    if outside > min(_MOST_REMOVED_ML, _MOST_REMOVED * whole):
        return list(masks), f"{kept}: {outside:.1f} of {whole:.1f} mL are too many to be errors"
    return list(inside), f"{outside:.3f} mL of marks outside of the lungs were removed"


def along_z(
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    intensity: str,
    spacing: tuple[float, float, float] | None,
    find: lungs.Finder = lungs.find,
) -> tuple[list[np.ndarray], str]:
    """Returns the masks without what lies in slices above or below all lung, and a note on it.

    Beside dense lung there is lung with air somewhere in the slice or in the ten millimetres next
    to it, so that no share of the marks is too much to remove here. Nothing is removed where lungs
    cannot be found.

    Args:
      slices: as for `findings.describe`.
      masks: as for `findings.describe`.
      intensity: as for `findings.describe`.
      spacing: as for `findings.describe`.
      find: finds the lungs.
    """
    if intensity != "hu" or spacing is None:
        return list(masks), ""
    try:
        lung = find(slices, spacing)
    except LungError:
        return list(masks), ""
    first, last = reaching(lung, spacing)
    kept = [m if first <= z <= last else np.zeros_like(m) for z, m in enumerate(masks)]
    removed = sum(int(np.count_nonzero(m)) for m in masks)
    removed -= sum(int(np.count_nonzero(m)) for m in kept)
    if not removed:
        return kept, ""
    volume = removed * metrics.voxel_ml(spacing)
    return kept, (
        f"{volume:.3f} mL of marks in slices more than {BEYOND:g} mm above or below all lung were "
        "removed (--unlimited keeps them)"
    )


def reaching(lung: lungs.Lungs, spacing: tuple[float, float, float]) -> tuple[int, int]:
    """Returns the first and the last slice that are not `BEYOND` all lung."""
    shown = np.flatnonzero(lung.labels.any((1, 2)))
    first, last = lung.extent or (int(shown[0]), int(shown[-1]))
    more = int(BEYOND / spacing[0])
    return first - more, last + more
