"""A finished run opened again: its configuration, its network, the weights of its best epoch."""

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import hosts, locks, models, ranges
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.runs import checkpoints

CONFIG, LOCK = "config.json", ".lock"
# Without which a run cannot be used. Every version has them.
_NEEDED = (
    "batch_size",
    "data.config",
    "data.data_dir",
    "data.mask_values",
    "data.name",
    "data.size",
    "data.source",
    "data.test",
    "data.train",
    "data.validation",
    "data.window",
    "model.dtype",
    "model.name",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A trained network with all that is needed to use it.

    Attributes:
      workdir: the run's folder.
      config: its configuration, as overridden.
      model: the network, for one device.
      variables: `{"params": …, "batch_stats": …}` of an epoch, NumPy arrays.
      epoch: that epoch, the best unless the last was asked for.
      note: what must be said with every figure of it, such as that a better checkpoint is damaged.
    """

    workdir: Path
    config: ConfigDict
    model: nn.Module
    variables: dict[str, Any]
    epoch: int
    note: str = ""

    @property
    def preprocessing(self) -> Preprocessing:
        """How a slice must be prepared for the network."""
        return preprocessing(self.config)

    @property
    def crop(self) -> str:
        """To what slices are cut in prediction, one of `chest.CROPS`."""
        return self.config.data.crop


def open_run(workdir: str | Path, overrides: Sequence[str] = (), *, last: bool = False) -> Run:
    """Opens a run's folder; one of an earlier version does what it did then.

    Args:
      workdir: the folder.
      overrides: `--config.name=value` each, set after the run's own configuration is read.
      last: take the weights of the last epoch, not of the best.

    Raises:
      CheckpointError: no complete checkpoint there.
      ConfigError: no configuration there, one without a field that is needed, or a wrong override.
    """
    folder = Path(workdir).expanduser()
    config = read_config(folder)
    for text in overrides:
        name = text.lstrip("-").partition("=")[0]
        if name.startswith("config.model.") and name != "config.model.dtype":
            raise configuration.ConfigError(
                f"{text}: the network of a finished run is the one that was trained; of the "
                "section model only dtype can be set"
            )
    try:
        model = build_model(config)
    except configuration.ConfigError as error:
        raise configuration.ConfigError(f"{folder / CONFIG}: {error}") from error
    if overrides:
        configuration.override(config, overrides)
        ranges.check(config, ranges.USED)
        model = build_model(config)
    variables, epoch, note = checkpoints.find_best(folder, last=last)
    if note:
        print(note, file=sys.stderr)
    return Run(folder, config, model, variables, epoch, note)


def own(workdir: Path) -> contextlib.AbstractContextManager[None]:
    """Returns the lock of a run's folder, which one process writes into at a time.

    Of several that work together it is the first that holds it.

    Raises:
      LockedError: on entering, where another does.
    """
    if not hosts.is_first():
        return contextlib.nullcontext()
    return locks.lock(workdir / LOCK, f"the run in {workdir}")


def read_config(folder: Path) -> ConfigDict:
    """Reads the configuration of a run.

    Raises:
      ConfigError: there is none, one without a field that is needed, or a value of one of those
        fields means nothing.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise configuration.ConfigError(
            f"no {CONFIG} in {folder}; give the folder of a run{checkpoints.such_as(folder)}"
        )
    try:
        config = configuration.from_json(path.read_text())
        ranges.check(config, ranges.USED)
    except (configuration.ConfigError, UnicodeDecodeError) as error:
        raise configuration.ConfigError(f"{path}: {error}") from error
    known = configuration.field_names(config)
    if missing := [name for name in _NEEDED if name not in known]:
        raise configuration.ConfigError(
            f"{path}: has no field {', '.join(missing)}, which every version of this package "
            "writes; put the file back as the run left it"
        )
    return config


def build_model(config: ConfigDict, axis_name: str | None = None) -> nn.Module:
    """Builds the network that a configuration's section `model` describes.

    Raises:
      ConfigError: it describes none, or one that cannot take slices of `data.size`; the message
        names the field.
    """
    settings = config.model.to_dict() | {"dtype": jnp.dtype(config.model.dtype)}
    try:
        model = models.build(**settings, axis_name=axis_name)
    except TypeError as error:
        raise configuration.ConfigError(
            f"the section model describes no network: {error}"
        ) from error
    except ValueError as error:
        raise configuration.ConfigError(f"model.{error}") from error
    size = tuple(config.data.size)
    try:
        models.check_size(model, size)
    except ValueError as error:
        raise configuration.ConfigError(
            f"data.size is {size}, which the network {config.model.name!r} cannot take: {error}"
        ) from error
    return model


def preprocessing(config: ConfigDict) -> Preprocessing:
    """Returns the settings that a configuration's section `data` has for slices."""
    data = config.data
    return Preprocessing(tuple(data.size), tuple(data.window), data.scaling, data.lungs)
