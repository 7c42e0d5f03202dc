"""Whether a scan is unlike what the weights were trained on, in ways that are known to matter.

The shipped weights have seen whole chests without contrast agent, in slices of up to 8 mm. A flag
is a note; no finding is changed by it. The limits are rough: scans that are like those trained on
lie well inside of them.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cosup_jax.prediction import lungs
from cosup_jax.prediction.lung_tissue import LungError

THICKEST = 8.0  # mm between slices
CUT = 0.25  # of the lungs' largest cross-section; a first or last slice with more ends inside them
CONTRAST = 100.0  # HU; the median between the lungs is 30 to 60 without contrast agent
NOISIEST = 60.0  # HU; the deviation between neighbouring pixels of soft tissue
NEAR, DOUBTFUL = 0.1, 0.5  # of probability around the threshold; voxels there, of those marked
_BLOOD = (0, 500)  # HU, of heart, vessels and muscle with and without contrast agent
_TISSUE = (-50, 150)  # HU, of the pixels whose noise is taken
_FEWEST = 200  # pixels


def flags(
    slices: Sequence[np.ndarray],
    *,
    intensity: str,
    spacing: tuple[float, float, float] | None,
    find: lungs.Finder = lungs.find,
    feet_first: bool = True,
) -> list[str]:
    """Returns a note for each way in which a scan is unusual; of grey values nothing is known.

    Args:
      slices: as for `findings.describe`.
      intensity: as for `findings.describe`.
      spacing: as for `findings.describe`.
      find: finds the lungs.
      feet_first: whether it is known that the first slice lies at the feet.
    """
    if intensity != "hu" or spacing is None:
        return []
    try:
        lung: lungs.Lungs | None = find(slices, spacing)
    except LungError:
        lung = None
    found = _flags(slices, spacing, lung, ("lower", "upper") if feet_first else ("first", "last"))
    return [f"unlike the scans trained on: {text}" for text in found]


def _flags(
    slices: Sequence[np.ndarray],
    spacing: tuple[float, float, float],
    lung: lungs.Lungs | None,
    ends: tuple[str, str],
) -> list[str]:
    found = []
    if spacing[0] > THICKEST:
        found.append(f"slices {spacing[0]:.1f} mm apart (over {THICKEST:g})")
    if (deviation := noise(slices)) > NOISIEST:
        found.append(f"noise of {deviation:.0f} HU from pixel to pixel (over {NOISIEST:g})")
    if lung is not None:
        areas = np.count_nonzero(lung.labels, axis=(1, 2))
        outer = zip(ends, (areas[0], areas[-1]), strict=True)
        cut = [end for end, area in outer if area > CUT * areas.max()]
        if cut:
            found.append(f"it ends within the lungs at the {' and the '.join(cut)} end")
        if lung.apart and (blood := between(slices, lung.labels)) > CONTRAST:
            found.append(f"contrast agent: {blood:.0f} HU between the lungs (over {CONTRAST:g})")
    return found


def noise(slices: Sequence[np.ndarray]) -> float:
    """Returns the deviation of soft tissue from a pixel to the next, in HU; 0 where there is none.

    That is 1.4826 times the median absolute difference over √2, which borders change little.
    """
    steps = []
    for pixels in slices[:: max(1, len(slices) // 20)]:
        here, after = pixels[:, :-1], pixels[:, 1:]
        inside = (here > _TISSUE[0]) & (here < _TISSUE[1]) & (after > -500) & (after < 500)
        steps.append(np.abs(after[inside].astype(np.float32) - here[inside]))
    apart = np.concatenate(steps)
    return 0.0 if apart.size < _FEWEST else float(1.4826 * np.median(apart) / np.sqrt(2))


def between(slices: Sequence[np.ndarray], labels: np.ndarray) -> float:
    """Returns the median HU of heart and vessels: in front of the spine, between the lungs.

    Args:
      slices: (H, W) each, in HU.
      labels: (Z, H, W) of lungs that are told apart.
    """
    _, rows, columns = (np.flatnonzero((labels > 0).any(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    middle, width = columns.mean(), np.ptp(columns)
    front = slice(rows[0], rows[0] + len(rows) // 2)
    across = slice(int(middle - width / 8), int(middle + width / 8) + 1)
    shown = np.flatnonzero(labels.any((1, 2)))
    part = np.stack([slices[z][front, across] for z in shown])
    blood = part[(part > _BLOOD[0]) & (part < _BLOOD[1])]
    return 0.0 if blood.size < _FEWEST else float(np.median(blood))


def lost(slices: Sequence[np.ndarray], *, feet_first: bool = True) -> list[str]:
    """Returns notes on slices of which nothing is there, or that are the same as the one before.

    Args:
      slices: (H, W) each.
      feet_first: as for `flags`.
    """
    counted = " from the feet" if feet_first else ""
    empty = [i for i, pixels in enumerate(slices, 1) if pixels.min() == pixels.max()]
    same = [
        i
        for i, (pixels, after) in enumerate(pairwise(slices), 1)
        if i not in empty and np.array_equal(pixels, after)
    ]
    found = []
    if empty:
        found.append(
            f"{len(empty)} of {len(slices)} slices hold one value alone (the first is number "
            f"{empty[0]}{counted}): what was there is not counted"
        )
    if same:
        found.append(
            f"{len(same)} of {len(slices)} slices hold the same values as the next (the first is "
            f"number {same[0]}{counted}): others may be lost"
        )
    return found


def doubt(near: int, marked: int) -> list[str]:
    """Returns a note where many voxels lie near the threshold, for those that are marked.

    Args:
      near: voxels within `NEAR` of the threshold.
      marked: voxels above it.
    """
    if not marked or near <= DOUBTFUL * marked:
        return []
    return [f"{near / marked:.1f} voxels within {NEAR:g} of the threshold for each that is marked"]


def near_threshold(probability: np.ndarray, threshold: float) -> int:
    """Counts the pixels of a slice's (H, W) probability within `NEAR` of the threshold."""
    return int(np.count_nonzero(np.abs(probability - threshold) < NEAR))
