"""TFDS builders of the datasets, one folder each; `load_class` finds one by its name."""

import importlib
import pkgutil

import tensorflow_datasets as tfds


def available() -> list[str]:
    """Returns the names of all datasets of this package."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg)


def load_class(name: str) -> type[tfds.core.DatasetBuilder]:
    """Returns the builder class of a dataset.

    Raises:
      ValueError: no dataset has this name; the message lists those that exist.
    """
    if name not in available():
        raise ValueError(f"no dataset {name!r} (data.name); there are {', '.join(available())}")
    return importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder").Builder
