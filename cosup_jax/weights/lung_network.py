"""Lungs by a network as well as by their air, so that what is dense in them belongs to them."""

import functools
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from cosup_jax.data.preprocess import prepare_image, resize_image
from cosup_jax.weights.files import Pretrained, load_lungs
from cosup_jax.weights.predictor import Predictor

_BETWEEN = 5.0  # mm from one slice that the network is shown to the next, where there are more
_LOCK = threading.Lock()
BATCH = 8  # slices, so that there is one compiled program, but for `find_in`


class LungNetwork:
    """A network as `prediction.lungs.find` takes one; compiled when it is first asked.

    Args:
      network: weights that mark lungs.
    """

    def __init__(self, network: Pretrained) -> None:
        self._predictor = Predictor(network.model, network.variables)
        self._settings, self.threshold = network.preprocessing, network.threshold

    def prepare(self) -> None:
        """Compiles the network."""
        self._predictor.memory((BATCH, *self._settings.size, 1))

    def __call__(self, volume: np.ndarray, sides: Sequence[float]) -> np.ndarray:
        """Returns where lung is, (Z, H, W) bool; slices not shown are as the one before them.

        Args:
          volume: (Z, H, W) in HU, in the axial view.
          sides: of a voxel (z, y, x) in mm.
        """
        every = max(1, round(_BETWEEN / sides[0]))
        probabilities = self.probabilities(volume[::every], "hu")
        return np.repeat(probabilities > self.threshold, every, axis=0)[: len(volume)]

    def probabilities(
        self, slices: Sequence[np.ndarray] | np.ndarray, intensity: str
    ) -> np.ndarray:
        """Returns the probability of lung in slices of one size, (Z, H, W) float32.

        Takes what `each` takes.
        """
        return np.stack(list(self.each(slices, intensity)))

    def each(
        self, slices: Sequence[np.ndarray] | np.ndarray, intensity: str, batch: int = BATCH
    ) -> Iterator[np.ndarray]:
        """Yields the probability of lung in each slice, (H, W) float32.

        Args:
          slices: (H, W) real numbers each, in their true unit; sizes may differ.
          intensity: one of `kinds.INTENSITIES`.
          batch: how many the network is shown at a time.
        """
        for start in range(0, len(slices), batch):
            part = [np.asarray(s, np.float32) for s in slices[start : start + batch]]
            images = [prepare_image(values, intensity, self._settings) for values in part]
            images += images[:1] * (batch - len(images))
            for values, found in zip(part, self._predictor(np.stack(images)), strict=False):
                yield resize_image(found, values.shape)


@functools.cache
def _shipped() -> LungNetwork:
    return LungNetwork(load_lungs())


def shipped() -> LungNetwork:
    """Returns the network that comes with the package, the same to all threads."""
    with _LOCK:
        return _shipped()


def prepare() -> None:
    """Compiles it, which otherwise the first scan waits for."""
    shipped().prepare()


def find_in(values: np.ndarray, intensity: str) -> np.ndarray:
    """Returns where it finds lung in one slice, (H, W) bool; see `find_each`.

    For many that come one by one, as in training: a batch filled up would take eight times as long.
    """
    network = shipped()
    return next(network.each([values], intensity, batch=1)) > network.threshold


def find_each(slices: Sequence[np.ndarray], intensity: str) -> Iterator[np.ndarray]:
    """Yields where the network that comes with the package finds lung in each slice, (H, W) bool.

    Takes what `LungNetwork.each` takes.
    """
    network = shipped()
    return (found > network.threshold for found in network.each(slices, intensity))
