"""From a table and the user's wishes to runs, each with its folder and its configuration."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import config_files, ranges, runs
from cosup_jax.experiments.rows import Row, Table
from cosup_jax.experiments.tables import TABLES

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
# Fields that are the table's own, and what sets them.
_OF_TABLE = {
    "seed": "how many seeds each row has is said by --seeds",
    "data.name": "the dataset is named by --data, that of training alone by --train-on",
    "data.source": "the folder is given by --source, that of --train-on by --train-source",
}
_MODEL, _GUIDE, _SEMI = "model.", "model.guide", "semi."


def usual_folder(data: str) -> Path:
    """Returns where the runs and tables of a dataset are, if no folder is given."""
    return Path("runs/experiments") / data


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
      overrides: `--config.name=value` each, for all rows, or `--config.name@row,row=value` for the
        runs of those named, which wins over the first.
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
    configs: Path = dataclasses.field(default_factory=config_files.folder)
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
        name = row.run.replace("*", "-star")
        if self.transfers:
            name += f"-from-{self.train_on}"
        return self.out / "runs" / name / str(seed)

    def config(self, row: Row, seed: int = 0) -> ConfigDict:
        """Returns the configuration of a run, with those overrides that its network knows.

        A guided network's guide is that of the run it starts from: as its folder has it, or where
        there is none yet, as it will be trained.

        Raises:
          ConfigError: no such configuration, or a wrong override.
        """
        config = self._set_config(row)
        config.data.source = self.train_source if self.transfers else self.source
        config.seed = seed
        if row.guide is not None:
            folder = Path(config.init or self.folder(row.guide, seed)).expanduser().absolute()
            if (folder / runs.CONFIG).is_file():
                _set_guide(config, runs.read_config(folder))
            elif not config.init:
                _set_guide(config, self.config(row.guide, seed))
            config.init = str(folder)
        return config

    def trains_guide(self, row: Row) -> bool:
        """Whether the guide of a row is one of this table's runs, not one given by the user."""
        return row.guide is not None and not self._set_config(row).init

    def _set_config(self, row: Row) -> ConfigDict:
        """Returns the configuration of a row's file with the overrides."""
        config = self.file_config(row)
        overrides = [o for o in self.overrides if _is_for(o, row) and _applies(o, row, config)]
        configuration.override(config, list(map(_plain, sorted(overrides, key=_is_special))))
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
        """Returns the overrides for all rows that a row cannot take."""
        config = self.file_config(row)
        return [o for o in self.overrides if not _is_special(o) and not _applies(o, row, config)]

    def changes(self, row: Row) -> dict[str, str]:
        """Returns the fields that differ from the row's file, with their values as text."""
        mine, theirs = (configuration.to_json(c) for c in (self.config(row), self.file_config(row)))
        names = configuration.differences(mine, theirs, _PLACES)
        if row.guide is not None:  # another sentence tells of it
            names = [n for n in names if n != "init" and not n.startswith(_GUIDE)]
        fields = configuration.from_json(mine)
        return {name: str(_field(fields, name)) for name in names}


def find_configs(folder: str | None = None) -> Path:
    """Returns the folder of the configuration files: a given one, or that of this package.

    Raises:
      ConfigError: there is none.
    """
    path = config_files.folder() if folder is None else Path(folder).expanduser()
    if not (path / "base.py").is_file():
        raise configuration.ConfigError(
            f"--configs={folder}: no configuration files, expected base.py among them; without it "
            "those of the package are taken"
        )
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
    """Refuses an override that no selected row or guide can take, and any wrong value.

    Raises:
      ConfigError: naming it, and for a field that is the table's own, what sets that.
    """
    for override in request.overrides:
        if told := _OF_TABLE.get(_field_of(override)):
            raise configuration.ConfigError(f"{override}: {told}")
    rows: dict[str, Row] = {}
    for row in request.definition.rows:
        rows |= {r.run: r for r in (row.guide, row) if r is not None}
    configs: dict[str, ConfigDict] = {}
    for row in request.definition.rows:
        # A row without its configuration is told of in its own place.
        with contextlib.suppress(configuration.ConfigError):
            if row.name in request.selected:
                configs |= {r.run: request.file_config(r) for r in (row.guide, row) if r}
    for override in request.overrides:
        for name in _rows_of(override):
            if name not in rows:
                raise configuration.ConfigError(
                    f"{override}: {request.table} has no runs {name!r}, only {', '.join(rows)}"
                )
        addressed = [c for name, c in configs.items() if _is_for(override, rows[name])]
        taking = [c for c in addressed if _field_of(override) in configuration.field_names(c)]
        for config in taking or addressed[:1]:
            configuration.override(config, [_plain(override)])
    for config in configs.values():
        ranges.check(config)


def _applies(override: str, row: Row, config: ConfigDict) -> bool:
    """Whether a row can take an override.

    Rows differ in their networks' own settings, and no setting makes one semi-supervised. What all
    networks start from, as a backbone, is no guide: that is named for its row alone.
    """
    name = _field_of(override)
    if name == "init" and row.guide is not None:
        return _is_special(override)
    if name.startswith(_SEMI):
        return config.semi.per_round > 0
    return not name.startswith(_MODEL) or name in configuration.field_names(config)


def _set_guide(config: ConfigDict, guide: ConfigDict) -> None:
    """Makes the guide of a guided network the network of another configuration."""
    model = config.model.to_dict()
    model["guide"] = {n: value for n, value in guide.model.to_dict().items() if n != "dtype"}
    config.model = {**model, "guide_size": tuple(guide.data.size)}


def _is_for(override: str, row: Row) -> bool:
    """Whether an override is for a row, or for all."""
    return not _is_special(override) or row.run in _rows_of(override)


def _is_special(override: str) -> bool:
    return bool(_rows_of(override))


def _rows_of(override: str) -> list[str]:
    """The names behind the @ of an override."""
    names = override.partition("=")[0].partition("@")[2]
    return names.split(",") if names else []


def _plain(override: str) -> str:
    """An override without the rows it is for."""
    name, _, value = override.partition("=")
    return f"{name.partition('@')[0]}={value}"


def _field_of(override: str) -> str:
    return _plain(override).lstrip("-").removeprefix("config.").partition("=")[0].partition("[")[0]


def _field(config: ConfigDict, name: str):
    value = config
    for part in name.split("."):
        value = value[part]
    return value
