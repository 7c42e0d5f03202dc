"""Where a run stands on the host, and what the record of a checkpoint says of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.training.early_stopping import EarlyStopping

from cosup_jax.runs.integrity import DamagedError
from cosup_jax.runs.stored import Stored


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands on the host after a completed epoch, or inside one.

    Attributes:
      epoch: completed epochs.
      iterator: the data iterator's own state; None at the very start.
      stopping: early-stopping counters (on the validation loss).
      best: greatest merit of an epoch so far, see `save`.
      history: the row of metrics.jsonl of each completed epoch.
      steps: the metrics of each step taken in an epoch that is not completed.
    """

    epoch: int
    iterator: dict[str, Any] | None
    stopping: EarlyStopping
    best: float = -np.inf
    history: tuple[Mapping[str, Any], ...] = ()
    steps: tuple[dict[str, float], ...] = ()


def progress_of(one: Stored) -> Progress:
    """Returns where a checkpoint has left a run.

    Raises:
      DamagedError: its record, of a version without seals, is not what a run writes.
    """
    record = {**one.record}
    record.pop("best_dice", None)
    try:
        for name in ("history", "steps"):
            record[name] = tuple(record.get(name, ()))
        counters = record.pop("stopping")
        found = Progress(**record, stopping=EarlyStopping(**counters))
        fits = isinstance(found.iterator, dict | None) and found.epoch >= 0
        fits &= all(isinstance(row, dict) for row in (*found.history, *found.steps))
        fits &= all(isinstance(value, float | int) for value in (found.epoch, *counters.values()))
    except (KeyError, TypeError):
        fits = False
    if not fits:
        raise DamagedError(f"{one.path}: is damaged, its record is not what a run writes")
    return found
