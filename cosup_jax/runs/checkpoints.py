"""Checkpoints: the best epoch by validation Dice and the last, written whole or not at all (Orbax).

A checkpoint holds everything the next epoch depends on: the train state, the plateau schedule, the
position of the data iterator, the early-stopping counters and the best score.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from flax.training.early_stopping import EarlyStopping
from orbax.checkpoint import checkpoint_managers

from cosup_jax import interop
from cosup_jax.models.guided import GUIDE
from cosup_jax.runs.state import TrainState

FOLDER = "checkpoints"


class CheckpointError(ValueError):
    """A folder holds no checkpoint, or one that does not fit the network."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a run stands on the host after a completed epoch.

    Attributes:
      epoch: completed epochs.
      iterator: the data iterator's own state; None at the very start.
      stopping: early-stopping counters (on the validation loss).
      best_dice: best validation Dice so far.
    """

    epoch: int
    iterator: dict[str, Any] | None
    stopping: EarlyStopping
    best_dice: float = -1.0


def exist(workdir: Path) -> bool:
    """Tells whether a run has left a checkpoint, whole or not."""
    folder = workdir / FOLDER
    return folder.is_dir() and any(folder.iterdir())


def open_checkpoints(workdir: Path) -> ocp.CheckpointManager:
    """Opens a run's checkpoints; what an interrupted save left behind is cleaned up."""
    keep = checkpoint_managers.AnyPreservationPolicy(
        [
            checkpoint_managers.LatestN(1),
            checkpoint_managers.BestN(get_metric_fn=lambda metrics: metrics["dice"], n=1),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep, best_fn=lambda metrics: metrics["dice"], create=True
    )
    return ocp.CheckpointManager((workdir / FOLDER).resolve(), options=options)


def save(
    manager: ocp.CheckpointManager, state: TrainState, plateau: Any, progress: Progress, dice: float
) -> None:
    """Starts writing a checkpoint of the epoch just completed and returns while it is written."""
    manager.save(
        progress.epoch,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave({"train": state, "plateau": plateau}),
            progress=ocp.args.JsonSave(dataclasses.asdict(progress)),
        ),
        metrics={"dice": dice},
    )


def restore(
    manager: ocp.CheckpointManager, epoch: int, state: TrainState, plateau: Any
) -> tuple[TrainState, Any, Progress]:
    """Reads a checkpoint into host arrays shaped like `state` and `plateau`.

    Raises:
      CheckpointError: it was written for another network or optimizer, or by a version that kept
        other things.
    """
    target = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), {"train": state, "plateau": plateau}
    )
    try:
        found = manager.restore(
            epoch,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), progress=ocp.args.JsonRestore()
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the checkpoint of epoch {epoch} in {manager.directory} does not fit this network and "
            f"this version: {str(error).splitlines()[0]}. A run that an earlier version has left "
            "so can be evaluated, and be started from with --config.init in another --workdir"
        ) from error
    progress = found.progress
    stopping = EarlyStopping(**progress.pop("stopping"))
    restored = found.state
    return restored["train"], restored["plateau"], Progress(**progress, stopping=stopping)


def load_weights(run: str, state: TrainState) -> TrainState:
    """Returns `state` with parameters and batch statistics of another run's best checkpoint.

    Args:
      run: the other run's working folder, or a weight file, see `interop.load`.
      state: a fresh state of the same network, or of a `GuidedNet` whose guide it is.

    Raises:
      CheckpointError: no checkpoint there, or the network is another one; the tensors are named.
    """
    path, wanted = Path(run).expanduser(), state.latest
    try:
        if path.is_file():
            weights = _read_file(path, _of_guide(wanted))
        else:
            weights, _ = read_best(path)
    except (CheckpointError, interop.ConversionError, interop.WeightsFileError) as error:
        raise CheckpointError(f"--config.init={run}: {error}") from error
    if GUIDE in state.params and GUIDE not in weights["params"]:
        weights = {name: {**wanted[name], GUIDE: weights[name]} for name in wanted}
    _check_same_tensors(weights, wanted, run)
    weights = jax.tree.map(lambda w, _: w, weights, wanted)
    return state.replace(**weights, average=weights if state.average else {})


def _read_file(path: Path, variables: dict[str, Any]) -> dict[str, Any]:
    found = interop.load(path, variables)
    print(found.report)
    return found.variables


def _of_guide(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the variables of a network's guide, of one without a guide all."""
    if GUIDE not in variables["params"]:
        return variables
    return {name: tree.get(GUIDE, {}) for name, tree in variables.items()}


def read_best(workdir: Path) -> tuple[dict[str, Any], int]:
    """Reads the weights of a run's best epoch by validation Dice, whatever its network is.

    Returns:
      `{"params": …, "batch_stats": …}` as NumPy arrays, averaged if the run averaged them, and the
      epoch.

    Raises:
      CheckpointError: no complete checkpoint there.
    """
    folder = workdir / FOLDER
    if not folder.is_dir():
        raise CheckpointError(f"no checkpoints in {folder}; give the folder of a finished run")
    with _quiet(), _open_to_read(folder) as manager:
        epoch = manager.best_step()
        if epoch is None:
            raise CheckpointError(f"{folder} holds no complete checkpoint")
        found = manager.restore(epoch, args=ocp.args.Composite(state=ocp.args.StandardRestore()))
    saved = found.state["train"]
    weights = saved.get("average") or {name: saved[name] for name in ("params", "batch_stats")}
    return jax.tree.map(np.asarray, weights), epoch


def _open_to_read(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(best_fn=lambda metrics: metrics["dice"], read_only=True)
    return ocp.CheckpointManager(folder.resolve(), options=options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax from warning that what is opened for reading is read only."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _check_same_tensors(found: Any, wanted: Any, run: str) -> None:
    shapes = [
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}
        for tree in (found, wanted)
    ]
    differing = sorted(
        name
        for name in shapes[0].keys() | shapes[1].keys()
        if shapes[0].get(name) != shapes[1].get(name)
    )
    if differing:
        name = differing[0]
        raise CheckpointError(
            f"--config.init={run}: {len(differing)} tensors do not fit this network, the first is "
            f"{name}: there {shapes[0].get(name)}, here {shapes[1].get(name)}"
        )
