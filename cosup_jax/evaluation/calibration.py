"""What a probability is worth: calibration, and the threshold that suits a split best.

Both come from the pixels at 256 thresholds that every scored slice leaves behind.
"""

from typing import Any, NamedTuple

import numpy as np

from cosup_jax import metrics
from cosup_jax.evaluation.tables import spread
from cosup_jax.metrics import Counts

BINS = 10


class Calibration(NamedTuple):
    """How often pixels are infected by the probability predicted for them.

    Attributes:
      confidence: (bins,) mean probability in each of equally wide bins; NaN where none falls.
      frequency: (bins,) share of these pixels that are infected; NaN where none falls.
      pixels: (bins,) how many.
      ece: expected calibration error, Σ (pixels / all) · `|frequency − confidence|`.
    """

    confidence: np.ndarray
    frequency: np.ndarray
    pixels: np.ndarray
    ece: float


def calibration(levels: Counts, bins: int = BINS) -> Calibration:
    """Computes the calibration of all pixels together (Guo et al. 2017, for one class).

    Most pixels of a slice are healthy and surely so, hence the error is small wherever a network
    is; the bins say more.

    Args:
      levels: (N, 256) each, of probabilities in grey levels, as of `tables.Scores.levels`.
      bins: how many.

    Example:
      >>> sure = metrics.threshold_counts(np.array([[[0.0, 0.6, 0.6]]]), np.array([[[0, 1, 0]]]))
      >>> round(calibration(sure).ece, 6)
      0.066667
    """
    infected, healthy = (_histogram(side) for side in (levels.tp, levels.fp))
    grey = np.arange(infected.size) / (infected.size - 1)
    place = np.minimum((grey * bins).astype(int), bins - 1)
    pixels = np.bincount(place, infected + healthy, bins)
    some = np.maximum(pixels, 1)
    confidence = np.bincount(place, (infected + healthy) * grey, bins) / some
    frequency = np.bincount(place, infected, bins) / some
    ece = float((pixels * np.abs(frequency - confidence)).sum() / pixels.sum())
    nothing = pixels == 0
    confidence[nothing], frequency[nothing] = np.nan, np.nan
    return Calibration(confidence, frequency, pixels.astype(np.int64), ece)


def _histogram(reached: np.ndarray) -> np.ndarray:
    """Pixels at each grey level, from how many reach it."""
    total = reached.astype(np.int64).sum(axis=0)
    return total - np.append(total[1:], 0)


def best_threshold(levels: Counts) -> float:
    """Returns the threshold k / 255 with the best mean Dice over slices; of equals, that next to ½.

    Args:
      levels: (N, 256) each, of the slices to choose on, not of those to report on.
    """
    mean = metrics.dice(levels, empty="one").mean(axis=0)
    (best,) = np.nonzero(mean == mean.max())
    thresholds = best / (mean.size - 1)
    return float(thresholds[np.abs(thresholds - 0.5).argmin()])


def tuned(levels: Counts, chosen_on: Counts) -> dict[str, Any]:
    """Returns the best threshold of other slices, and Dice at it: `threshold`, `dice`.

    Args:
      levels: (N, 256) each, of the slices to report on.
      chosen_on: (M, 256) each, of those to choose the threshold on.
    """
    threshold = best_threshold(chosen_on)
    k = round(threshold * (levels.tp.shape[1] - 1))
    at = Counts(*(n[:, k] for n in levels))
    return {"threshold": threshold, "dice": spread(metrics.dice(at, empty="one"))}
