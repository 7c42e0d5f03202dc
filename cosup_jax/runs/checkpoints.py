"""Checkpoints: the best epoch and the last two.

A checkpoint holds everything the next step depends on: the train state, the plateau schedule, the
position of the data iterator, the early-stopping counters, the figures of all epochs so far. It is
written whole or not at all (Orbax), with a checksum of every array. One that is damaged is named,
put aside, and the one before it is taken. Several processes all save and restore.
"""

import dataclasses
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from cosup_jax import hosts
from cosup_jax.runs import integrity, stored
from cosup_jax.runs.integrity import DamagedError
from cosup_jax.runs.keeper import REMOVED, Keeper
from cosup_jax.runs.progress import Progress, progress_of
from cosup_jax.runs.state import TrainState
from cosup_jax.runs.stored import Stored

FOLDER = "checkpoints"
_ASIDE = "damaged-"


class CheckpointError(ValueError):
    """A folder holds no checkpoint, or one that does not fit the network."""


class NotFiniteError(ValueError):
    """A state holds NaN or infinite numbers; the message is the name of the first such array."""


def exist(workdir: Path) -> bool:
    """Tells whether a run has left a checkpoint of an epoch."""
    return bool(stored.listed(workdir / FOLDER))


def open_checkpoints(workdir: Path, name: str = FOLDER) -> ocp.CheckpointManager:
    """Opens a run's checkpoints to write; what a kill has left of others is cleaned up.

    Args:
      workdir: the run's folder.
      name: of the folder in it.

    Raises:
      CheckpointError: there are checkpoints, and all are damaged.
    """
    folder = (workdir / name).resolve()
    with hosts.in_turn():
        _tidy(folder)
    return Keeper(folder)


def _tidy(folder: Path) -> None:
    """Takes away what removals have left, and puts aside what Orbax cannot open."""
    shutil.rmtree(folder / REMOVED, ignore_errors=True)
    found, wrong = stored.whole(folder)
    last = found[-1].number if found else -1
    for number, error in wrong.items():
        path = folder / str(number)
        if not any(path.iterdir()) or (number < last and _is_half(path)):
            shutil.rmtree(path)  # of an earlier version, which did not rename first
        elif found:
            _put_aside(path, error)
        else:
            raise CheckpointError(_none_left(folder, error))


def _none_left(folder: Path, error: Exception) -> str:
    return (
        f"{error}. No checkpoint in {folder} can be read; put the folder back from a copy, or "
        "remove it to start anew"
    )


def _is_half(path: Path) -> bool:
    parts = (stored.STATE, stored.PROGRESS, stored.METRICS, "_CHECKPOINT_METADATA")
    return not all((path / part).exists() for part in parts)


def _put_aside(path: Path, why: Exception) -> None:
    aside = path.with_name(f"{_ASIDE}{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    print(f"{why}. It is put aside as {aside.name}, and the one before is taken", file=sys.stderr)


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    plateau: Any,
    progress: Progress,
    merit: float,
    *,
    number: int | None = None,
) -> None:
    """Starts writing a checkpoint and returns while it is written.

    Args:
      manager: from `open_checkpoints`.
      state: the train state.
      plateau: the state of the plateau schedule.
      progress: where the run stands.
      merit: by which the best is chosen; greater is better.
      number: of the checkpoint; the completed epochs by default.

    Raises:
      NotFiniteError: the state holds NaN; nothing is written.
    """
    # A copy, since the next step uses the state's own memory; in NumPy, for any devices.
    tree = jax.tree.map(np.array, jax.device_get({"train": state, "plateau": plateau}))
    check_finite(tree["train"])
    number = progress.epoch if number is None else number
    record = dataclasses.asdict(progress) | {
        "number": number,
        "merit": merit,
        integrity.ARRAYS: integrity.record(integrity.names(tree)),
    }
    _empty_removed(manager)  # Orbax does not rename over it
    manager.save(
        number,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(tree),
            progress=ocp.args.JsonSave(integrity.sealed(record)),
        ),
        metrics={stored.MERIT: merit},
    )


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits until checkpoints are written, and empties what older ones were moved to."""
    manager.wait_until_finished()
    _empty_removed(manager)


def _empty_removed(manager: ocp.CheckpointManager) -> None:
    if hosts.is_first():
        shutil.rmtree(Path(manager.directory) / REMOVED, ignore_errors=True)


def check_finite(state: TrainState) -> None:
    """Refuses a state that training cannot go on from.

    Raises:
      NotFiniteError: naming the first array with numbers that are none.
    """
    if (name := integrity.not_finite(integrity.names(jax.device_get(state)))) is not None:
        raise NotFiniteError(name)


def restore_last(
    manager: ocp.CheckpointManager, state: TrainState, plateau: Any
) -> tuple[TrainState, Any, Progress] | None:
    """Reads the last checkpoint that is whole into host arrays shaped like `state` and `plateau`.

    Those that are damaged are put aside, with a word, so that the best is one that can be read.

    Returns:
      state, plateau and progress; None where there is no checkpoint.

    Raises:
      CheckpointError: all are damaged, or the last was written for another network or optimizer,
        or by a version that kept other things.
    """
    with hosts.in_turn():
        found = _restore_last(Path(manager.directory), {"train": state, "plateau": plateau})
    if [*manager.all_steps()] != stored.listed(Path(manager.directory)):
        manager.reload()  # without what was put aside
    return found


def _restore_last(folder: Path, target: Any) -> tuple[TrainState, Any, Progress] | None:
    good: list[Stored] = []
    bad: list[tuple[Path, DamagedError]] = []
    tree = None
    for number in reversed(stored.listed(folder)):
        try:
            one = stored.look(folder, number)
            progress_of(one)
            _check_fits(one, target)
            arrays = stored.read(one)
            if tree is None:
                tree = integrity.fill(target, arrays)
            good.append(one)
        except DamagedError as error:
            bad.append((folder / str(number), error))
    if tree is None and bad:
        raise CheckpointError(_none_left(folder, bad[0][1]))
    if tree is None:
        return None
    for path, why in bad:
        _put_aside(path, why)
    # Of those that can be read: another would leave the run without the epoch it calls the best.
    best = max(one.merit for one in good)
    return tree["train"], tree["plateau"], dataclasses.replace(progress_of(good[0]), best=best)


def _check_fits(one: Stored, target: Any) -> None:
    there = {name: shape for name, (_, shape) in stored.layouts(one).items()}
    here = {name: list(np.shape(leaf)) for name, leaf in integrity.names(target).items()}
    if differing := sorted(n for n in there | here if there.get(n) != here.get(n)):
        name = differing[0]
        raise CheckpointError(
            f"{one.path} does not fit this network and this version: {len(differing)} arrays "
            f"differ, the first is {name}: there {there.get(name)}, here {here.get(name)}. A run "
            "that an earlier version has left so can be evaluated, and be started from with "
            "--config.init in another --workdir"
        )


def read_best(workdir: Path) -> tuple[dict[str, Any], int]:
    """Reads the weights of a run's best epoch, whatever its network is and on whatever devices.

    Where that checkpoint is damaged the next best is taken, with a word.

    Returns:
      NumPy arrays under `params` and `batch_stats`, averaged if the run averaged them, and the
      epoch.

    Raises:
      CheckpointError: no whole checkpoint there.
    """
    variables, epoch, note = find_best(workdir)
    if note:
        print(note, file=sys.stderr)
    return variables, epoch


def find_best(workdir: Path, *, last: bool = False) -> tuple[dict[str, Any], int, str]:
    """Does what `read_best` does; the word on damaged checkpoints is returned, empty without.

    With `last` the epoch is the last, however good it is.
    """
    folder = workdir / FOLDER
    if not folder.is_dir():
        raise CheckpointError(
            f"no checkpoints in {folder}; give the folder of a finished run{such_as(workdir)}"
        )
    found, wrong = stored.whole(folder)
    for one in reversed(found) if last else _best_first(found):
        try:
            arrays = stored.read(one, ("params", "batch_stats", "average"))
        except DamagedError as error:
            wrong[one.number] = error
            continue
        told = "; ".join(map(str, wrong.values()))
        which = "last" if last else "best"
        note = f"{told}; the {which} of the others is taken, epoch {one.number}" if told else ""
        return _variables(arrays), one.number, note
    if wrong:
        raise CheckpointError(_none_left(folder, next(iter(wrong.values()))))
    raise CheckpointError(f"{folder} holds no complete checkpoint")


def such_as(folder: Path) -> str:
    """Names the first run that lies in a folder that is none, as seeds trained together do."""
    inside = sorted(place.parent for place in folder.glob(f"*/{FOLDER}") if place.is_dir())
    return f", such as {inside[0]}" if inside else ""


def best_epoch(workdir: Path) -> int | None:
    """Returns the epoch that `find_best` takes unless its arrays are damaged; None without one."""
    found, _ = stored.whole(workdir / FOLDER)
    return _best_first(found)[0].number if found else None


def _best_first(found: Sequence[Stored]) -> list[Stored]:
    return sorted(found, key=lambda one: (-one.merit, one.number))


def last_progress(workdir: Path) -> Progress | None:
    """Returns where the last completed epoch has left a run; None without one."""
    found, _ = stored.whole(workdir / FOLDER)
    return progress_of(found[-1]) if found else None


def read_history(workdir: Path) -> tuple[Mapping[str, Any], ...]:
    """Returns the figures of each completed epoch, with what metrics.jsonl leaves out: its cost."""
    last = last_progress(workdir)
    return tuple(last.history) if last else ()


def _variables(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    saved = traverse_util.unflatten_dict({tuple(name.split("/")): a for name, a in arrays.items()})
    saved = saved["train"].get("average") or saved["train"]
    return {name: saved.get(name, {}) for name in ("params", "batch_stats")}
