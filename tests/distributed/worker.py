"""One of several processes of a tiny training or evaluation, which tests start on this machine.

    python -m tests.distributed.worker WHAT FOLDER COORDINATOR PROCESSES PROCESS [--config.name=…]

The network is so small that it is compiled in a moment, and has what depends on devices: batch
normalisation and dropout.
"""

import sys
from pathlib import Path

from cosup_jax import signals

if __name__ == "__main__":
    signals.catch()

from flax import linen as nn

from cosup_jax import config as configuration
from cosup_jax import errors, evaluation, hosts, models, runs
from cosup_jax.commands import train
from cosup_jax.hosts import liveness
from cosup_jax.models.layers import Dropout, Policy
from cosup_jax.models.output import SegOutput
from tests.phantoms import tiny_config

PATIENCE_S = 25.0


class SmallNet(nn.Module):
    """Two convolutions around a batch normalisation and dropout."""

    axis_name: str | None = None
    multiple = 1
    edge_stages = ("E",)
    mask_stages = ("M",)

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), name="first")(x)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name, name="norm")(x)
        x = Dropout(0.3, True, Policy(axis_name=self.axis_name), name="dropout")(nn.relu(x), train)
        logits = nn.Conv(1, (3, 3), name="last")(x)
        return SegOutput(logits, (logits,), (logits,))


def make_config(folder, changes):
    """Returns the tiny configuration with augmentation and plain gradient descent."""
    config = tiny_config(folder / "tfds", devices=0, epochs=1, learning_rate=0.1)
    config.optimizer.name = "sgd"
    config.augment.flip_horizontal = 0.5
    config.augment.rotation = 10.0
    config.augment.noise = 0.05
    configuration.override(config, changes)
    return config


def main(what, folder, coordinator, processes, process, *changes):
    """Trains the run in FOLDER/run, or evaluates it into FOLDER/evaluatedPROCESSES."""
    where = hosts.Place(coordinator, int(processes), int(process))
    models.build = lambda **settings: SmallNet(settings["axis_name"])
    liveness.PATIENCE_S = PATIENCE_S
    folder = Path(folder)
    signals.raising()
    try:
        if what == "train":
            config = make_config(folder, changes)
            train.start(config, str(folder / "run"), seeds=None, dry_run=False, where=where)
        else:
            with hosts.together(where):
                opened = runs.open_run(folder / "run")
                evaluation.evaluate_run(opened, out=folder / f"evaluated{processes}")
    except signals.Stopped as error:
        sys.exit(signals.status(error))
    except Exception as error:
        sys.exit(errors.tell("worker", error))


if __name__ == "__main__":
    main(*sys.argv[1:])
