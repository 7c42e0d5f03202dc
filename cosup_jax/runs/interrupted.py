"""The checkpoint of an epoch that was not completed: a run goes on with the step after it.

It holds what a checkpoint of an epoch does, and the metrics of the steps taken. It has no
validation Dice, so it lies in a folder of its own and cannot be the best.
"""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax import hosts
from cosup_jax.runs import checkpoints, stored
from cosup_jax.runs.checkpoints import CheckpointError, Progress
from cosup_jax.runs.keeper import REMOVED
from cosup_jax.runs.state import TrainState

FOLDER = "interrupted"


def exists(workdir: Path) -> bool:
    """Tells whether an interrupted epoch has left a checkpoint."""
    return bool(stored.listed(workdir / FOLDER))


def save(workdir: Path, state: TrainState, plateau: Any, progress: Progress) -> None:
    """Writes the checkpoint of an epoch that is not completed, and waits until it is written.

    Raises:
      NotFiniteError: the state holds NaN; nothing is written.
    """
    with checkpoints.open_checkpoints(workdir, FOLDER) as manager:
        number = int(state.step)
        if number not in manager.all_steps():
            checkpoints.save(manager, state, plateau, progress, 0.0, number=number)


def restore(
    workdir: Path, state: TrainState, plateau: Any, last: Progress | None
) -> tuple[TrainState, Any, Progress] | None:
    """Reads the checkpoint of an interrupted epoch, see `restore_last`.

    Args:
      workdir: the run's folder.
      state: a state of the same network and optimizer.
      plateau: a state of the plateau schedule.
      last: where the last completed epoch has left the run; None where there is none.

    Returns:
      state, plateau and progress; None where there is none, or epochs were completed since.
    """
    if not hosts.tell(exists(workdir)):
        return None
    epoch, best = (0, -np.inf) if last is None else (last.epoch, last.best)
    try:
        with checkpoints.open_checkpoints(workdir, FOLDER) as manager:
            found = checkpoints.restore_last(manager, state, plateau)
    except CheckpointError as error:
        if hosts.is_first():
            told = f"{error}. It is left out, the steps of its epoch are taken again"
            print(told, file=sys.stderr)
        found = None
    if found is None or found[2].epoch < epoch:
        discard(workdir)
        return None
    return *found[:2], dataclasses.replace(found[2], best=best)


def discard(workdir: Path) -> None:
    """Takes away the checkpoint of an interrupted epoch, once that is completed."""
    if hosts.is_first():
        _discard(workdir)
    hosts.meet()


def _discard(workdir: Path) -> None:
    removed = workdir / REMOVED
    shutil.rmtree(removed, ignore_errors=True)
    if (workdir / FOLDER).exists():
        (workdir / FOLDER).rename(removed)  # which no kill cuts in half
        shutil.rmtree(removed)
