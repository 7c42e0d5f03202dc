"""What a run was trained and selected on, and whose slices these are: the content of data.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from cosup_jax import runs, weights
from cosup_jax.data import datasets, people


def uses(config: ConfigDict, builder: tfds.core.DatasetBuilder) -> dict[str, str]:
    """Returns the splits of a run by what they serve for; `test` only where it is a split apart.

    Raises:
      SplitError: the dataset has no such split.
    """
    data = config.data
    found = {"train": data.train, "validation": data.validation}
    test = people.evaluation_split(builder, data.test, data.validation)
    return found if test == data.validation else found | {"test": test}


def is_same(
    kept: Mapping[str, Any], builder: tfds.core.DatasetBuilder, used: Sequence[str]
) -> bool:
    """Whether a run's data.json is of the records that its splits hold now, whatever their name."""
    return kept.get("splits") == list(used) and datasets.holds(builder, kept)


def whose(config: ConfigDict, builder: tfds.core.DatasetBuilder) -> dict[str, Any]:
    """Returns whose slices a run is trained and selected on, those of the runs before included."""
    before = _before(config.init)
    found = {}
    for name, split in zip(runs.PEOPLE, (config.data.train, config.data.validation), strict=True):
        earlier = [before[name]] if name in before else []
        found[name] = people.joined(people.people(builder, split), earlier)
    return found


def trained_before(init: str | None) -> dict[str, Any] | None:
    """Returns the people that the weights to start from were trained on, where these say so."""
    return _before(init).get("trained_on")


def _before(init: str | None) -> dict[str, Any]:
    """Returns what is known of whom the weights to start from were trained and selected on.

    Nothing is known of files that are not this package's.

    Raises:
      FileError: the data.json of their run is damaged.
      WeightsError: their file is damaged.
    """
    if not init:
        return {}
    path = Path(weights.file_of(init)).expanduser()
    if not path.is_file():
        return runs.read_data(path)
    found = weights.trained_on(path)
    return {} if found is None else {"trained_on": found}
