"""From a table and the user's wishes to runs, each with its folder and its configuration."""

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax.experiments.tables import TABLES, Row, Table

SAME = "same"
# Where data lie, which seed it is and what it runs on say nothing about what is computed.
_PLACES = (
    "seed",
    "devices",
    "data.name",
    "data.config",
    "data.source",
    "data.data_dir",
    "data.mask_values",
    "data.cache_gib",
    "log.image_epochs",
)
_MODEL = "model."


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
      table: a name of `TABLES`.
      data: the dataset that is scored.
      source: the folder with its files.
      train_on: the dataset to train on, or `same`.
      train_source: the folder with the files of `train_on`.
      seeds: how many runs of each row, with seeds 0, 1, …
      out: the folder for runs and tables.
      selected: names of the rows to run.
      overrides: `--config.name=value` each, for all rows.
      configs: the folder with the configuration files.
      solo: train the seeds of a row one after another, which takes less memory.
    """

    table: str
    data: str
    source: str = ""
    train_on: str = SAME
    train_source: str = ""
    seeds: int = 3
    out: Path = Path("runs/experiments")
    selected: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    configs: Path = Path("configs")
    solo: bool = False

    @property
    def definition(self) -> Table:
        """The table itself."""
        return TABLES[self.table]

    @property
    def transfers(self) -> bool:
        """Whether the network is trained on other data than it is scored on."""
        return self.train_on not in (SAME, self.data)

    def folder(self, row: Row, seed: int) -> Path:
        """The folder of a run."""
        name = (row.runs_of or row.name).replace("*", "-star")
        if self.transfers:
            name += f"-from-{self.train_on}"
        return self.out / "runs" / name / str(seed)

    def config(self, row: Row, seed: int = 0) -> ConfigDict:
        """Returns the configuration of a run, with those overrides that its network knows.

        Raises:
          ConfigError: no such configuration, or a wrong override.
        """
        config = self.file_config(row)
        configuration.override(config, [o for o in self.overrides if _is_known(o, config)])
        config.data.source = self.train_source if self.transfers else self.source
        config.seed = seed
        return config

    def file_config(self, row: Row) -> ConfigDict:
        """Returns the configuration of a row as its file has it.

        Raises:
          ConfigError: no such file or argument.
        """
        path, _, argument = row.config.partition(":")
        data = f"data={self.train_on if self.transfers else self.data}"
        argument = f"{argument},{data}" if argument else data
        return configuration.load(f"{self.configs / path}:{argument}")

    def evaluation_overrides(self) -> list[str]:
        """Returns what must be set in a run's configuration to score it on `data`."""
        if not self.transfers:
            return []
        fields = {"name": self.data, "config": "", "source": self.source}
        return [f"--config.data.{name}={value}" for name, value in fields.items()]

    def not_applying(self, row: Row) -> list[str]:
        """Returns the overrides that a row's network does not have."""
        config = self.file_config(row)
        return [o for o in self.overrides if not _is_known(o, config)]

    def changes(self, row: Row) -> dict[str, str]:
        """Returns the fields that differ from the row's file, with their values as text."""
        mine, theirs = (configuration.to_json(c) for c in (self.config(row), self.file_config(row)))
        names = configuration.differences(mine, theirs, _PLACES)
        fields = configuration.from_json(mine)
        return {name: str(_field(fields, name)) for name in names}


def find_configs(folder: str) -> Path:
    """Returns the folder of the configuration files, and lets Python find what they import.

    Raises:
      ConfigError: there is none.
    """
    path = Path(folder).expanduser()
    if path.name != "configs" or not (path / "base.py").is_file():
        raise configuration.ConfigError(
            f"no configuration files in {folder!r}: the configurations are not part of the "
            "installed package; run in a clone of the repository, or give --configs, the path of "
            "its folder configs"
        )
    parent = str(path.resolve().parent)
    if parent not in sys.path:
        sys.path.insert(0, parent)
    return path


def select(table: str, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the rows of a table to run; all of them where none is named.

    Raises:
      ValueError: a name that is no row.
    """
    known = [row.name for row in TABLES[table].rows]
    for name in names:
        if name not in known:
            raise ValueError(f"{table} has no row {name!r}; its rows are {', '.join(known)}")
    return tuple(name for name in known if name in names or not names)


def check_overrides(request: Request) -> None:
    """Refuses an override that no selected row can take, and any wrong value.

    Raises:
      ConfigError: naming it.
    """
    configs = []
    for row in request.definition.rows:
        # A row without its configuration is told of in its own place.
        with contextlib.suppress(configuration.ConfigError):
            if row.name in request.selected:
                configs.append(request.file_config(row))
    for override in request.overrides:
        taking = [
            config for config in configs if _field_of(override) in configuration.field_names(config)
        ]
        for config in taking or configs[:1]:
            configuration.override(config, [override])


def _is_known(override: str, config: ConfigDict) -> bool:
    """Whether a row can take an override; only a network's own settings differ between rows."""
    name = _field_of(override)
    return not name.startswith(_MODEL) or name in configuration.field_names(config)


def _field_of(override: str) -> str:
    return override.lstrip("-").removeprefix("config.").partition("=")[0].partition("[")[0]


def _field(config: ConfigDict, name: str):
    value = config
    for part in name.split("."):
        value = value[part]
    return value
