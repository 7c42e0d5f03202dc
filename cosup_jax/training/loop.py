"""The training loop: from a configuration and a folder to a trained, evaluated network."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.training.early_stopping import EarlyStopping
from ml_collections import ConfigDict

from cosup_jax.data import pipeline
from cosup_jax.training import checkpoints, logs, parallel, report
from cosup_jax.training.progress import ProgressBar
from cosup_jax.training.setup import Setup, describe, keep_description, make_setup, make_state
from cosup_jax.training.state import TrainState, learning_rate, with_learning_rate


class TrainingDiverged(ValueError):
    """The loss is no longer a number."""


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Trains, or goes on training, and evaluates the best epoch on the test split.

    Args:
      config: see configs/base.py.
      workdir: the run's folder; a run started again in it goes on where it was.

    Returns:
      The summary of the evaluation, as in summary.json.

    Raises:
      ValueError: anything wrong with configuration, data or devices; the message says what to do.
      TrainingDiverged: the loss became NaN.
      RunMismatch: `workdir` holds a run of another configuration or other data.
    """
    folder = Path(workdir).expanduser()
    setup = make_setup(config, folder)
    keep_description(setup)
    state = make_state(setup)
    print(describe(setup, state), flush=True)
    with checkpoints.open_checkpoints(folder) as manager:
        fit(setup, state, manager)
        return report.final_evaluation(setup)


def fit(setup: Setup, state: TrainState, manager: ocp.CheckpointManager) -> None:
    """Trains until early stopping or the last epoch, leaving its checkpoints in `manager`."""
    config = setup.config
    state, plateau, progress = begin(setup, state, manager)
    if is_over(progress, config):
        return
    train, validation = setup.open(config.data.train), setup.open(config.data.validation)
    steps = pipeline.steps_per_epoch(train, config.batch_size)
    batches = iter(pipeline.train_batches(train, batch_size=config.batch_size, seed=config.seed))
    if progress.iterator is not None:
        batches.set_state(progress.iterator)
    stream = stateful_prefetch(batches, setup.devices)
    log = logs.RunLog(setup.workdir, progress.epoch)
    bar = ProgressBar(setup, steps, progress.epoch)
    while not is_over(progress, config):
        epoch, started = progress.epoch + 1, time.perf_counter()
        state, trained, position = train_epoch(setup, state, stream, steps, bar, manager, epoch)
        seconds = time.perf_counter() - started
        scored = report.score(setup, state, validation)
        dice = scored.dice
        row = {"epoch": epoch, **{f"train/{name}": value for name, value in trained.items()}}
        row |= {"validation/loss": scored.loss, "validation/dice": dice}
        row |= {"learning_rate": learning_rate(state), "seconds": seconds}
        row |= {"slices_per_s": steps * config.batch_size / seconds}
        _, plateau = setup.plateau.update({}, plateau, value=scored.loss)
        plateau = jax.device_get(plateau)
        state = with_learning_rate(state, config.learning_rate * float(plateau.scale))
        best = dice > progress.best_dice
        progress = checkpoints.Progress(
            epoch=epoch,
            iterator=position,
            stopping=progress.stopping.update(scored.loss),
            best_dice=max(dice, progress.best_dice),
        )
        checkpoints.save(manager, state, plateau, progress, dice)
        log.epoch(row)
        if epoch == 1 or epoch % config.log.image_epochs == 0:
            log.image("validation", report.validation_picture(setup, state, validation), epoch)
        bar.say(
            f"epoch {epoch}: loss {trained['loss']:.4f}, Dice {trained['dice']:.4f}; validation "
            f"loss {scored.loss:.4f}, Dice {dice:.4f}{' (best)' if best else ''}; "
            f"{row['slices_per_s']:.1f} slices/s"
        )
    bar.close()
    log.close()
    manager.wait_until_finished()
    report.learning_curve(setup.workdir)
    print(f"trained {progress.epoch} epochs; best validation Dice {progress.best_dice:.4f}")


def begin(
    setup: Setup, state: TrainState, manager: ocp.CheckpointManager
) -> tuple[TrainState, Any, checkpoints.Progress]:
    """Returns train state, plateau state and progress to start with: new, restored or tuned."""
    config = setup.config
    plateau = jax.device_get(setup.plateau.init({}))
    # Flax stops one epoch after `patience` is used up; the paper's 25 epochs are 25.
    stopping = EarlyStopping(patience=config.early_stopping.patience - 1)
    progress = checkpoints.Progress(epoch=0, iterator=None, stopping=stopping)
    last = manager.latest_step()
    if last is not None:
        state, plateau, progress = checkpoints.restore(manager, last, state, plateau)
        print(f"going on after epoch {progress.epoch}")
    elif config.init:
        state = checkpoints.load_weights(config.init, state)
        print(f"starting from the weights of {config.init}")
    return parallel.replicate(state, setup.devices), plateau, progress


def is_over(progress: checkpoints.Progress, config: ConfigDict) -> bool:
    """Tells whether the last epoch is reached or early stopping has ended the run."""
    return progress.epoch >= config.epochs or progress.stopping.should_stop


def stateful_prefetch(
    batches: grain.DatasetIterator, devices: list[jax.Device]
) -> Iterator[tuple[dict[str, jax.Array], dict[str, Any]]]:
    """Yields batches on the devices, each with the iterator's state just after it."""
    states: list[dict[str, Any]] = []

    def remember() -> Iterator[dict[str, np.ndarray]]:
        for batch in batches:
            states.append(batches.get_state())
            yield pipeline.for_device(batch)

    for batch in parallel.prefetch(remember(), devices):
        yield batch, states.pop(0)


def train_epoch(
    setup: Setup,
    state: TrainState,
    stream: Iterator[tuple[dict[str, jax.Array], dict[str, Any]]],
    steps: int,
    bar: ProgressBar,
    manager: ocp.CheckpointManager,
    epoch: int,
) -> tuple[TrainState, dict[str, float], dict[str, Any]]:
    """Takes the steps of one epoch.

    Returns:
      The state, the mean of each metric over the steps, and the iterator's state behind them.
    """
    rows: list[dict[str, float]] = []
    pending: Mapping[str, jax.Array] | None = None
    position: dict[str, Any] = {}

    def collect(metrics: Mapping[str, jax.Array]) -> None:
        row = parallel.first(metrics)
        rows.append(row)
        if not math.isfinite(row["loss"]):
            manager.wait_until_finished()
            last = manager.latest_step()
            good = "none yet" if last is None else f"that of epoch {last}"
            raise TrainingDiverged(
                f"the loss became {row['loss']} in step {len(rows)} of epoch {epoch}. The last "
                f"good checkpoint in {setup.workdir / checkpoints.FOLDER} is {good}; a smaller "
                "--config.learning_rate may help"
            )
        bar.step(row)

    for _ in range(steps):
        batch, position = next(stream)
        state, metrics = setup.train_step(state, batch)
        # Reading the metrics one step late keeps the device busy meanwhile.
        if pending is not None:
            collect(pending)
        pending = metrics
    if pending is not None:
        collect(pending)
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return state, means, position
