"""The training loop: from a configuration and a folder to a best epoch."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from cosup_jax import hosts, runs, signals
from cosup_jax.data import pipeline, sampling
from cosup_jax.runs import checkpoints, interrupted, logs
from cosup_jax.training import report
from cosup_jax.training.agreement import check_data, check_folder, check_program
from cosup_jax.training.epochs import (
    Fit,
    TrainingDiverged,
    begin,
    close_epoch,
    stateful_prefetch,
    train_epoch,
)
from cosup_jax.training.progress import ProgressBar
from cosup_jax.training.setup import (
    RunMismatch,
    Setup,
    describe,
    keep_description,
    make_setup,
    make_state,
    with_seed,
)

__all__ = ["TrainingDiverged", "fit", "train_seeds"]


def train_seeds(
    config: ConfigDict, seeds: Sequence[int], workdirs: Sequence[str | Path]
) -> list[Setup]:
    """Trains one configuration with several seeds at once, each as if it were trained alone.

    Each seed has its own initial weights, order of the slices, plateau and early stopping, and ends
    with a folder like that of a run of its own, which may also have been started as one, or go on
    as one. The seeds share data and the compiled step, which they take one after another: as one
    program under `vmap` their convolutions would be grouped ones, which take longer. A seed that
    has stopped, or diverged, takes no part any more.

    Args:
      config: see configs/base.py; its own seed does not count.
      seeds: the seeds, all different.
      workdirs: the folder of each; a run started again goes on where it was.

    Returns:
      What each seed was trained with; its best epoch lies in its folder.

    Raises:
      ValueError: anything wrong with configuration, data or devices; or the seeds or folders do not
        differ.
      TrainingDiverged: the loss of one or more became NaN; its `finished` are the others.
      RunMismatch: a folder holds a run of another configuration or other data.
    """
    folders = [Path(folder).expanduser() for folder in workdirs]
    for name, given in (("seed", seeds), ("folder", folders)):
        if not seeds or len(given) != len(seeds) or len(set(given)) < len(given):
            raise ValueError(f"expected a different {name} for each seed, not {list(given)}")
    check_program(config)
    with hosts.in_turn():
        first = make_setup(config, folders[0])
    check_data(first)
    setups = [with_seed(first, *pair) for pair in zip(seeds, folders, strict=True)]
    with contextlib.ExitStack() as owned:
        for setup in setups:
            owned.enter_context(runs.own(setup.workdir))
            if hosts.is_first():
                _check_epochs(setup)
                keep_description(setup)
            check_folder(setup.workdir)
        states = [make_state(setup) for setup in setups]
        print(describe(setups[0], states[0]), flush=True)
        if len(seeds) > 1:
            print(f"seeds {', '.join(map(str, seeds))} together, in {', '.join(map(str, folders))}")
        with contextlib.ExitStack() as stack:
            managers = [stack.enter_context(checkpoints.open_checkpoints(f)) for f in folders]
            fit([begin(*start) for start in zip(setups, states, managers, strict=True)])
    return setups


def _check_epochs(setup: Setup) -> None:
    """Refuses a run that was trained longer than is asked for: its best epoch may be one of those.

    Raises:
      RunMismatch: naming both numbers.
    """
    last, limit = checkpoints.last_progress(setup.workdir), setup.config.epochs
    if last and last.epoch > limit:
        raise RunMismatch(
            f"epochs is {limit}, but {setup.workdir} holds a run of {last.epoch} epochs; give "
            f"--config.epochs={last.epoch} or more, or another --workdir"
        )


def fit(fits: Sequence[Fit]) -> None:
    """Trains until early stopping or the last epoch, leaving checkpoints and figures.

    Args:
      fits: of one configuration, with different seeds.

    Raises:
      TrainingDiverged: the loss, the weights or the validation loss of one or more are no numbers;
        the others have gone on to their end.
      Stopped: the process was asked to end; what it has done of an epoch is kept.
    """
    if all(one.is_over for one in fits):
        for one in fits:
            _finish(one)  # the process that trained may have ended before
        return
    setup = fits[0].setup
    config = setup.config
    train, validation = setup.open(config.data.train), setup.open(config.data.validation)
    groups = sampling.parse_groups(config.sampling.groups)
    sampling.check(validation, config.data.validation, groups)  # not after an epoch
    steps = pipeline.steps_per_epoch(train, config.batch_size, config.sampling.slices)
    for one in fits:
        one.stream = stateful_prefetch(one, train)
        one.log = logs.RunLog(one.setup.workdir, one.progress.history)
    used = time.process_time()  # what an epoch cost, wherever else the processors were meanwhile
    bar = ProgressBar(setup, steps, min(one.steps_done(steps) for one in fits), len(fits))
    with contextlib.closing(bar), signals.noted():
        while going := [one for one in fits if not (one.is_over or one.error)]:
            # Those that an interruption has left behind catch up, so that all take the same step;
            # whose last step of an epoch is taken closes it before others go on to the next.
            place = min(one.place for one in going)
            now = [one for one in going if one.place == place]
            started, left = time.perf_counter(), steps - len(now[0].rows)
            try:
                train_epoch(now, steps, bar)
                seconds = time.perf_counter() - started
                speed = {"seconds": seconds, "slices_per_s": left * config.batch_size / seconds}
                before, used = used, time.process_time()
                speed["cpu_seconds"] = used - before
                for one in [one for one in now if not one.error]:
                    with _apart(one):
                        told = close_epoch(one, speed, validation)
                        bar.say(f"{_seed(one)}, {told}" if len(fits) > 1 else told)
            except signals.Stopped:
                for one in now:
                    with _apart(one):
                        one.keep_steps()
                if not all(one.error for one in fits):
                    raise
            finally:
                for one in now if len(fits) > 1 else ():
                    if one.error:
                        bar.say(f"{_seed(one)} is given up: {one.error}")
    for one in fits:
        one.log.close()
        if not one.error:
            _finish(one)
            print(f"{one.setup.workdir}: trained {one.progress.epoch} epochs; {one.best_words()}")
    if any(one.error for one in fits):
        raise _failure(fits)


@contextlib.contextmanager
def _apart(one: Fit) -> Iterator[None]:
    """Has what one seed diverges by end that seed alone."""
    try:
        yield
    except TrainingDiverged as error:
        one.error = error


def _seed(one: Fit) -> str:
    return f"seed {one.setup.config.seed}"


def _failure(fits: Sequence[Fit]) -> TrainingDiverged:
    """Returns what to raise where some have diverged, with those that have not."""
    errors = {_seed(one): one.error for one in fits if one.error}
    if len(fits) == 1:
        return next(iter(errors.values()))
    failure = TrainingDiverged("; ".join(f"{seed}: {error}" for seed, error in errors.items()))
    failure.finished = [one.setup for one in fits if not one.error]
    return failure


def _finish(one: Fit) -> None:
    checkpoints.finish(one.manager)
    interrupted.discard(one.setup.workdir)
    report.learning_curve(one.setup.workdir)
