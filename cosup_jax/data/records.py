"""The stored slices of a built dataset; where a file of it is damaged, the dataset is named."""

import contextlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

INFECTED = "infected"  # in the metadata: by split, how many slices hold infection
SLICES = "slices"  # in the metadata, of each case
# array_record and protocol buffers raise in C++ what Python has no names for.
_DAMAGED = (RuntimeError, ValueError, OSError, IndexError, KeyError, zlib.error)


class DamagedDatasetError(ValueError):
    """A file of a built dataset that cannot be read; the message names the folder."""


@contextlib.contextmanager
def describing(place: Path) -> Iterator[None]:
    """Names the dataset where TFDS cannot read the description of one that lies built.

    Args:
      place: its folder, of all versions.

    Raises:
      DamagedDatasetError: it cannot.
    """
    try:
        yield
    # TFDS and protocol buffers raise errors of their own, and nearly every built-in exception.
    except Exception as error:
        if isinstance(error, OSError) or not any(place.glob("*/dataset_info.json")):
            raise
        raise _damaged(f"{place}: its description", error) from error


def check_metadata(builder: tfds.core.DatasetBuilder) -> None:
    """Refuses a built dataset that does not say whose the slices of each split are.

    Raises:
      DamagedDatasetError: naming its folder.
    """
    known = builder.info.metadata or {}
    patients = known.get("patients")
    fits = (
        isinstance(patients, dict)
        and patients.keys() == builder.info.splits.keys()
        and all(isinstance(each, list) for each in patients.values())
        and all(isinstance(patient, str) for each in patients.values() for patient in each)
    )
    if not (fits and isinstance(known.get("patients_apart"), bool)):
        raise DamagedDatasetError(
            f"{builder.data_dir}: its metadata.json does not say whose the slices of each split of "
            "dataset_info.json are, so one of them is damaged; remove the folder, and it is built "
            "again"
        )


class Records(Sequence):
    """Random access to the examples of a split.

    Args:
      builder: a built dataset.
      split: TFDS slicing allowed.
      **options: of `as_data_source`.

    Raises:
      DamagedDatasetError: a file is damaged, at once or when a slice of it is asked for.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str, **options: Any) -> None:
        self._where = f"{builder.data_dir}: its split {split}"
        try:
            self._source = builder.as_data_source(split=split, **options)
            self._length = len(self._source)
        except _DAMAGED as error:
            raise self._named(error) from error

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._length:
            raise IndexError(index)
        try:
            return self._source[index]
        except _DAMAGED as error:
            raise self._named(error) from error

    def _named(self, error: BaseException) -> DamagedDatasetError:
        return _damaged(self._where, error)


def slices_of_cases(builder: tfds.core.DatasetBuilder) -> Mapping[str, int]:
    """Returns how many slices of each case lie in a built dataset, in all its splits together.

    What earlier versions built does not keep it, and is read.

    Raises:
      DamagedDatasetError: a file of it is damaged.
    """
    return (builder.info.metadata or {}).get(SLICES) or count_slices(builder)


def count_slices(builder: tfds.core.DatasetBuilder) -> dict[str, int]:
    """Reads what `slices_of_cases` returns; no pixels are decoded."""
    found: dict[str, set[int]] = {}
    raw = {"deserialize_method": tfds.decode.DeserializeMethod.RAW_BYTES}
    for split in builder.info.splits:
        for record in Records(builder, split, **raw):
            fields = tf_example_pb2.Example.FromString(record).features.feature
            case = fields["case_id"].bytes_list.value[0].decode()
            found.setdefault(case, set()).add(fields["slice_index"].int64_list.value[0])
    return {case: len(indices) for case, indices in sorted(found.items())}


def count_infected(builder: tfds.core.DatasetBuilder) -> dict[str, int]:
    """Reads how many slices of each split of a built dataset hold infection."""
    skip = dict.fromkeys(("image", "lung"), tfds.decode.SkipDecoding())
    return {
        split: sum(bool(np.any(one["mask"])) for one in Records(builder, split, decoders=skip))
        for split in builder.info.splits
    }


def infection_warning(builder: tfds.core.DatasetBuilder) -> str:
    """Returns a sentence where a dataset has nothing to learn, or an empty string.

    What earlier versions built does not keep it.
    """
    known = (builder.info.metadata or {}).get(INFECTED)
    if not isinstance(known, dict) or known.get("train") != 0:
        return ""
    return "no slice of train holds infection, of which nothing can then be learnt"


def _damaged(what: str, error: BaseException) -> DamagedDatasetError:
    told = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DamagedDatasetError(
        f"{what} is damaged ({told}); remove the folder, and it is built again"
    )
