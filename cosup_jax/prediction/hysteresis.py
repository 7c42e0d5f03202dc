"""Marks by two thresholds: what exceeds the lower one counts where it holds what reaches the other.

In healthy lungs a network takes vessels in a bundle and scars for infection, but is seldom sure of
them anywhere; of an infection it is sure somewhere, and of its border it never is.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from cosup_jax.metrics.lesions import NEIGHBOURS
from cosup_jax.prediction import distances


def stacks(slices: Sequence[np.ndarray]) -> list[slice]:
    """Returns which slices lie on each other: all, or each for itself where sizes differ."""
    step = len(slices) if len({part.shape for part in slices}) == 1 else 1
    return [slice(start, start + step) for start in range(0, len(slices), step)]


def marked(probabilities: Iterable[np.ndarray], threshold: float, peak: float) -> list[np.ndarray]:
    """Returns what is infection in the slices of a volume, (H, W) bool each.

    Args:
      probabilities: (H, W) each.
      threshold: what a pixel must exceed.
      peak: what some pixel of each part must reach.
    """
    masks, sure = [], []
    for probability in probabilities:
        masks.append(probability > threshold)
        sure.append(probability >= peak)
    return holding(masks, sure)


def holding(masks: Sequence[np.ndarray], sure: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the masks without parts that nowhere hold what is sure.

    Parts are joined in any of 26 directions, and within a slice alone where sizes differ.

    Args:
      masks: (H, W) bool each, what exceeds the threshold.
      sure: (H, W) bool each, what reaches the peak.
    """
    kept = list(masks)
    for stack in stacks(masks):
        mask, core = np.stack(masks[stack]), np.stack(sure[stack])
        if not (mask & ~core).any():  # nothing to leave out, as where there is no peak
            continue
        here = distances.box(mask)
        parts, count = ndimage.label(mask[here], NEIGHBOURS)
        held = np.zeros(count + 1, bool)
        held[parts[core[here]]] = True
        held[0] = False
        mask[here] = held[parts]
        kept[stack] = mask
    return kept
