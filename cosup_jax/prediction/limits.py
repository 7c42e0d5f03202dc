"""Masks limited to the lungs."""

from collections.abc import Sequence

import numpy as np

from cosup_jax.prediction import lungs
from cosup_jax.prediction.lung_tissue import LungError

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
        lung = find(np.stack(slices), spacing)
    except LungError as error:
        return list(masks), f"{kept}: {error}"
    mask = np.stack(masks)
    inside = mask & lungs.reach(lung.labels, spacing, lungs.REACH)
    voxel_ml = float(np.prod(spacing)) / 1000
    whole = int(np.count_nonzero(mask)) * voxel_ml
    outside = whole - int(np.count_nonzero(inside)) * voxel_ml
    if outside > min(_MOST_REMOVED_ML, _MOST_REMOVED * whole):
        return list(masks), f"{kept}: {outside:.1f} of {whole:.1f} mL are too many to be errors"
    return list(inside), f"{outside:.3f} mL of marks outside of the lungs were removed"
