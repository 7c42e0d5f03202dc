"""From slices to probabilities and masks, with a network and its weights."""

import functools
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax import devices, models, weights
from cosup_jax.data import chest
from cosup_jax.data.preprocess import apply_window, prepare_image, resize_image
from cosup_jax.prediction import ahead, findings, limits, lung_network, lungs, unlike
from cosup_jax.prediction.predictor import Predictor
from cosup_jax.scans import kinds
from cosup_jax.scans.geometry import Grid, GridError
from cosup_jax.scans.intensity import judge

# Slices in a batch. What a network makes of several leaves the caches of a CPU, whose cores are
# better used by a slice each.
_BATCH, _CPU_BATCH = 8, 1
_MEMORY_SHARE = 4  # a batch may take one part in so many of what is there


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

    def box(self, slices: Iterable[np.ndarray], intensity: str) -> chest.Box | None:
        """Returns the part of all slices of a volume that the network must be shown.

        Args:
          slices: as for `labelled`, all of the volume.
          intensity: as for `labelled`.

        Returns:
          Rows and columns, or None where the network takes whole slices, or slices differ in size.
        """
        if not self._crop:
            return None
        return chest.find_box(self._grey(values, intensity) for values in slices)

    def _grey(self, values: np.ndarray, intensity: str) -> np.ndarray:
        return apply_window(values, self._settings.window) if intensity == "hu" else values

    def __call__(
        self,
        slices: Iterable[np.ndarray],
        intensity: str,
        count: int,
        box: chest.Box | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields the probability of infection in each slice, (H, W), at the slice's own size.

        Args:
          slices: as for `labelled`.
          intensity: as for `labelled`.
          count: as for `labelled`.
          box: as for `labelled`.
        """
        for probability, _ in self.labelled(slices, intensity, count, box):
            yield probability

    def labelled(
        self,
        slices: Iterable[np.ndarray],
        intensity: str,
        count: int,
        box: chest.Box | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the probability of infection in each slice, and its likeliest class.

        Args:
          slices: (H, W) float32 in the true unit; sizes may differ.
          intensity: one of `kinds.INTENSITIES`.
          count: how many slices there are, which decides the size of a batch.
          box: of `box`, for slices of one volume. Without one, a network that takes slices cut to
            the lungs is shown each slice cut to its own box. Outside of it nothing is infected.

        Yields:
          (H, W) float32 probabilities; (H, W) uint8, the class that infection has where it is: from
          1 on, and 1 everywhere of a network with one class.
        """
        size, workers = self._batches(count)
        rest = iter(slices)
        parts = iter(lambda: list(itertools.islice(rest, size)), [])
        work = functools.partial(self._labelled, intensity=intensity, size=size, box=box)
        yield from itertools.chain.from_iterable(ahead.mapped(work, parts, workers))

    def _labelled(
        self, part: list[np.ndarray], *, intensity: str, size: int, box: chest.Box | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        boxes = [self._own_box(values, intensity, box) for values in part]
        images = [
            prepare_image(values[cut], intensity, self._settings)
            for values, cut in zip(part, boxes, strict=True)
        ]
        # Batches are always full, so that one compiled function serves all of them.
        images += images[:1] * (size - len(part))
        found = self._predictor(np.stack(images))
        labelled = []
        for values, cut, probability in zip(part, boxes, found, strict=False):
            infection, classes = self._at_size(probability, values[cut].shape)
            shape = values.shape
            labelled.append((_placed(infection, cut, shape), _placed(classes, cut, shape, 1)))
        return labelled

    def _own_box(self, values: np.ndarray, intensity: str, box: chest.Box | None) -> chest.Box:
        if box is None:
            box = self.box([values], intensity)
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


def segment(
    volume: np.ndarray,
    *,
    affine: np.ndarray | None = None,
    spacing: tuple[float, float, float] | None = None,
    intensity: str | None = None,
    network: weights.Pretrained | str | Path = weights.DEFAULT,
    threshold: float | None = None,
    min_lesion_ml: float = 0.0,
    tta: bool = False,
    hu_offset: float | None = None,
    unlimited: bool = False,
) -> np.ndarray:
    """Marks the infection in one CT volume, as `predict` does.

    Values that are no Hounsfield units although they look like a CT's are refused, or, where the
    offset is sure, taken with a warning; `intensity="hu"` says that they are HU.

    Args:
      volume: three axes of real numbers. With `affine` in any stored order (what nibabel gives);
        without, (Z, H, W) in the radiological axial view of `cosup_jax.scans.geometry`.
      affine: (4, 4), stored index to mm in the RAS frame, or None.
      spacing: voxel spacing (z, y, x) in mm where there is no affine; needed by `min_lesion_ml`.
      intensity: one of `kinds.INTENSITIES`, or None to judge by the values.
      network: what `load_pretrained` returns, or takes.
      threshold: probability above which a voxel is infection, between 0 and 1; None takes that of
        the weights.
      min_lesion_ml: lesions smaller than this many mL are dropped.
      tta: average over each slice and its mirror image, left and right exchanged.
      hu_offset: what is to be added to the values to make them HU.
      unlimited: keep marks that cannot lie in the lungs (`limits.USUAL`), which otherwise are
        removed, with a warning.

    Returns:
      bool array of the volume's shape and order.

    Raises:
      ValueError: the volume has not three axes of real numbers, is empty or masked, or holds NaN or
        infinite values; an argument is none of those that it may be; there is no spacing, and
        `min_lesion_ml` needs one.
      IntensityError: the values are no HU, and not surely anything else.
      WeightsError: no such weights.
    """
    values = _checked(volume)
    if intensity is not None and intensity not in kinds.INTENSITIES:
        raise ValueError(
            f"intensity={intensity!r}: expected one of {', '.join(kinds.INTENSITIES)}, or None"
        )
    if intensity is not None and hu_offset is not None:
        raise ValueError("intensity and hu_offset: give one of them")
    highest = kinds.LARGEST_OFFSET
    if hu_offset is not None and not -highest <= hu_offset <= highest:
        raise ValueError(f"hu_offset={hu_offset}: expected a number of HU, of {highest:,} at most")
    if threshold is not None and not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold}: expected a number between 0 and 1")
    if not 0 <= min_lesion_ml < math.inf:
        raise ValueError(f"min_lesion_ml={min_lesion_ml}: expected mL, 0 or more")
    if affine is not None and spacing is not None:
        raise ValueError("affine and spacing: give one of them")
    try:
        grid = None if affine is None else Grid(values.shape, _numbers("affine", affine, (4, 4)))
    except GridError as error:
        raise ValueError(str(error)) from error
    sides = None if grid is None else grid.spacing
    if spacing is not None:
        z, y, x = _numbers("spacing", spacing, (3,)).tolist()
        if min(z, y, x) <= 0:
            raise ValueError(f"spacing={spacing}: expected three sides of a voxel above 0 mm")
        sides = z, y, x
    if min_lesion_ml and sides is None:
        raise ValueError("min_lesion_ml: give the spacing (or the affine) that it is measured by")
    axial = values if grid is None else grid.to_axial(values)
    kind, added = intensity, 0.0
    if kind is None:
        found = judge(list(axial), offset=hu_offset)
        kind, added = found.kind, found.offset
        for note in found.notes:
            warnings.warn(note, stacklevel=2)
    for note in unlike.lost(list(axial)):
        warnings.warn(note, stacklevel=2)
    if isinstance(network, str | Path):
        network = weights.load_pretrained(network)

    def slices() -> Iterator[np.ndarray]:
        return (np.asarray(pixels, np.float32) + np.float32(added) for pixels in axial)

    segmenter = Segmenter(network, tta=tta)
    box = segmenter.box(slices(), kind)
    most = network.threshold if threshold is None else threshold
    true = [] if unlimited else [*slices()]
    with ThreadPoolExecutor(1) as beside:
        known: dict[str, Any] = {"intensity": kind, "spacing": sides}
        if not unlimited and kind == "hu" and sides is not None:
            known["find"] = lungs.begun(lung_network.find, true, sides, beside)
        masks = [p > most for p in segmenter(slices(), kind, len(axial), box)]
    for limit in () if unlimited else limits.USUAL:
        masks, note = limit(true, masks, **known)
        if note:
            warnings.warn(note, stacklevel=2)
    mask = np.stack(masks)
    if min_lesion_ml and sides is not None:
        mask = findings.drop_small(mask, min_lesion_ml, sides)
    return mask if grid is None else np.ascontiguousarray(grid.from_axial(mask))


def _checked(volume: np.ndarray) -> np.ndarray:
    """Returns a volume of finite real numbers."""
    if isinstance(volume, np.ma.MaskedArray) and volume.mask is not np.ma.nomask:
        raise ValueError("a masked array: fill what is masked, with -1000 HU where it is outside")
    values = np.asarray(volume)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"a volume of {values.dtype}: expected real numbers")
    if values.ndim != 3 or not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"a volume of shape {values.shape}: expected three axes and finite numbers only"
        )
    return values


def _numbers(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns an argument as float64 of a shape."""
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={given!r}: expected numbers") from error
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(
            f"{name} of shape {found.shape}: expected {' × '.join(map(str, shape))} finite numbers"
        )
    return found
