"""Whether the device ever waits for data: the real training loop, watched.

    python benchmarks/data/feeding.py --config=configs/quickstart.py --out feeding.json
    python benchmarks/data/feeding.py --config=configs/c2f.py --epochs 3

Trains as train.py does, on the configuration's dataset (built if it was not), without validation.
The first epoch, which compiles and reads, is left out. The device has waited for a batch when the
step before it was finished by the time the batch was there; all of the time spent on getting the
batch is then counted, so the share is an upper bound. Beside it the speed of the same steps on one
batch again and again, which no pipeline can exceed.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from cosup_jax import config as configuration
from cosup_jax import devices
from cosup_jax.data import pipeline
from cosup_jax.runs import checkpoints
from cosup_jax.training import epochs
from cosup_jax.training.progress import ProgressBar
from cosup_jax.training.setup import make_setup, make_state


class Watch:
    """Wraps the step and the stream of a run, and adds up for how long the device has waited."""

    def __init__(self) -> None:
        self.waited, self.steps = 0.0, 0
        self._running: Any = None

    def step(self, step: Callable) -> Callable:
        """Returns the step, whose calls are counted and whose latest results are remembered."""

        def run(state: Any, batch: Any) -> Any:
            state, self._running = step(state, batch)
            self.steps += 1
            return state, self._running

        return run

    def stream(self, batches: Iterator) -> Iterator:
        """Yields the batches, and looks each time whether the device is still busy."""
        while True:
            began = time.perf_counter()
            batch, position = next(batches)
            jax.block_until_ready(batch)
            got = time.perf_counter()
            if all(leaf.is_ready() for leaf in jax.tree.leaves(self._running)):
                self.waited += got - began
            yield batch, position


def main() -> None:
    """Trains, prints the table and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--epochs", type=int, default=3, help="watched, after one that is not")
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    arguments, overrides = parser.parse_known_args()
    sys.path.insert(0, str(Path(__file__).parents[2]))  # configurations import each other
    config = configuration.load(arguments.config)
    configuration.override(config, overrides)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(config, Path(folder), arguments.epochs)
    print(
        f"{arguments.config} {' '.join(overrides)} on {measured['device']}\n"
        f"{measured['steps']} steps of {config.batch_size} slices: "
        f"{measured['slices_per_s']:.2f} slices/s, "
        f"{measured['slices_per_s_one_batch']:.2f} on one batch again and again; the device waits "
        f"for data in at most {100 * measured['waiting']:.2f} % of the time"
    )
    if arguments.out:
        arguments.out.write_text(json.dumps(measured, indent=2) + "\n")


def measure(config: Any, folder: Path, watched_epochs: int) -> dict[str, Any]:
    """Trains in a folder and returns what was seen."""
    setup, watch = make_setup(config, folder), Watch()
    size = tuple(config.data.size)
    setup = dataclasses.replace(setup, train_steps={size: watch.step(setup.train_step)})
    train = setup.open(config.data.train)
    steps = pipeline.steps_per_epoch(train, config.batch_size, config.sampling.slices)
    with checkpoints.open_checkpoints(folder) as manager:
        one = epochs.begin(setup, make_state(setup), manager)
        one.stream = watch.stream(epochs.stateful_prefetch(one, train))
        bar = ProgressBar(setup, steps, 0, 1)
        epochs.train_epoch([one], steps, bar)
        watch.waited, watch.steps, began = 0.0, 0, time.perf_counter()
        for epoch in range(1, 1 + watched_epochs):
            one.rows.clear()
            one.progress = dataclasses.replace(one.progress, epoch=epoch)
            epochs.train_epoch([one], steps, bar)
        seconds, taken = time.perf_counter() - began, watch.steps
        bar.close()
        batch, _ = next(one.stream)
        # Both are timed from an idle device on.
        state, pending = jax.block_until_ready(setup.train_step(one.state, batch))
        again = time.perf_counter()
        for _ in range(steps):
            state, metrics = setup.train_step(state, batch)
            devices.first(pending)
            pending = metrics
        jax.block_until_ready((state, pending))
        again = time.perf_counter() - again
    return {
        "device": setup.devices[0].device_kind,
        "steps": taken,
        "seconds": seconds,
        "slices_per_s": taken * config.batch_size / seconds,
        "slices_per_s_one_batch": steps * config.batch_size / again,
        "waiting": watch.waited / seconds,
    }


if __name__ == "__main__":
    main()
