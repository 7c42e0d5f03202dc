"""The data of a table: built once, and the same still when scores or runs at hand are used."""

from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import runs
from cosup_jax.data import datasets, people
from cosup_jax.experiments.plan import Request
from cosup_jax.experiments.rows import Row

_digests: dict[tuple[str, ...], str] = {}


class OtherDataError(ValueError):
    """A finished run was trained on other data than lies there now."""


def prepare(request: Request) -> None:
    """Builds the datasets, so that what is wrong with them is told once, not in every row.

    Raises:
      ValueError: no such dataset, or its files are not as they should be.
    """
    rows = [row for row in request.definition.rows if row.name in request.selected]
    for row in rows[:1]:
        for overrides in ([], request.evaluation_overrides()):
            _open(request, row, overrides)


def scored(request: Request, row: Row) -> dict[str, Any]:
    """Returns what a row is scored on now: the dataset's name, the split, a digest of its slices.

    Raises:
      ValueError: as `prepare`, or the dataset has no such split.
    """
    builder, data = _open(request, row, request.evaluation_overrides())
    split = people.evaluation_split(builder, data.test, data.validation)
    name = builder.info.full_name
    return {"dataset": name, "split": split, "digest": _digest(builder, name, [split])}


def source_digest(request: Request, row: Row) -> str:
    """Returns the digest of the files that a row is scored on; empty where it takes none."""
    builder, _ = _open(request, row, request.evaluation_overrides())
    return builder.info.metadata.get("source_digest", "")


def check_trained(request: Request, row: Row, seed: int) -> None:
    """Refuses a run that was trained on other slices or masks than its splits hold now.

    Raises:
      OtherDataError: naming the run.
      FileError: its data.json is damaged.
    """
    folder = request.folder(row, seed)
    kept = runs.read_data(folder)
    if not {"dataset", "fingerprint", "splits"} <= kept.keys():
        return  # of a version that kept nothing to compare
    builder, data = _open(request, row, [])
    if _digest(builder, kept["dataset"], kept["splits"]) != kept["fingerprint"]:
        raise OtherDataError(
            f"{folder} was trained on other data than {data.source or data.name} holds now; "
            "give another --out, or remove the folder to train it again"
        )


def _open(
    request: Request, row: Row, overrides: Sequence[str]
) -> tuple[tfds.core.DatasetBuilder, ConfigDict]:
    config = request.config(row)
    configuration.override(config, overrides)
    return datasets.open_dataset(config.data), config.data


def _digest(builder: tfds.core.DatasetBuilder, name: str, splits: Sequence[str]) -> str:
    """Returns the fingerprint of splits; all rows of a table ask for the same few."""
    key = (str(builder.data_dir), name, *splits)
    if key not in _digests:
        _digests[key] = datasets.fingerprint(builder, splits, name)
    return _digests[key]
