"""One epoch of one network, or of several with different seeds: steps, validation, checkpoint."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.training.early_stopping import EarlyStopping
from ml_collections import ConfigDict

from cosup_jax import devices, hosts, signals
from cosup_jax.data import pipeline, sampling
from cosup_jax.models.guided import GUIDE
from cosup_jax.runs import checkpoints, interrupted, logs
from cosup_jax.runs.state import TrainState, learning_rate, with_learning_rate
from cosup_jax.training import report, start
from cosup_jax.training.progress import ProgressBar
from cosup_jax.training.setup import Setup


class TrainingDiverged(ValueError):
    """The loss or the weights are no longer numbers.

    Attributes:
      finished: the other seeds trained together with those that this tells of, which have ended.
    """

    finished: Sequence[Setup] = ()


@dataclasses.dataclass
class Fit:
    """One network in training: all that changes from epoch to epoch.

    Attributes:
      setup: what does not change.
      manager: its checkpoints.
      state: the train state, on the devices.
      plateau: state of the plateau schedule.
      progress: where it stood after its last completed epoch.
      rows: the metrics of each step since.
      position: the iterator's state behind them.
      stream: its batches, each with the iterator's state just after it.
      log: what it writes down.
      error: why it cannot go on; None while it can.
    """

    setup: Setup
    manager: ocp.CheckpointManager
    state: TrainState
    plateau: Any
    progress: checkpoints.Progress
    rows: list[dict[str, float]]
    position: dict[str, Any] | None
    stream: Iterator[tuple[dict[str, jax.Array], dict[str, Any]]] = dataclasses.field(init=False)
    log: logs.RunLog = dataclasses.field(init=False)
    error: TrainingDiverged | None = None

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is reached or early stopping has ended the run."""
        progress = self.progress
        return progress.epoch >= self.setup.config.epochs or progress.stopping.should_stop

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands: completed epochs, and steps taken since."""
        return self.progress.epoch, len(self.rows)

    def steps_done(self, steps: int) -> int:
        """Returns how many steps were taken in all, of `steps` an epoch."""
        return self.progress.epoch * steps + len(self.rows)

    def best_words(self) -> str:
        """Says how good the best epoch is."""
        best = self.progress.best
        if best < 0:
            return f"lowest validation loss {-best:.4f} ({report.NOTHING_INFECTED})"
        return f"best validation Dice {best:.4f}"

    def means(self) -> dict[str, float]:
        """Returns the mean of each metric over the steps since the last completed epoch."""
        return {name: float(np.mean([r[name] for r in self.rows])) for name in self.rows[0]}

    def keep_steps(self) -> None:
        """Leaves a checkpoint of the steps since the last completed epoch, if there are any."""
        if self.rows:
            self.manager.wait_until_finished()
            inside = dataclasses.replace(
                self.progress, iterator=self.position, steps=tuple(self.rows)
            )
            try:
                interrupted.save(self.setup.workdir, self.state, self.plateau, inside)
            except checkpoints.NotFiniteError as error:
                raise diverged(self, f"the array {error} became NaN") from error


def begin(setup: Setup, state: TrainState, manager: ocp.CheckpointManager) -> Fit:
    """Returns what to start with: new, restored or tuned."""
    config = setup.config
    plateau = jax.device_get(setup.plateau.init({}))
    # Flax stops one epoch after `patience` is used up; the paper's 25 epochs are 25.
    stopping = EarlyStopping(patience=config.early_stopping.patience - 1)
    progress = checkpoints.Progress(epoch=0, iterator=None, stopping=stopping)
    last = checkpoints.restore_last(manager, state, plateau)
    inside = interrupted.restore(setup.workdir, state, plateau, last and last[2])
    if found := inside or last:
        state, plateau, progress = found
        steps = f" and step {len(progress.steps)} of the next" * bool(inside)
        print(f"going on after epoch {progress.epoch}{steps}")
    elif config.init:
        state = start.with_weights(config, state)
        print(f"starting from the weights of {config.init}")
    elif GUIDE in state.params:
        raise checkpoints.CheckpointError(
            "the guide of this network is not trained here: give its run or a file of its weights "
            "with --config.init"
        )
    rows, position = list(progress.steps), progress.iterator
    history = logs.history(setup.workdir, progress.epoch, progress.history)
    progress = dataclasses.replace(progress, history=history, steps=())
    state = devices.replicate(state, setup.devices)
    return Fit(setup, manager, state, plateau, progress, rows, position)


def stateful_prefetch(
    one: Fit, train: grain.MapDataset
) -> Iterator[tuple[dict[str, jax.Array], dict[str, Any]]]:
    """Yields batches on the devices, each with the iterator's state just after it."""
    config = one.setup.config
    groups = sampling.parse_groups(config.sampling.groups)
    batches = iter(
        pipeline.train_batches(
            train,
            batch_size=config.batch_size,
            seed=config.seed,
            groups=groups,
            process_index=hosts.index(),
            process_count=hosts.count(),
        )
    )
    if one.position is not None:
        batches.set_state(one.position)
    states: list[dict[str, Any]] = []

    def remember() -> Iterator[dict[str, np.ndarray]]:
        for batch in batches:
            states.append(batches.get_state())
            yield pipeline.for_device(batch)

    for batch in devices.prefetch(remember(), one.setup.devices):
        yield batch, states.pop(0)


def train_epoch(fits: Sequence[Fit], steps: int, bar: ProgressBar) -> None:
    """Takes the steps of one epoch that are left, the same one for all.

    One whose loss is no number takes no further step, and says so in its `error`.

    Raises:
      Stopped: the process was asked to end; the step in progress is completed.
    """
    setup, (epochs, taken) = fits[0].setup, fits[0].place
    pending: Sequence[tuple[Fit, Mapping[str, jax.Array]]] = ()
    for number in range(epochs * steps + taken, (epochs + 1) * steps):
        going = [one for one in fits if one.error is None]
        if hosts.stop_asked() or not going:
            break
        batches, positions = zip(*(next(one.stream) for one in going), strict=True)
        mapped = setup.train_steps[setup.drawn_size(number)]
        states: Sequence[TrainState] = [one.state for one in going]
        states, metrics = take_step(mapped, states, batches)
        for one, state, position in zip(going, states, positions, strict=True):
            one.state, one.position = state, position
        # Reading the metrics one step late keeps the device busy meanwhile.
        collect(pending, bar)
        pending = list(zip(going, metrics, strict=True))
    collect(pending, bar)
    signals.check()


def take_step(
    mapped: Callable, states: Sequence[TrainState], batches: Sequence[Mapping[str, jax.Array]]
) -> tuple[Sequence[TrainState], Sequence[Mapping[str, jax.Array]]]:
    """Takes a step of each of several networks; `mapped` is that of `parallel_train_step`."""
    after, metrics = zip(*map(mapped, states, batches), strict=True)
    return after, metrics


def collect(metrics: Sequence[tuple[Fit, Mapping[str, jax.Array]]], bar: ProgressBar) -> None:
    """Takes the metrics of a step, if there are any, to the rows of their fits.

    One whose loss is no number says so in its `error`.
    """
    for one, values in metrics:
        if one.error is None:  # or the step was taken before the loss of the last one was read
            one.rows.append(devices.first(values))
            loss = one.rows[-1]["loss"]
            if not math.isfinite(loss):
                one.error = diverged(one, f"the loss became {loss} in step {len(one.rows)}")
    if last_rows := [one.rows[-1] for one, _ in metrics if one.error is None]:
        bar.step({n: float(np.mean([r[n] for r in last_rows])) for n in ("loss", "dice")})


def diverged(one: Fit, what: str) -> TrainingDiverged:
    """Returns the error that says what is no number any more, and what there is to go on from."""
    one.rows.clear()  # nothing to keep
    one.manager.wait_until_finished()
    last, folder = one.manager.latest_step(), one.setup.workdir / checkpoints.FOLDER
    kept = f"The last good checkpoint in {folder} is that of epoch {last}, from which"
    return TrainingDiverged(
        f"{what} of epoch {one.progress.epoch + 1}. "
        f"{f'{folder} holds no checkpoint yet, so' if last is None else kept} the same command "
        f"{'starts anew' if last is None else 'goes on'}; a smaller --config.learning_rate may help"
    )


def close_epoch(one: Fit, speed: Mapping[str, float], validation: grain.MapDataset) -> str:
    """Validates, sets the next learning rate, and writes checkpoint and figures of an epoch.

    Args:
      one: whose epoch it was.
      speed: more figures to write down.
      validation: the validation split.

    Returns:
      What to say of it.

    Raises:
      TrainingDiverged: the weights or the validation loss are no numbers; nothing is written.
    """
    config, epoch = one.setup.config, one.progress.epoch + 1
    scored = report.score(one.setup, one.state, validation)
    check_numbers(one, scored.loss)
    trained = one.means()
    row = {"epoch": epoch, **{f"train/{name}": value for name, value in trained.items()}}
    row |= {"validation/loss": scored.loss, "validation/dice": scored.dice}
    row |= {"learning_rate": learning_rate(one.state), **speed}
    _, plateau = one.setup.plateau.update({}, one.plateau, value=scored.loss)
    one.plateau = jax.device_get(plateau)
    rate = config.learning_rate * float(one.plateau.scale) * step_decay(config, epoch)
    one.state = with_learning_rate(one.state, rate)
    best = scored.merit > one.progress.best
    one.progress = checkpoints.Progress(
        epoch=epoch,
        iterator=one.position,
        stopping=one.progress.stopping.update(scored.loss),
        best=max(scored.merit, one.progress.best),
        history=(*one.progress.history, row),
    )
    one.rows.clear()
    checkpoints.save(one.manager, one.state, one.plateau, one.progress, scored.merit)
    one.log.epoch(row)
    if hosts.is_first() and (epoch == 1 or epoch % config.log.image_epochs == 0):
        picture = report.validation_picture(one.setup, one.state, validation)
        one.log.image("validation", picture, epoch)
    return (
        f"epoch {epoch}: loss {trained['loss']:.4f}, Dice {trained['dice']:.4f}; validation "
        f"loss {scored.loss:.4f}, Dice {scored.dice:.4f}{' (best)' if best else ''}"
        f"{'' if scored.infected else f' ({report.NOTHING_INFECTED})'}; "
        f"{speed['slices_per_s']:.1f} slices/s"
    )


def check_numbers(one: Fit, loss: float) -> None:
    """Refuses an epoch after which the weights or the validation loss are no numbers.

    Raises:
      TrainingDiverged: saying which.
    """
    try:
        checkpoints.check_finite(one.state)
    except checkpoints.NotFiniteError as error:
        raise diverged(one, f"the array {error} became NaN or infinite in the last step") from error
    if not math.isfinite(loss):
        raise diverged(one, f"the validation loss became {loss} at the end")


def step_decay(config: ConfigDict, epoch: int) -> float:
    """Returns the factor on the learning rate after so many epochs."""
    decay = config.step_decay
    return decay.factor ** (epoch // decay.epochs) if decay.epochs else 1.0
