"""What a training starts from where it does not start from random weights."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import files, runs, weights
from cosup_jax.models.guided import GUIDE
from cosup_jax.runs import checkpoints, initial
from cosup_jax.runs.state import TrainState

_DAMAGED = (configuration.ConfigError, files.FileError, weights.WeightsError)


def with_weights(config: ConfigDict, state: TrainState) -> TrainState:
    """Returns `state` with the weights that `config.init` names.

    Raises:
      CheckpointError: there are none, they are of another network, or of a guide that was trained
        on slices prepared otherwise than it would see.
    """
    if GUIDE in state.params:
        _check_guide(config)
    place = weights.file_of(config.init)
    if not (path := Path(place).expanduser()).exists():
        raise checkpoints.CheckpointError(
            f"--config.init={config.init}: no checkpoints in {path / checkpoints.FOLDER}, as there "
            "is no such folder or file; give the folder of a finished run, a file of weights, or "
            f"one of: {', '.join(weights.names())}"
        )
    try:
        return initial.load_weights(place, state)
    except checkpoints.CheckpointError as error:
        raise checkpoints.CheckpointError(f"{error}{_other_network(config)}") from error


def _known(init: str) -> ConfigDict | weights.Pretrained | None:
    """Returns a run's configuration, or what a file of weights holds; None of others.

    What is damaged is told where the weights are read; a run that goes on needs them no more.
    """
    path = Path(weights.file_of(init)).expanduser()
    try:
        if (path / runs.CONFIG).is_file():
            return runs.read_config(path)
        if path.is_file() and weights.trained_on(path) is not None:
            return weights.load(path)
    except _DAMAGED:
        return None
    return None


def _other_network(config: ConfigDict) -> str:
    """Says with which settings the network would be that of the run or file of weights."""
    known, here = _known(config.init), config.model.to_dict()
    if known is None:
        return ""
    if isinstance(known, ConfigDict):
        theirs = known.model.to_dict()
    else:
        theirs = {name: getattr(known.model, name, None) for name in here if name != "name"}
    others = {n: v for n, v in theirs.items() if n in here and n != "dtype" and v != here[n]}
    told = ", ".join(f"model.{name}={value!r}" for name, value in others.items())
    return f"; its network has {told}" if told else ""


def notes(config: ConfigDict) -> list[str]:
    """Says how slices differ from those that the weights to start from were trained on."""
    theirs = _prepared(config.init) if config.init else {}
    here = {name: getattr(config.data, name) for name in theirs}
    if theirs.get("crop") in weights.CROPS[1:] and here["crop"]:
        here["crop"] = theirs["crop"]  # of what is cut, each as its own lungs lie
    found = []
    for name, there in theirs.items():
        if here[name] == there:
            continue
        note = f"the weights to start from were trained with data.{name}={there!r}, and slices are "
        note += f"prepared with {here[name]!r} here"
        if name == "crop" and there:
            note = "the weights to start from were trained on slices cut to the lungs, which are "
            note += "smaller in whole ones; --config.data.crop=volume cuts them"
        found.append(note)
    return found


def _prepared(init: str) -> dict[str, Any]:
    """Returns how slices are prepared for a run or file of weights; nothing of others."""
    known = _known(init)
    if known is None:
        return {}
    if isinstance(known, ConfigDict):
        settings, crop = runs.preprocessing(known), known.data.crop
    else:
        settings, crop = known.preprocessing, known.crop
    return {
        **{name: getattr(settings, name) for name in ("window", "scaling", "lungs")},
        "crop": crop,
    }


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
