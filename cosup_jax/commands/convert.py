"""Makes a run of a published network's weights, so that it can predict and be scored.

    python -m cosup_jax convert Inf-Net-100.pth --config configs/infnet.py --workdir runs/published

The file is safetensors or of PyTorch; nothing in it is executed. It must fill the whole network, as
the published Inf-Net and Semi-Inf-Net do. ImageNet's backbones only start a training, which takes
them with `--config.init=FILE`. The run has no data of its own: name it to `evaluate`, for which
nobody knows here which patients the weights were trained on.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from flax.training.early_stopping import EarlyStopping
from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import files, interop, ranges, runs
from cosup_jax.runs import checkpoints, integrity
from cosup_jax.runs.state import create_state, make_optimizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    parser.add_argument("weights", help="the file: safetensors, .pth, .pt or .pkl of torch.save")
    parser.add_argument("--config", required=True, help="the network's configuration file")
    parser.add_argument("--workdir", required=True, help="folder of the new run")


def run(arguments: argparse.Namespace) -> int:
    """Converts the weights and writes the run."""
    config = configuration.load(arguments.config)
    configuration.override(config, arguments.overrides)
    ranges.check(config)
    folder = Path(arguments.workdir).expanduser()
    model = runs.build_model(config)
    optimizer = make_optimizer(config.learning_rate)
    state = create_state(model, optimizer, size=tuple(config.data.size), seed=config.seed)
    found = interop.load(arguments.weights, state.latest)
    if found.kept:
        raise ValueError(
            f"{arguments.weights} does not fill {', '.join(found.kept)}, so there is no trained "
            "network in it; start a training from it with --config.init"
        )
    with runs.own(folder):
        if not _is_there(folder, config, found.variables):
            files.write_text(folder / runs.CONFIG, configuration.to_json(config) + "\n")
            with checkpoints.open_checkpoints(folder) as manager:
                progress = checkpoints.Progress(0, None, EarlyStopping())
                checkpoints.save(manager, state.replace(**found.variables), {}, progress, 0.0)
    print(f"{found.report}\nwritten to {folder}")
    return 0


def _is_there(folder: Path, config: ConfigDict, variables: dict[str, Any]) -> bool:
    """Tells whether a folder holds this run already, as after a kill in the last moment.

    Raises:
      ValueError: it holds another one.
    """
    if not checkpoints.exist(folder):
        return False
    run = runs.open_run(folder)
    there, here = map(integrity.names, (run.variables, variables))
    same = there.keys() == here.keys() and all(np.array_equal(there[n], here[n]) for n in here)
    if not same or configuration.to_json(run.config) != configuration.to_json(config):
        raise ValueError(f"{folder} holds a run already; give another --workdir")
    return True
