"""What weights reach on slices: pixel counts at all thresholds, and the figures made of them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from sets import Piece
from tqdm import tqdm

from cosup_jax import metrics
from cosup_jax.data import chest
from cosup_jax.metrics import THRESHOLD, Counts
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.weights import lung_network

DRAWS = 2000
LEVELS = 255
LEAST = 0.05  # no lower threshold is looked at
PEAKS = (0.0, 0.9, 0.95, 0.98)


class Scored(NamedTuple):
    """Slices of one kind after prediction.

    Attributes:
      levels: (slices, 256) each, pixels at the thresholds k / 255.
      patients: whose each slice is.
      semiseg: (slices,) Dice of the protocol `semiseg`, the mean over thresholds of the map
        stretched to 0..1, whatever peak its parts reach; NaN where it was not asked for.
    """

    levels: Counts
    patients: Sequence[str]
    semiseg: np.ndarray

    @property
    def infected(self) -> np.ndarray:
        """(slices,) bool: which have infection."""
        return (self.levels.tp + self.levels.fn)[:, 0] > 0

    def at(self, threshold: float) -> Counts:
        """Returns the counts (slices,) of pixels above a threshold."""
        return Counts(*(n[:, int(np.floor(threshold * LEVELS)) + 1] for n in self.levels))


class Tuned(NamedTuple):
    """What weights are used with.

    Attributes:
      threshold: probability above which a pixel is infection.
      peak: probability that each part must reach somewhere.
      macro: the macro mean with these.
    """

    threshold: float
    peak: float
    macro: float


def score(segment: Segmenter, pieces: Sequence[Piece], peak: float) -> Scored:
    """Predicts slices, all of one intensity, and counts their pixels in parts that reach a peak."""
    maps = list(_shown(predict(segment, pieces), pieces))
    return counted(maps, pieces, peak)._replace(semiseg=_semiseg(maps, pieces))


def counted(maps: Sequence[np.ndarray], pieces: Sequence[Piece], peak: float) -> Scored:
    """Counts pixels of the probabilities of slices in parts that reach a peak; not by `semiseg`."""
    held = zip(holding(maps, pieces, peak), pieces, strict=True)
    counts = [metrics.threshold_counts(found[None], piece.mask[None]) for found, piece in held]
    levels = Counts(*(np.concatenate(parts) for parts in zip(*counts, strict=True)))
    return Scored(levels, [piece.patient for piece in pieces], np.full(len(pieces), np.nan))


def _semiseg(maps: Sequence[np.ndarray], pieces: Sequence[Piece]) -> np.ndarray:
    dice = []
    for found, piece in zip(maps, pieces, strict=True):
        stretched = metrics.threshold_counts(metrics.min_max(found[None]), piece.mask[None])
        dice.append(metrics.threshold_mean(metrics.dice, stretched)[0])
    return np.array(dice)


def predict(segment: Segmenter, pieces: Sequence[Piece]) -> Iterator[np.ndarray]:
    """Yields the probabilities of slices, those of a volume together as `predict` does.

    What touches no lung is not marked, as there, however much it is.
    """
    intensity = pieces[0].intensity
    for volume, members in itertools.groupby(pieces, lambda piece: piece.volume):
        part = list(members)
        images = [piece.image for piece in part]
        boxes = segment.boxes(images, intensity) if volume else None
        found = segment(iter(images), intensity, len(images), boxes)
        # All at once: a few alone would each fill a batch.
        near = map(chest.touching, lung_network.find_each(images, intensity))
        for stack in stacks(part):
            yield from touching(_next(found, len(stack)), _next(near, len(stack)))


def _next(slices: Iterator[np.ndarray], count: int) -> np.ndarray:
    return np.stack(list(itertools.islice(slices, count)))


def _shown(found: Iterable[np.ndarray], pieces: Sequence[Piece]) -> Iterable[np.ndarray]:
    return tqdm(found, total=len(pieces), unit="slice", leave=False)


def holding(
    found: Iterable[np.ndarray], pieces: Sequence[Piece], peak: float
) -> Iterator[np.ndarray]:
    """Yields probabilities that exceed a threshold in parts that reach a peak alone."""
    rest = iter(found)
    for stack in stacks(pieces):
        probability = _next(rest, len(stack))
        yield from touching(probability, probability >= peak)


def stacks(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yields slices that lie on each other together: those of a volume that have one size."""
    for volume, members in itertools.groupby(pieces, lambda piece: piece.volume):
        part = list(members)
        alike = len({piece.image.shape for piece in part}) == 1
        step = len(part) if volume and alike else 1
        yield from (part[start : start + step] for start in range(0, len(part), step))


def touching(probability: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Returns probabilities (Z, H, W) that exceed a threshold in parts that touch `near` alone.

    Above each threshold from `LEAST` on these are the parts of `probability`, joined in any of 26
    directions, that have a voxel of `near`, (Z, H, W) bool.
    """
    above = np.where(probability > LEAST, probability, np.float32(0))
    found = np.where(near, above, np.float32(0))
    while True:
        grown = np.minimum(ndimage.maximum_filter(found, 3), above)
        if np.array_equal(grown, found):
            return np.where(above > 0, found, probability)
        found = grown


def mean_dice(found: Scored, threshold: float) -> float:
    """Returns the mean Dice of the slices with infection; NaN where there is none."""
    if not found.infected.any():
        return float("nan")
    return float(metrics.dice(found.at(threshold))[found.infected].mean())


def pooled(found: Scored, threshold: float) -> tuple[float, float]:
    """Returns Dice and sensitivity of all pixels together."""
    total = Counts(*(n.astype(np.int64).sum(keepdims=True) for n in found.at(threshold)))
    return float(metrics.dice(total)[0]), float(metrics.sensitivity(total)[0])


def marked(found: Scored, threshold: float) -> tuple[int, int]:
    """Returns how many slices without infection have a mark, and how many there are."""
    empty = ~found.infected
    return int((found.at(threshold).fp[empty] > 0).sum()), int(empty.sum())


def interval(found: Scored, threshold: float, seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of `mean_dice`, patients drawn with replacement."""
    ill = found.infected
    dice = metrics.dice(found.at(threshold))[ill]
    people = np.asarray(found.patients)[ill]
    each = [dice[people == name] for name in np.unique(people)]
    sums, sizes = np.array([d.sum() for d in each]), np.array([d.size for d in each])
    drawn = np.random.default_rng(seed).integers(len(each), size=(DRAWS, len(each)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return tuple(np.percentile(means, (2.5, 97.5)).tolist())


def choose_threshold(sets: Mapping[str, Scored]) -> float:
    """Returns the threshold with the best macro mean, from 0.1 to 0.9 in steps of 0.02.

    The parts are the infected slices of each set that has some, by mean Dice, and the slices
    without infection of all sets together, by the share of those without a mark.
    """
    thresholds = np.round(np.arange(0.1, 0.901, 0.02), 2)
    macro = [macro_mean(sets, float(t)) for t in thresholds]
    best = thresholds[np.flatnonzero(np.array(macro) == max(macro))]
    return float(best[np.abs(best - THRESHOLD).argmin()])


def tuned(segment: Segmenter, sets: Mapping[str, Sequence[Piece]]) -> Tuned:
    """Scores all sets, and returns what of `PEAKS`, and of `choose_threshold`, is best on them."""
    found = {name: list(_shown(predict(segment, pieces), pieces)) for name, pieces in sets.items()}
    tried = []
    for peak in PEAKS:
        scored = {name: counted(found[name], pieces, peak) for name, pieces in sets.items()}
        threshold = choose_threshold(scored)
        tried.append(Tuned(threshold, peak, macro_mean(scored, threshold)))
    return max(tried, key=lambda one: one.macro)


def macro_mean(sets: Mapping[str, Scored], threshold: float) -> float:
    """Returns the mean over the parts that `choose_threshold` names."""
    parts = [mean_dice(found, threshold) for found in sets.values() if found.infected.any()]
    wrong, empty = np.sum([marked(found, threshold) for found in sets.values()], axis=0)
    return float(np.mean([*parts, 1 - wrong / empty]))
