"""Makes a run of a published network's weights, so that it can predict and be scored.

    python -m cosup_jax convert Inf-Net-100.pth --config configs/infnet.py --workdir runs/published

The file is safetensors or of PyTorch; nothing in it is executed. It must fill the whole network, as
the published Inf-Net and Semi-Inf-Net do. ImageNet's backbones only start a training, which takes
them with `--config.init=FILE`. The run has no data of its own: name it to `evaluate`, for which
nobody knows here which patients the weights were trained on.
"""

import argparse
from pathlib import Path

from flax.training.early_stopping import EarlyStopping

from cosup_jax import config as configuration
from cosup_jax import interop, ranges, runs
from cosup_jax.runs import checkpoints
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
    if checkpoints.exist(folder):
        raise ValueError(f"{folder} holds a run already; give another --workdir")
    model = runs.build_model(config)
    optimizer = make_optimizer(config.learning_rate)
    state = create_state(model, optimizer, size=tuple(config.data.size), seed=config.seed)
    found = interop.load(arguments.weights, state.latest)
    if found.kept:
        raise ValueError(
            f"{arguments.weights} does not fill {', '.join(found.kept)}, so there is no trained "
            "network in it; start a training from it with --config.init"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / runs.CONFIG).write_text(configuration.to_json(config) + "\n")
    with checkpoints.open_checkpoints(folder) as manager:
        progress = checkpoints.Progress(0, None, EarlyStopping())
        checkpoints.save(manager, state.replace(**found.variables), {}, progress, 0.0)
    print(f"{found.report}\nwritten to {folder}")
    return 0
