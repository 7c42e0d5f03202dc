"""One epoch of one network, or of several with different seeds: steps, validation, checkpoint."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.training.early_stopping import EarlyStopping
from ml_collections import ConfigDict

from cosup_jax import devices
from cosup_jax.data import pipeline, sampling
from cosup_jax.models.guided import GUIDE
from cosup_jax.runs import checkpoints, logs
from cosup_jax.runs.state import TrainState, learning_rate, with_learning_rate
from cosup_jax.training import report
from cosup_jax.training.progress import ProgressBar
from cosup_jax.training.setup import Setup


class TrainingDiverged(ValueError):
    """The loss is no longer a number."""


@dataclasses.dataclass
class Fit:
    """One network in training: all that changes from epoch to epoch.

    Attributes:
      setup: what does not change.
      manager: its checkpoints.
      state: the train state, on the devices.
      plateau: state of the plateau schedule.
      progress: where it stands.
      stream: its batches, each with the iterator's state just after it.
      log: what it writes down.
    """

    setup: Setup
    manager: ocp.CheckpointManager
    state: TrainState
    plateau: Any
    progress: checkpoints.Progress
    stream: Iterator[tuple[dict[str, jax.Array], dict[str, Any]]] = dataclasses.field(init=False)
    log: logs.RunLog = dataclasses.field(init=False)

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is reached or early stopping has ended the run."""
        progress = self.progress
        return progress.epoch >= self.setup.config.epochs or progress.stopping.should_stop


def begin(setup: Setup, state: TrainState, manager: ocp.CheckpointManager) -> Fit:
    """Returns what to start with: new, restored or tuned."""
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
    elif GUIDE in state.params:
        raise checkpoints.CheckpointError(
            "the guide of this network is not trained here: give its run or a file of its weights "
            "with --config.init"
        )
    return Fit(setup, manager, devices.replicate(state, setup.devices), plateau, progress)


def stateful_prefetch(
    one: Fit, train: grain.MapDataset
) -> Iterator[tuple[dict[str, jax.Array], dict[str, Any]]]:
    """Yields batches on the devices, each with the iterator's state just after it."""
    config = one.setup.config
    groups = sampling.parse_groups(config.sampling.groups)
    batches = iter(
        pipeline.train_batches(train, batch_size=config.batch_size, seed=config.seed, groups=groups)
    )
    if one.progress.iterator is not None:
        batches.set_state(one.progress.iterator)
    states: list[dict[str, Any]] = []

    def remember() -> Iterator[dict[str, np.ndarray]]:
        for batch in batches:
            states.append(batches.get_state())
            yield pipeline.for_device(batch)

    for batch in devices.prefetch(remember(), one.setup.devices):
        yield batch, states.pop(0)


def train_epoch(
    fits: Sequence[Fit], steps: int, bar: ProgressBar
) -> list[tuple[dict[str, float], dict[str, Any]]]:
    """Takes the steps of one epoch, the same one for all.

    Returns:
      For each the mean of each metric over the steps, and the iterator's state behind them.
    """
    setup, epochs = fits[0].setup, fits[0].progress.epoch
    rows: list[list[dict[str, float]]] = [[] for _ in fits]
    positions: Sequence[dict[str, Any]] = ()
    pending: Sequence[Mapping[str, jax.Array]] = ()
    states: Sequence[TrainState] = [one.state for one in fits]
    for number in range(epochs * steps, (epochs + 1) * steps):
        batches, positions = zip(*(next(one.stream) for one in fits), strict=True)
        mapped = setup.train_steps[setup.drawn_size(number)]
        states, metrics = devices.step_all(mapped, states, batches, setup.devices)
        # Reading the metrics one step late keeps the device busy meanwhile.
        collect(fits, pending, rows, bar)
        pending = metrics
    collect(fits, pending, rows, bar)
    for one, state in zip(fits, states, strict=True):
        one.state = state
    means = ({name: float(np.mean([r[name] for r in each])) for name in each[0]} for each in rows)
    return list(zip(means, positions, strict=True))


def collect(
    fits: Sequence[Fit],
    metrics: Sequence[Mapping[str, jax.Array]],
    rows: Sequence[list[dict[str, float]]],
    bar: ProgressBar,
) -> None:
    """Takes the metrics of a step, if there are any, to the rows of their fits.

    Raises:
      TrainingDiverged: a loss is no number.
    """
    for one, values, row in zip(fits, metrics, rows, strict=False):
        row.append(devices.first(values))
        loss = row[-1]["loss"]
        if not math.isfinite(loss):
            one.manager.wait_until_finished()
            last = one.manager.latest_step()
            good = "none yet" if last is None else f"that of epoch {last}"
            raise TrainingDiverged(
                f"the loss became {loss} in step {len(row)} of epoch {one.progress.epoch + 1}. The "
                f"last good checkpoint in {one.setup.workdir / checkpoints.FOLDER} is {good}; a "
                "smaller --config.learning_rate may help"
            )
    if metrics:
        last_rows = [row[-1] for row in rows]
        bar.step({n: float(np.mean([r[n] for r in last_rows])) for n in ("loss", "dice")})


def close_epoch(
    one: Fit,
    trained: Mapping[str, float],
    position: dict[str, Any],
    speed: Mapping[str, float],
    validation: grain.MapDataset,
) -> str:
    """Validates, sets the next learning rate, and writes checkpoint and figures of an epoch.

    Args:
      one: whose epoch it was.
      trained: means of the metrics over the steps.
      position: the iterator's state behind them.
      speed: more figures to write down.
      validation: the validation split.

    Returns:
      What to say of it.
    """
    config, epoch = one.setup.config, one.progress.epoch + 1
    scored = report.score(one.setup, one.state, validation)
    row = {"epoch": epoch, **{f"train/{name}": value for name, value in trained.items()}}
    row |= {"validation/loss": scored.loss, "validation/dice": scored.dice}
    row |= {"learning_rate": learning_rate(one.state), **speed}
    _, plateau = one.setup.plateau.update({}, one.plateau, value=scored.loss)
    one.plateau = jax.device_get(plateau)
    rate = config.learning_rate * float(one.plateau.scale) * step_decay(config, epoch)
    one.state = with_learning_rate(one.state, rate)
    best = scored.dice > one.progress.best_dice
    one.progress = checkpoints.Progress(
        epoch=epoch,
        iterator=position,
        stopping=one.progress.stopping.update(scored.loss),
        best_dice=max(scored.dice, one.progress.best_dice),
    )
    checkpoints.save(one.manager, one.state, one.plateau, one.progress, scored.dice)
    one.log.epoch(row)
    if epoch == 1 or epoch % config.log.image_epochs == 0:
        picture = report.validation_picture(one.setup, one.state, validation)
        one.log.image("validation", picture, epoch)
    return (
        f"epoch {epoch}: loss {trained['loss']:.4f}, Dice {trained['dice']:.4f}; validation "
        f"loss {scored.loss:.4f}, Dice {scored.dice:.4f}{' (best)' if best else ''}; "
        f"{speed['slices_per_s']:.1f} slices/s"
    )


def step_decay(config: ConfigDict, epoch: int) -> float:
    """Returns the factor on the learning rate after so many epochs."""
    decay = config.step_decay
    return decay.factor ** (epoch // decay.epochs) if decay.epochs else 1.0
