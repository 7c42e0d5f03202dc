"""From slices to probabilities: a network, its weights, and what part of a slice it is shown."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from cosup_jax import devices, models, weights
from cosup_jax.data import chest
from cosup_jax.data.preprocess import apply_window, prepare_image, resize_image
from cosup_jax.prediction import ahead, lung_network
from cosup_jax.prediction.predictor import Predictor

# Slices in a batch. What a network makes of several leaves the caches of a CPU, whose cores are
# better used by a slice each.
_BATCH, _CPU_BATCH = 8, 1
_MEMORY_SHARE = 4  # a batch may take one part in so many of what is there

Item = TypeVar("Item")


class Segmenter:
    """Probabilities of slices of any size and intensity, in batches that fit the memory.

    Args:
      network: the network, its weights and how slices are prepared for it.
      tta: as for `Predictor`.
    """

    def __init__(self, network: weights.Pretrained, *, tta: bool = False) -> None:
        self._several = models.count_classes(network.model) > 1
        self._predictor = Predictor(
            network.model, network.variables, tta=tta, by_class=self._several
        )
        self._settings = network.preprocessing
        self._crop = network.crop

    def prepare(self) -> None:
        """Compiles for full batches, which otherwise the first scan waits for."""
        self._batches(full_batch())

    def boxes(self, slices: Iterable[np.ndarray], intensity: str) -> list[chest.Box] | None:
        """Returns the part of each slice of a volume that the network must be shown.

        Args:
          slices: as for `labelled`, all of the volume.
          intensity: as for `labelled`.

        Returns:
          Rows and columns for each slice, or None where the network takes whole slices, or slices
          differ in size.
        """
        if self._crop == weights.WHOLE:
            return None
        close, count, lungs_of = self._crop == weights.SLICE, 0, list[np.ndarray]()

        def seen() -> Iterator[np.ndarray]:
            nonlocal count
            for part in _parts(slices, lung_network.BATCH):
                count += len(part)
                if close:
                    lungs_of.extend(lung_network.find_each(part, intensity))
                yield from (self._grey(values, intensity) for values in part)

        box = chest.find_box(seen())
        if box is None:
            return None
        return [chest.closer(box, lung) for lung in lungs_of] if close else [box] * count

    def _grey(self, values: np.ndarray, intensity: str) -> np.ndarray:
        return apply_window(values, self._settings.window) if intensity == "hu" else values

    def __call__(
        self,
        slices: Iterable[np.ndarray],
        intensity: str,
        count: int,
        boxes: Sequence[chest.Box] | None = None,
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
        boxes: Sequence[chest.Box] | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the probability of infection in each slice, and its likeliest class.

        Args:
          slices: (H, W) float32 in the true unit; sizes may differ.
          intensity: one of `kinds.INTENSITIES`.
          count: how many slices there are, which decides the size of a batch.
          boxes: of `boxes`, for slices of one volume. Without them, a network that takes slices
            cut to the lungs is shown each slice cut to its own box. Outside of it nothing is
            infected.

        Yields:
          (H, W) float32 probabilities; (H, W) uint8, the class that infection has where it is: from
          1 on, and 1 everywhere of a network with one class.
        """
        size, workers = self._batches(count)
        pairs = zip(slices, itertools.repeat(None) if boxes is None else boxes, strict=False)
        work = functools.partial(self._labelled, intensity=intensity, size=size)
        found = ahead.mapped(work, _parts(pairs, size), workers)
        yield from itertools.chain.from_iterable(found)

    def _labelled(
        self, part: list[tuple[np.ndarray, chest.Box | None]], *, intensity: str, size: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        cuts = [(values, self._own_box(values, intensity, box)) for values, box in part]
        images = [prepare_image(values[cut], intensity, self._settings) for values, cut in cuts]
        # Batches are always full, so that one compiled function serves all of them.
        images += images[:1] * (size - len(part))
        found = self._predictor(np.stack(images))
        labelled = []
        for (values, cut), probability in zip(cuts, found, strict=False):
            infection, classes = self._at_size(probability, values[cut].shape)
            shape = values.shape
            labelled.append((_placed(infection, cut, shape), _placed(classes, cut, shape, 1)))
        return labelled

    def _own_box(self, values: np.ndarray, intensity: str, box: chest.Box | None) -> chest.Box:
        if box is None and (own := self.boxes([values], intensity)):
            (box,) = own
        return (slice(None), slice(None)) if box is None else box

    def _at_size(
        self, probability: np.ndarray, shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        if not self._several:
            infection = np.clip(resize_image(probability, shape), 0.0, 1.0)
            return infection, np.broadcast_to(np.uint8(1), shape)
        each = [resize_image(probability[..., c], shape) for c in range(probability.shape[-1])]
        classes = 1 + np.argmax(each[1:], axis=0)
        return np.clip(1 - each[0], 0.0, 1.0), classes.astype(np.uint8)

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


def _placed(part: np.ndarray, box: chest.Box, shape: tuple[int, int], rest: int = 0) -> np.ndarray:
    """Returns a part of a slice in its place, (H, W), with `rest` around it."""
    if part.shape == shape:
        return part
    whole = np.full(shape, rest, part.dtype)
    whole[box] = part
    return whole
