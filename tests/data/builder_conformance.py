"""What every dataset builder must hold to; its tests call `check_builder` on small source files."""

import collections
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from cosup_jax.data import schema, splits

FIELDS = (
    "image",
    "rescale_slope",
    "rescale_intercept",
    "intensity",
    "mask",
    "has_mask",
    "lung",
    "has_lung",
    "case_id",
    "patient_id",
    "slice_index",
    "spacing",
)
DTYPES = {"image": np.int16, "mask": np.uint8, "lung": np.uint8, "spacing": np.float32}


def check_builder(
    make: Callable[[Path], tfds.core.DatasetBuilder],
    tmp_path: Path,
    expected: Mapping[str, int],
    *,
    manual_dir: Path | None = None,
    classes: Collection[int] = (0, 1, 2, 3),
) -> tfds.core.DatasetBuilder:
    """Builds a dataset twice and checks all that no builder may differ in.

    Args:
      make: given a data_dir, makes a fresh builder that writes array_record.
      tmp_path: an empty folder.
      expected: slices of each split.
      manual_dir: the folder with the source files, for builders that read one.
      classes: the mask values that may occur.

    Returns:
      The first of the two, prepared.
    """
    first, second = (build(make, tmp_path / name, manual_dir) for name in ("one", "two"))
    assert "tensorflow" not in sys.modules
    assert {name: info.num_examples for name, info in first.info.splits.items()} == expected
    assert stored_bytes(first) == stored_bytes(second)
    assert stored_bytes(first), "no array_record files were written"
    assert make(tmp_path / "one").is_prepared()

    patients = {name: _check_split(first, name, classes) for name in expected}
    assert {k: sorted(v) for k, v in first.info.metadata["patients"].items()} == patients
    assert first.info.metadata["patients_apart"] is first.patients_apart
    slices = {key for name in expected for key in read_all(first, name)}
    counted = collections.Counter(case_id for case_id, _ in slices)
    assert make(tmp_path / "one").info.metadata["slices"] == counted
    if first.patients_apart:
        splits.check_patients_apart(patients)
    return first


def build(
    make: Callable[[Path], tfds.core.DatasetBuilder], data_dir: Path, manual_dir: Path | None = None
) -> tfds.core.DatasetBuilder:
    """Makes a builder and prepares it."""
    builder = make(data_dir)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


def stored_bytes(builder: tfds.core.DatasetBuilder) -> dict[str, bytes]:
    """Returns name and content of every example file of a prepared dataset."""
    return {
        path.name: path.read_bytes()
        for path in sorted(Path(builder.data_dir).iterdir())
        if ".array_record" in path.name
    }


def read_all(builder: tfds.core.DatasetBuilder, split: str) -> dict[tuple[str, int], dict]:
    """Returns the examples of a split by case and slice index; no two may share both."""
    source = builder.as_data_source(split=split)
    examples = [source[i] for i in range(len(source))]
    keyed = {(e["case_id"].decode(), int(e["slice_index"])): e for e in examples}
    assert len(keyed) == len(examples), f"two slices of split {split} have one key"
    return keyed


def _check_split(
    builder: tfds.core.DatasetBuilder, split: str, classes: Collection[int]
) -> list[str]:
    patient_of: dict[str, str] = {}
    for (case_id, slice_index), example in read_all(builder, split).items():
        where = f"{split}: {case_id}/{slice_index}"
        _check_example(example, where, classes)
        patient = example["patient_id"].decode()
        assert patient_of.setdefault(case_id, patient) == patient, where
    return sorted(set(patient_of.values()))


def _check_example(example: dict, where: str, classes: Collection[int]) -> None:
    assert set(example) == set(FIELDS), where
    assert all(example[k].dtype == dtype for k, dtype in DTYPES.items()), where
    height, width, channels = example["image"].shape
    assert channels == 1, where
    assert min(height, width) > 0, where
    assert example["mask"].shape == example["lung"].shape == (height, width, 1), where
    assert set(np.unique(example["mask"])) <= set(classes), where
    assert set(np.unique(example["lung"])) <= {0, 1, 2}, where
    assert example["has_mask"] or not example["mask"].any(), where
    assert example["has_lung"] or not example["lung"].any(), where
    assert example["case_id"], where
    assert example["slice_index"] >= 0, where
    assert example["spacing"].shape == (3,), where
    assert example["rescale_slope"] > 0, where
    name = schema.intensity_name(int(example["intensity"]))
    values = schema.true_values(example)
    lowest, highest = {"grey8": (0, 255), "grey16": (0, 65535)}.get(name, (-np.inf, np.inf))
    assert lowest <= values.min(), where
    assert values.max() <= highest, where
