"""From a built split to batches: TFDS → preprocessing → shuffle, shard, batch (Grain).

Prepared slices stay in memory when they fit, so only the first epoch pays for decoding. The order
of training depends on the seed and the epoch alone. Evaluation sees every slice exactly once; the
last batch is filled up, and `_mask` is 0 where a slice is filling.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import grain
import numpy as np
import tensorflow_datasets as tfds
from isal import isal_zlib
from tqdm import tqdm

from cosup_jax.data import chest, schema
from cosup_jax.data.preprocess import Preprocessing, prepare_example, windowed
from cosup_jax.data.records import Records
from cosup_jax.data.sampling import Group, mixed

Boxes = Sequence[chest.Box]

DEVICE_FIELDS = ("image", "mask", "edge", "_mask")
# Stored as zlib streams, which are unpacked here in half the time; the lungs never are.
_PACKED = {"image": np.int16, "mask": np.uint8}
_DECODERS = dict.fromkeys((*_PACKED, "lung"), tfds.decode.SkipDecoding())
_BYTES_PER_PIXEL = 4 + 1 + 1  # float32 image, uint8 mask and edge
_DECODING = grain.ReadOptions(num_threads=4, prefetch_buffer_size=16)
_FROM_MEMORY = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


class EmptySplitError(ValueError):
    """A split holds too few slices for what is asked of it."""


def open_split(
    builder: tfds.core.DatasetBuilder,
    split: str,
    settings: Preprocessing,
    *,
    boxes: Boxes | None = None,
    cache_gib: float = 8.0,
    prepare: Callable[[Mapping[str, Any], Preprocessing], dict[str, Any]] = prepare_example,
) -> grain.MapDataset:
    """Opens a labelled split as a random-access dataset of prepared slices.

    Args:
      builder: a built dataset.
      split: its name, TFDS slicing allowed (`train[:45]`, `train+validation`).
      settings: size and window.
      boxes: from `find_boxes`, of the same split; each slice is given to `prepare` with its `box`.
        None leaves slices whole.
      cache_gib: prepared slices are kept in memory if all of them fit in this many GiB;
        otherwise each is decoded again every time.
      prepare: makes of an example, whose lungs are not decoded, what the dataset holds.

    Raises:
      EmptySplitError: the split is empty.
      UnlabelledSliceError: the split holds a slice without a mask.
    """
    records = _records(builder, split)
    source = records if boxes is None else _Boxed(records, boxes)
    dataset = grain.MapDataset.source(source).map(lambda e: prepare(_unpacked(e), settings))
    size = len(dataset) * settings.size[0] * settings.size[1] * _BYTES_PER_PIXEL
    if size > cache_gib * 2**30:
        return dataset
    return grain.MapDataset.source(_read_all(dataset, f"reading {split}"))


def find_boxes(
    builder: tfds.core.DatasetBuilder, split: str, settings: Preprocessing, crop: str
) -> Boxes | None:
    """Returns to what each slice of a split is cut, as `predict` does it with those of a scan.

    That is the box of the volume's lungs; at the slice's own `predict` alone looks. All slices of a
    case that the split holds have one box. Where they differ in size, each has its own. Reads the
    split once.

    Args:
      builder: a built dataset.
      split: its name, TFDS slicing allowed.
      settings: their window is that of slices in HU.
      crop: one of `chest.CROPS`.

    Returns:
      Rows and columns of each slice, in the order of the split; None where slices stay whole.

    Raises:
      EmptySplitError: the split is empty.
    """
    if crop == chest.WHOLE:
        return None

    def look(example: Mapping[str, Any]) -> tuple[str, chest.Air]:
        unpacked = _unpacked(example, ("image",))
        values = schema.true_values(unpacked)[..., 0]
        grey = windowed(values, schema.intensity_name(example["intensity"]), settings.window)
        return example["case_id"].decode(), chest.enclosed(grey)

    dataset = grain.MapDataset.source(_records(builder, split)).map(look)
    found = _read_all(dataset, f"finding the lungs of {split}")
    cases: dict[str, list[chest.Air]] = {}
    for case, air in found:
        cases.setdefault(case, []).append(air)
    boxes = {case: chest.box_around(airs) for case, airs in cases.items()}
    # A single slice always has a box.
    return [cast(chest.Box, boxes[case] or chest.box_around([air])) for case, air in found]


def _records(builder: tfds.core.DatasetBuilder, split: str) -> Records:
    if not builder.info.splits[split].num_examples:
        raise EmptySplitError(f"{builder.info.full_name}: the split {split!r} is empty")
    return Records(builder, split, decoders=_DECODERS)


class _Boxed(Sequence):
    """Examples, each with its `box`."""

    def __init__(self, source: Sequence[Mapping[str, Any]], boxes: Boxes) -> None:
        self._source, self._boxes = source, boxes

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> Any:
        return {**self._source[index], "box": self._boxes[index]}


def _unpacked(example: Mapping[str, Any], names: Sequence[str] = tuple(_PACKED)) -> dict[str, Any]:
    arrays = {
        name: np.frombuffer(isal_zlib.decompress(example[name]["value"]), _PACKED[name])
        for name in names
    }
    return {**example} | {name: a.reshape(example[name]["shape"]) for name, a in arrays.items()}


def _read_all(dataset: grain.MapDataset, doing: str) -> list[Any]:
    reader = dataset.to_iter_dataset(_DECODING)
    # Small splits are read before anybody looks; a bar is for those that take a while.
    return list(tqdm(reader, total=len(dataset), desc=doing, unit="slice", delay=2.0))


def _reading(dataset: grain.MapDataset) -> grain.ReadOptions:
    # What is in memory comes from nothing else, and several threads would only be in the way there.
    return _DECODING if dataset.parents else _FROM_MEMORY


def train_batches(
    dataset: grain.MapDataset,
    *,
    batch_size: int,
    seed: int,
    groups: Sequence[Group] = (),
    process_index: int = 0,
    process_count: int = 1,
) -> grain.IterDataset:
    """Returns endless shuffled batches; an epoch is `steps_per_epoch` of them.

    Every epoch has its own order, the same for a seed. Slices that fill no whole batch are left out
    of that epoch, other ones in the next. Process k of P gets the slices [k·B/P, (k+1)·B/P) of a
    global batch B, so that all together hold what one alone would, in the same places. The
    iterator's `get_state` and `set_state` resume it exactly, with any number of processes.

    Args:
      dataset: from `open_split`.
      batch_size: slices in a global batch.
      seed: decides the order.
      groups: where there are any, batches hold their shares of them (`sampling.mixed`), and an
        epoch is as long as one likes.
      process_index: this process's number.
      process_count: how many processes share a batch.

    Raises:
      EmptySplitError: there are fewer slices than a batch takes.
      ValueError: the processes do not divide the batch.
    """
    if batch_size % process_count:
        raise ValueError(f"batch size {batch_size} is not divided by {process_count} processes")
    share = batch_size // process_count
    if groups:
        order = mixed(dataset, groups, seed)
    else:
        used = steps_per_epoch(dataset, batch_size) * batch_size
        order = dataset.seed(seed).shuffle()[:used]
    # Of every `process_count` shares, which make a global batch, one; the others are never read.
    batches = order.batch(share, drop_remainder=True)[process_index::process_count]
    return (batches if groups else batches.repeat()).to_iter_dataset(_reading(dataset))


def steps_per_epoch(dataset: grain.MapDataset, batch_size: int, slices: int = 0) -> int:
    """Returns how many whole batches an epoch has.

    Args:
      dataset: from `open_split`.
      batch_size: slices in a global batch.
      slices: in an epoch, where they are drawn from groups; 0 for as many as there are.

    Raises:
      EmptySplitError: not even one.
    """
    count = slices or len(dataset)
    if count < batch_size:
        raise EmptySplitError(
            f"the training split holds {count} slices, fewer than a batch of {batch_size}; "
            "give a smaller --config.batch_size"
        )
    return count // batch_size


def eval_batches(dataset: grain.MapDataset, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields every slice exactly once in order; the last batch is filled up with `_mask` 0."""
    for batch in dataset.batch(batch_size).to_iter_dataset(_reading(dataset)):
        present = len(batch["slice_index"])
        filling = batch_size - present
        padded = {
            name: np.pad(batch[name], [(0, filling)] + [(0, 0)] * (batch[name].ndim - 1))
            for name in batch
        }
        padded["_mask"] = np.pad(np.ones(present, np.float32), (0, filling))
        yield padded


def for_device(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of a batch that travel to the device, without names and indices."""
    return {name: batch[name] for name in DEVICE_FIELDS if name in batch}
