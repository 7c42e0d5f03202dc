"""From slices to probabilities: a network, its weights, and what part of a slice it is shown."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from cosup_jax import devices, models, weights
from cosup_jax.data import chest, shown_lungs
from cosup_jax.data.preprocess import prepare_image, resize_image, windowed
from cosup_jax.prediction import ahead
from cosup_jax.weights import lung_network
from cosup_jax.weights.predictor import Predictor

# Slices in a batch. What a network makes of several leaves the caches of a CPU, whose cores are
# better used by a slice each.
_BATCH, _CPU_BATCH = 8, 1
_MEMORY_SHARE = 4  # a batch may take one part in so many of what is there

Views = tuple[chest.Box, ...]  # parts of one slice that the network is shown
Item = TypeVar("Item")


class Segmenter:
    """Probabilities of slices of any size and intensity, in batches that fit the memory.

    Args:
      network: the network, its weights and how slices are prepared for it.
      tta: as for `Predictor`.
    """

    def __init__(self, network: weights.Pretrained, *, tta: bool = False) -> None:
        self._several = models.count_classes(network.model) > 1
        mirrored = network.crop == weights.MIRRORED
        self._crop = weights.VOLUME if mirrored else network.crop
        self._predictor = Predictor(
            network.model, network.variables, tta=tta or mirrored, by_class=self._several
        )
        self._settings = network.preprocessing

    def prepare(self) -> None:
        """Compiles for full batches, which otherwise the first scan waits for."""
        self._batches(full_batch())

    def boxes(self, slices: Iterable[np.ndarray], intensity: str) -> list[Views] | None:
        """Returns the parts of each slice of a volume that the network must be shown.

        Args:
          slices: as for `labelled`, all of the volume.
          intensity: as for `labelled`.

        Returns:
          Rows and columns of each part, for each slice, or None where the network takes whole
          slices, or slices differ in size.
        """
        if self._crop == weights.WHOLE:
            return None
        close = self._crop in chest.CLOSER

        def look(part: list[np.ndarray]) -> tuple[list[chest.Air], list[np.ndarray]]:
            greys = (windowed(values, intensity, self._settings.window) for values in part)
            airs = [chest.enclosed(grey) for grey in greys]
            return airs, [*lung_network.find_each(part, intensity)] if close else []

        parts = _parts(slices, lung_network.BATCH)
        found = [*ahead.mapped(look, parts, devices.at_once())]
        airs = [air for each, _ in found for air in each]
        box = chest.box_around(airs)
        if box is None:
            return None
        if not close:
            return [(box,)] * len(airs)
        before = (box,) if self._crop == weights.BOTH else ()
        return [(*before, chest.closer(box, lung)) for _, lungs in found for lung in lungs]

    def __call__(
        self,
        slices: Iterable[np.ndarray],
        intensity: str,
        count: int,
        boxes: Sequence[Views] | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields the probability of infection in each slice, (H, W), at the slice's own size.

        Args:
          slices: as for `labelled`.
          intensity: as for `labelled`.
          count: as for `labelled`.
          boxes: as for `labelled`.
        """
        for probability, _ in self.labelled(slices, intensity, count, boxes):
            yield probability

    def labelled(
        self,
        slices: Iterable[np.ndarray],
        intensity: str,
        count: int,
        boxes: Sequence[Views] | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the probability of infection in each slice, and its likeliest class.

        Args:
          slices: (H, W) float32 in the true unit; sizes may differ.
          intensity: one of `kinds.INTENSITIES`.
          count: how many slices there are, which decides the size of a batch.
          boxes: of `boxes`, for slices of one volume. Without them, a network that takes slices
            cut to the lungs is shown each slice cut to its own box. Outside of it nothing is
            infected; where several overlap, probabilities are their mean.

        Yields:
          (H, W) float32 probabilities; (H, W) uint8, the class that infection has where it is: from
          1 on, and 1 everywhere of a network with one class.
        """
        size, workers = self._batches(count)
        with_lungs = self._with_lungs(slices, intensity)
        views = itertools.repeat(None) if boxes is None else boxes
        shown = ((*pair, cuts) for pair, cuts in zip(with_lungs, views, strict=False))
        work = functools.partial(self._labelled, intensity=intensity, size=size)
        found = ahead.mapped(work, _parts(shown, size), workers)
        yield from itertools.chain.from_iterable(found)

    def _with_lungs(
        self, slices: Iterable[np.ndarray], intensity: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yields each slice with its lungs, which are found in several at a time."""
        if not self._settings.lungs:
            yield from zip(slices, itertools.repeat(None))
            return
        for part in _parts(slices, lung_network.BATCH):
            for values, lung in zip(part, lung_network.find_each(part, intensity), strict=True):
                yield shown_lungs.taken(values, intensity, lung)

    def _labelled(
        self,
        part: list[tuple[np.ndarray, np.ndarray | None, Views | None]],
        *,
        intensity: str,
        size: int,
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        shown = [
            (values, lung, views or self._own(values, intensity)) for values, lung, views in part
        ]
        images = (
            self._turned(i, self._prepared(values, lung, cut, intensity))
            for values, lung, views in shown
            for i, cut in enumerate(views)
        )
        batches = (self._predict(batch, size) for batch in _parts(images, size))
        found = itertools.chain.from_iterable(batches)
        return [
            self._joined(values.shape, [(cut, next(found)) for cut in views])
            for values, _, views in shown
        ]

    def _prepared(
        self, values: np.ndarray, lung: np.ndarray | None, cut: chest.Box, intensity: str
    ) -> np.ndarray:
        there = None if lung is None else lung[cut]
        return prepare_image(values[cut], intensity, self._settings, there)

    def _turned(self, view: int, part: np.ndarray) -> np.ndarray:
        """Returns a view of a slice as the network is shown it, or what that gives turned back."""
        # Mirror images err elsewhere. Of two views one serves both ends, for no more work.
        return part[:, ::-1] if self._crop == weights.BOTH and view == 0 else part

    def _own(self, values: np.ndarray, intensity: str) -> Views:
        boxes = self.boxes([values], intensity)
        return ((slice(None), slice(None)),) if boxes is None else boxes[0]

    def _predict(self, images: list[np.ndarray], size: int) -> np.ndarray:
        # Batches are always full, so that one compiled function serves all of them.
        return self._predictor(np.stack(images + images[:1] * (size - len(images))))[: len(images)]

    def _joined(
        self, shape: tuple[int, int], found: list[tuple[chest.Box, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what `labelled` yields for a slice, of the probabilities of its parts."""
        classes = found[0][1].shape[2:]
        whole = np.zeros((*shape, *classes), np.float32)
        if classes:
            whole[..., 0] = 1
        for i, (cut, probability) in enumerate(found):
            there = whole[cut]
            own = _resized(self._turned(i, probability), there.shape[:2])
            there[...] = own if i == 0 else there + (own - there) / np.float32(i + 1)
        if not classes:
            return np.clip(whole, 0.0, 1.0), np.broadcast_to(np.uint8(1), shape)
        likeliest = 1 + np.argmax(whole[..., 1:], axis=-1)
        return np.clip(1 - whole[..., 0], 0.0, 1.0), likeliest.astype(np.uint8)

    def _batches(self, count: int) -> tuple[int, int]:
        """Returns the slices of a batch, and how many batches at once the memory holds.

        The size is a power of two that the slices fill.
        """
        size = min(full_batch(), 1 << max(0, count - 1).bit_length())
        budget = devices.free_memory() // _MEMORY_SHARE
        shape = self._settings.size
        while (need := self._predictor.memory((size, *shape, 1))) > budget and size > 1:
            size //= 2
        return size, max(1, min(devices.at_once(), budget // max(1, need)))


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields lists of so many items, and the rest."""
    rest = iter(items)
    return iter(lambda: list(itertools.islice(rest, size)), [])


def full_batch() -> int:
    """Returns how many slices a network is shown at a time, where memory allows it."""
    return _CPU_BATCH if devices.platform() == "cpu" else _BATCH


def _resized(probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns probabilities (h, w), or (h, w, C) of several classes, at another size."""
    if probability.ndim == 2:
        return resize_image(probability, shape)
    channels = (probability[..., c] for c in range(probability.shape[-1]))
    return np.stack([resize_image(each, shape) for each in channels], axis=-1)
