"""What a training starts from where it does not start from random weights."""

from pathlib import Path

from ml_collections import ConfigDict

from cosup_jax import runs, weights
from cosup_jax.models.guided import GUIDE
from cosup_jax.runs import checkpoints, initial
from cosup_jax.runs.state import TrainState


def with_weights(config: ConfigDict, state: TrainState) -> TrainState:
    """Returns `state` with the weights that `config.init` names.

    Raises:
      CheckpointError: there are none, they are of another network, or of a guide that was trained
        on slices prepared otherwise than it would see.
    """
    if GUIDE in state.params:
        _check_guide(config)
    return initial.load_weights(weights.file_of(config.init), state)


def _check_guide(config: ConfigDict) -> None:
    """Refuses a run as a guide that was trained on slices prepared otherwise than it would see.

    Raises:
      CheckpointError: it was.
    """
    path = Path(config.init).expanduser()
    if not (path / runs.CONFIG).is_file():
        return  # a file of weights, which says nothing of it
    theirs = runs.read_config(path)
    if theirs.model.name == config.model.name:
        return  # a guided network goes on, guide and all
    for name in ("scaling", "window", "crop", "lungs"):
        here, there = getattr(config.data, name), getattr(theirs.data, name)
        if here != there:
            raise checkpoints.CheckpointError(
                f"--config.init={config.init}: this guide was trained with data.{name}={there!r}, "
                f"but here it would see slices with {here!r}; train it with "
                f"--config.data.{name}={here!r}, or give another"
            )
