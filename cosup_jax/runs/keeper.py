"""Orbax's manager of a folder of checkpoints, as runs use it."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from cosup_jax.runs import stored

KEPT = 2  # of the last, besides the best
REMOVED = ".removed"  # a subfolder


class _Keep:
    """Orbax's preservation policy: the last ones, and the first of the best."""

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        merits = [(info.metrics or {}).get(stored.MERIT, -np.inf) for info in checkpoints]
        best = int(np.argmax(merits)) if merits else 0
        first = len(checkpoints) - KEPT
        return [i >= first or i == best for i in range(len(checkpoints))]


class Keeper(ocp.CheckpointManager):
    """Keeps the last checkpoints and the best; what is removed is moved away first.

    Several processes are told to end by one word of JAX, which is heard once. Orbax asks for it by
    the number of the checkpoint, the training loop by that of the step; had Orbax heard it, the
    loop would go on. So Orbax does not ask.
    """

    def __init__(self, folder: Path) -> None:
        _silence_errors_told_again()
        stored.silence_what_is_told_again()
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_Keep(),
            best_fn=lambda metrics: metrics[stored.MERIT],
            create=True,
            cleanup_tmp_directories=True,
            todelete_subdir=REMOVED,  # a rename, which no kill cuts in half
            # At once: of folders that cannot be made, threads would wait for minutes, and the
            # process for them.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        super().__init__(folder, options=options)

    def reached_preemption(self, step: int) -> bool:
        """Says that nobody has asked the process to end."""
        return False


@functools.cache
def _silence_errors_told_again() -> None:
    """Drops the tracebacks that Orbax's threads log of errors which they hand on, too."""

    def is_news(record: logging.LogRecord) -> bool:
        return not (record.exc_info and "orbax" in record.pathname)

    absl_logging.get_absl_logger().addFilter(is_news)
