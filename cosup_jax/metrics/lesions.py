"""Lesions found and missed, and what was taken for one: a volume's parts rather than its voxels.

A lesion is a part of the truth that hangs together over faces, edges and corners (26 neighbours)
and has 0.05 mL at least; smaller parts are specks, which nobody counts. Whether it was found has
two answers: a single voxel passes the first one, and the second one asks for likeness.

| | a lesion is hit | a predicted part of 0.05 mL at least is false |
| --- | --- | --- |
| touch | one voxel of it is predicted | no voxel of it is infected |
| IoU | a predicted part has IoU ≥ 0.1 with it | it has IoU < 0.1 with every part of the truth |
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cosup_jax.metrics.volumes import check_masks, voxel_ml

SMALLEST_ML = 0.05
OVERLAP = 0.1
NEIGHBOURS = np.ones((3, 3, 3), bool)  # which voxels touch: in any of 26 directions
_ROUNDING = 1e-9  # of the voxels in the smallest lesion


class LesionScores(NamedTuple):
    """The lesions of one volume.

    Attributes:
      lesions: in the truth.
      hits: how many of them are touched by the prediction.
      hits_iou: how many of them a predicted part overlaps well enough.
      false_positives: predicted parts that touch no infection.
      false_positives_iou: predicted parts that overlap no part of the truth well enough.
    """

    lesions: int
    hits: int
    hits_iou: int
    false_positives: int
    false_positives_iou: int


def lesion_scores(
    pred: np.ndarray,
    truth: np.ndarray,
    spacing: tuple[float, float, float],
    *,
    smallest_ml: float = SMALLEST_ML,
    overlap: float = OVERLAP,
) -> LesionScores:
    """Counts the lesions of one volume that were found, and false ones.

    Args:
      pred: (Z, Y, X) bool or integer; not zero is infection.
      truth: the same shape, bool or integer.
      spacing: distances of voxel centres (z, y, x) in mm.
      smallest_ml: of a part that counts, mL.
      overlap: the least IoU at which two parts are the same.

    Raises:
      ValueError: the masks are not volumes of one shape, the spacing is not three positive numbers,
        or `smallest_ml` or `overlap` is not what it says.
      TypeError: a mask is neither bool nor integer.

    Example:
      >>> truth = np.zeros((4, 9, 9), bool)
      >>> truth[1, 1:4, 1:4] = truth[3, 6:8, 6:8] = True
      >>> pred = np.zeros_like(truth)
      >>> pred[1, 3, 3] = pred[1, 6:9, 0:2] = True
      >>> lesion_scores(pred, truth, (5.0, 2.0, 2.0))
      LesionScores(lesions=2, hits=1, hits_iou=1, false_positives=1, false_positives_iou=1)
    """
    check_masks(pred, truth)
    if not (0 <= smallest_ml < np.inf and 0 < overlap <= 1):
        raise ValueError(
            f"smallest_ml is {smallest_ml} and overlap {overlap}, expected a volume in mL and a "
            "share above 0, at most 1"
        )
    found, n_found = ndimage.label(pred != 0, NEIGHBOURS)
    true, n_true = ndimage.label(truth != 0, NEIGHBOURS)
    size_found = np.bincount(found.ravel(), minlength=n_found + 1)
    size_true = np.bincount(true.ravel(), minlength=n_true + 1)
    both = (found > 0) & (true > 0)
    pairs, shared = np.unique(np.stack([true[both], found[both]]), axis=1, return_counts=True)
    iou = shared / (size_true[pairs[0]] + size_found[pairs[1]] - shared)
    alike = pairs[:, iou >= overlap - _ROUNDING]
    needed = smallest_ml / voxel_ml(spacing) - _ROUNDING
    lesions = np.flatnonzero(size_true[1:] >= needed) + 1
    parts = np.flatnonzero(size_found[1:] >= needed) + 1
    return LesionScores(
        lesions=len(lesions),
        hits=int(np.isin(lesions, pairs[0]).sum()),
        hits_iou=int(np.isin(lesions, alike[0]).sum()),
        false_positives=int((~np.isin(parts, pairs[1])).sum()),
        false_positives_iou=int((~np.isin(parts, alike[1])).sum()),
    )
