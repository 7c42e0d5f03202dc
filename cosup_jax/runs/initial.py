"""Weights to start a training from: those of another run, or of a file."""

from pathlib import Path
from typing import Any

import jax

from cosup_jax import interop
from cosup_jax.models.guided import GUIDE
from cosup_jax.runs.checkpoints import CheckpointError, read_best
from cosup_jax.runs.state import TrainState


def load_weights(run: str, state: TrainState) -> TrainState:
    """Returns `state` with parameters and batch statistics of another run's best checkpoint.

    Args:
      run: the other run's working folder, or a weight file, see `interop.load`.
      state: a fresh state of the same network, or of a `GuidedNet` whose guide it is.

    Raises:
      CheckpointError: no checkpoint there, or the network is another one; the tensors are named. Or
        a file fills a part of a guide only, which is not trained here.
    """
    path, wanted = Path(run).expanduser(), state.latest
    try:
        if path.is_file():
            weights = _read_file(path, wanted)
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
    found = interop.load(path, _of_guide(variables))
    if found.kept and GUIDE in variables["params"]:
        raise CheckpointError(
            f"it does not fill {', '.join(found.kept)} of the guide, which is not trained here; "
            "give a run of the guide's network, or a file with all of its weights"
        )
    print(found.report)
    return found.variables


def _of_guide(variables: dict[str, Any]) -> dict[str, Any]:
    """Returns the variables of a network's guide, of one without a guide all."""
    if GUIDE not in variables["params"]:
        return variables
    return {name: tree.get(GUIDE, {}) for name, tree in variables.items()}


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
