"""One checkpoint on the disk: what its record says, and its arrays, read and checked.

A folder NUMBER holds the arrays in `state` (Orbax), the record in `progress` and the measure by
which the best is chosen in `metrics`. Arrays are read into NumPy, on whatever devices the run was
trained.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from cosup_jax import files, hosts
from cosup_jax.runs import integrity
from cosup_jax.runs.integrity import DamagedError

STATE, PROGRESS, METRICS = "state", "progress", "metrics"
MERIT = "dice"  # the name in `metrics`
# The record of a version that kept no checksums.
_EARLIER = {"epoch", "iterator", "stopping", "best_dice"}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A checkpoint whose record has been read.

    Attributes:
      path: its folder.
      number: its name: the epoch, or of an interrupted epoch the step.
      record: what it says besides the arrays.
      arrays: type, shape and checksum of each array; None where an earlier version kept none.
      merit: by which the best is chosen; greater is better.
    """

    path: Path
    number: int
    record: dict[str, Any]
    arrays: dict[str, list[Any]] | None
    merit: float


def listed(folder: Path) -> list[int]:
    """Returns the numbers of the checkpoints in a folder, whole or not, rising."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())


def look(folder: Path, number: int) -> Stored:
    """Reads the record of a checkpoint.

    Raises:
      DamagedError: a part is missing, or its record is damaged.
    """
    path = folder / str(number)
    place = path / PROGRESS / "metadata"
    try:
        content = files.read_json(place)
        merit = files.read_json(path / METRICS / "metrics").get(MERIT)
        missing = [n for n in (STATE, "_CHECKPOINT_METADATA") if not (path / n).exists()]
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = [str(Path(str(error.filename)).relative_to(path))]
    except DamagedError:
        raise
    except files.FileError as error:
        raise DamagedError(str(error)) from error
    if missing:
        raise DamagedError(f"{path}: is damaged, {missing[0]} is missing")
    record = integrity.unsealed(content, _EARLIER, place)
    arrays = record.pop(integrity.ARRAYS, None)
    if (record.pop("number", record.get("epoch")), record.pop("merit", merit)) != (number, merit):
        raise DamagedError(f"{path}: is damaged, it is not what its record says")
    if not isinstance(merit, float | int) or math.isnan(merit):
        raise DamagedError(f"{path}: is damaged, it has no measure to choose the best by")
    return Stored(path, number, record, arrays, float(merit))


def whole(folder: Path) -> tuple[list[Stored], dict[int, DamagedError]]:
    """Returns the checkpoints of a folder, rising, and what is wrong with those left out."""
    found, wrong = [], {}
    for number in listed(folder):
        try:
            found.append(look(folder, number))
        except DamagedError as error:
            wrong[number] = error
    return found, wrong


def layouts(one: Stored) -> dict[str, list[Any]]:
    """Returns type and shape of each array of a checkpoint.

    Raises:
      DamagedError: they cannot be read.
    """
    if one.arrays is not None:
        return {name: [kind, shape] for name, (kind, shape, _) in one.arrays.items()}
    with _reading(one) as reader:
        return _layouts(_tree(reader, one))


def _state(one: Stored) -> Path:
    return (one.path / STATE).absolute()  # Orbax finds nothing by a relative path


def _tree(reader: ocp.Checkpointer, one: Stored) -> Any:
    known = reader.metadata(_state(one)).item_metadata
    if known is None:  # Orbax tells no more of a list that it cannot read
        raise DamagedError(f"{one.path}: is damaged, the list of its arrays cannot be read")
    return known.tree


def _layouts(tree: Any) -> dict[str, list[Any]]:
    return {name: integrity.layout(leaf) for name, leaf in integrity.names(tree).items()}


def read(one: Stored, collections: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint, by their names in `integrity.names`.

    Args:
      one: the checkpoint.
      collections: only these of the train state, such as `params`; () for everything.

    Raises:
      DamagedError: they cannot be read, are not those that were written, or hold numbers that are
        none.
    """
    with _reading(one) as reader:
        tree = _tree(reader, one)
        if collections:
            tree = {"train": {n: tree["train"][n] for n in collections if n in tree["train"]}}
        if one.arrays is not None:
            # Before anything is allocated of a size that a damaged file claims.
            there = {name: entry[:2] for name, entry in one.arrays.items()}
            for name, layout in _layouts(tree).items():
                if there.get(name) != layout:
                    raise DamagedError(f"{one.path}: is damaged at the array {name}")
        as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
        target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
        arguments = ocp.args.PyTreeRestore(
            item=target,
            restore_args=jax.tree.map(lambda _: as_numpy, target),
            partial_restore=True,
        )
        found = integrity.names(reader.restore(_state(one), args=arguments))
    arrays = {name: np.asarray(value) for name, value in found.items()}
    if one.arrays is not None:
        integrity.check(arrays, _wanted(one.arrays, collections), one.path)
    trained = {name: value for name, value in arrays.items() if name.startswith("train/")}
    if (bad := integrity.not_finite(trained)) is not None:
        raise DamagedError(
            f"{one.path}: the array {bad} holds numbers that are NaN or infinite; the training "
            "had diverged there"
        )
    return arrays


def _wanted(arrays: dict[str, list[Any]], collections: Sequence[str]) -> dict[str, list[Any]]:
    places = tuple(f"train/{name}/" for name in collections) or ("",)
    return {name: entry for name, entry in arrays.items() if name.startswith(places)}


@contextlib.contextmanager
def _reading(one: Stored) -> Iterator[ocp.Checkpointer]:
    """Opens what reads arrays; whatever goes wrong there is damage to the checkpoint."""
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)  # Orbax warns of what it does not find
    silence_what_is_told_again()  # before one fails: the others may end as soon as it has
    try:
        alone = ocp.options.MultiprocessingOptions(
            primary_host=hosts.index(), active_processes={hosts.index()}
        )
        handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as reader:
            yield reader
    except (DamagedError, MemoryError, PermissionError):
        raise
    except Exception as error:
        told = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DamagedError(f"{one.path}: is damaged, its arrays cannot be read ({told})") from error
    finally:
        absl_logging.set_verbosity(before)


@functools.cache
def silence_what_is_told_again() -> None:
    """Drops what the reads and writes beside a failed one print, each a traceback."""

    def is_news(record: logging.LogRecord) -> bool:
        return not (record.exc_info and "tensorstore_spec" in str(record.exc_info[1]))

    logging.getLogger("asyncio").addFilter(is_news)
    before = sys.unraisablehook

    def quieter(told: Any) -> None:
        late = isinstance(told.exc_value, RuntimeError) and "is closed" in str(told.exc_value)
        if not late:
            before(told)

    sys.unraisablehook = quieter
