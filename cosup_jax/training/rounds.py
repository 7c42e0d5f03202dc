"""The rounds of semi-supervised training: lines 3 to 8 of Algorithm 1 of Inf-Net's paper."""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.training.early_stopping import EarlyStopping
from ml_collections import ConfigDict
from tqdm import tqdm

from cosup_jax import devices, files
from cosup_jax.runs import checkpoints, initial, logs
from cosup_jax.runs.state import TrainState
from cosup_jax.training import loop, pseudo, report
from cosup_jax.training.setup import Setup, make_state

SELECTION = "selection.jsonl"
FIELDS = ("image", "mask", "edge")
Example = Mapping[str, Any]


def label_all(
    setup: Setup,
    pool: pseudo.Pool,
    labelled: grain.MapDataset,
    validation: grain.MapDataset,
    *,
    init: Path,
    labels: Path,
) -> list[dict[str, Any]]:
    """Labels all slices of a pool, `config.semi.per_round` at a time, or those that are left.

    After each round a checkpoint holds everything the next one depends on, and the labels are on
    the disk. What a killed process did of a round is done again, with the same result.

    Args:
      setup: of the rounds; its folder keeps checkpoints, a row of figures for each round, and
        selection.jsonl with a row for each label.
      pool: the unlabelled slices in their order.
      labelled: the prepared labelled slices.
      validation: scored after each round.
      init: the folder of the run trained on the labelled slices.
      labels: folder of the slices with pseudo labels.

    Returns:
      A row for each label: file, case, patient, slice, round, confidence.

    Raises:
      PoolError: labels or the list of them have gone from the folders.
      TrainingDiverged: the loss became NaN.
    """
    size = setup.config.semi.per_round
    lengths = round_lengths(setup.config, len(labelled), len(pool.slices))
    count = len(lengths)
    with checkpoints.open_checkpoints(setup.workdir) as manager:
        state, done, history = begin(setup, manager, init)
        rows = read_selection(setup.workdir, done)
        if [row.get("file") for row in rows] != [s.file for s in pool.slices[: done * size]]:
            raise pseudo.PoolError(
                f"{setup.workdir / SELECTION} does not name the slices of the {done} rounds done; "
                "put it back, or start again in another --workdir"
            )
        examples = [labelled[i] for i in range(len(labelled))]
        for piece in pool.slices[: done * size]:
            examples.append(pseudo.read_label(piece, labels, pool.settings))
        log = logs.RunLog(setup.workdir, history)
        print(describe(setup.config, len(labelled), len(pool.slices)))
        bar = tqdm(
            total=sum(lengths),
            initial=sum(lengths[:done]),
            unit="step",
            mininterval=1.0 if sys.stderr.isatty() else 30.0,
            dynamic_ncols=True,
        )
        for number in range(done + 1, count + 1):
            started = time.perf_counter()
            chosen = pool.slices[(number - 1) * size : number * size]
            new = label(state, pool, chosen, size, labels, number)
            rows += new
            write_selection(setup.workdir, rows)
            examples += [pseudo.read_label(piece, labels, pool.settings) for piece in chosen]
            steps = lengths[number - 1]
            state, loss = tune(setup, state, examples, number, steps)
            scored = report.score(setup, state, validation)
            figures: dict[str, Any] = {"train/loss": loss, "validation/loss": scored.loss}
            figures |= {"validation/dice": scored.dice, "slices": len(examples), "steps": steps}
            figures["confidence"] = float(np.mean([row["confidence"] for row in new]))
            row = {"epoch": number, **figures, "seconds": time.perf_counter() - started}
            history = (*history, row)
            progress = checkpoints.Progress(number, None, EarlyStopping(), history=history)
            keep(manager, state, progress, scored)
            log.epoch(row)
            bar.update(steps)
            bar.write(
                f"round {number} of {count}: {len(rows)} slices labelled, confidence "
                f"{figures['confidence']:.3f}; loss {loss:.4f}; validation loss {scored.loss:.4f}, "
                f"Dice {scored.dice:.4f}"
            )
        bar.close()
        log.close()
    return rows


def begin(
    setup: Setup, manager: ocp.CheckpointManager, init: Path
) -> tuple[TrainState, int, tuple[Mapping[str, Any], ...]]:
    """Returns the state to go on with, on the devices, the rounds done, and their figures."""
    state, done = make_state(setup), 0
    known: tuple[Mapping[str, Any], ...] = ()
    if found := checkpoints.restore_last(manager, state, {}):
        state, _, progress = found
        done, known = progress.epoch, progress.history
        print(f"going on after round {done}")
    else:
        state = initial.load_weights(str(init), state)
    history = logs.history(setup.workdir, done, known)
    return devices.replicate(state, setup.devices), done, history


def keep(
    manager: ocp.CheckpointManager,
    state: TrainState,
    progress: checkpoints.Progress,
    scored: report.Validation,
) -> None:
    """Writes the checkpoint of a round.

    Raises:
      TrainingDiverged: weights or validation loss are no numbers; nothing is written.
    """
    what = f"the validation loss became {scored.loss}"
    try:
        if math.isfinite(scored.loss):
            checkpoints.save(manager, state, {}, progress, scored.merit)
            return
    except checkpoints.NotFiniteError as error:
        what = f"the array {error} became NaN or infinite"
    raise loop.TrainingDiverged(
        f"{what} in round {progress.epoch}; a smaller --config.learning_rate may help"
    )


def label(
    state: TrainState,
    pool: pseudo.Pool,
    chosen: Sequence[pseudo.Slice],
    size: int,
    labels: Path,
    number: int,
) -> list[dict[str, Any]]:
    """Gives the chosen slices their labels (line 4), and returns a row for each.

    Args:
      state: the present network.
      pool: where the slices are from.
      chosen: the slices.
      size: slices in a full round; the last one is filled up, so that nothing is compiled anew.
      labels: folder for the labels.
      number: of the round, from 1.
    """
    image = np.stack([piece.image for piece in chosen])
    image = np.pad(image, [(0, size - len(chosen)), (0, 0), (0, 0), (0, 0)])
    rows = []
    for piece, probability in zip(chosen, report.predict(state, image)[: len(chosen)], strict=True):
        found = pseudo.keep_label(pool, piece, probability, labels)
        rows.append(piece.row(round=number, confidence=found))
    return rows


def tune(
    setup: Setup, state: TrainState, examples: Sequence[Example], number: int, steps: int
) -> tuple[TrainState, float]:
    """Trains on all slices that have a label by now (line 7).

    Returns:
      The state and the mean loss.

    Raises:
      TrainingDiverged: the loss became NaN.
    """
    config = setup.config
    stream = batches(examples, config.batch_size, steps, (config.seed, number))
    first, losses = int(jax.device_get(state.step)), []
    for i, batch in enumerate(devices.prefetch(stream, setup.devices)):
        state, metrics = setup.train_steps[setup.drawn_size(first + i)](state, batch)
        losses.append(metrics["loss"])
    loss = float(np.mean([np.asarray(value)[0] for value in jax.device_get(losses)]))
    if not math.isfinite(loss):
        raise loop.TrainingDiverged(
            f"the loss became {loss} in round {number}; a smaller --config.learning_rate may help"
        )
    return state, loss


def round_lengths(config: ConfigDict, labelled: int, unlabelled: int) -> list[int]:
    """Returns the steps of each round, which grow with the slices that have a label by then.

    Args:
      config: its section `semi` says how many slices a round labels, and how long it trains.
      labelled: slices with an expert's mask.
      unlabelled: slices to be labelled.
    """
    size = config.semi.per_round
    counts = [min(n, unlabelled) for n in range(size, unlabelled + size, size)]
    epoch = config.semi.epochs / config.batch_size
    return [max(1, round(epoch * (labelled + count))) for count in counts]


def describe(config: ConfigDict, labelled: int, unlabelled: int) -> str:
    """Says how many rounds and steps there are; see `round_lengths`."""
    lengths = round_lengths(config, labelled, unlabelled)
    return (
        f"{unlabelled} unlabelled slices, {config.semi.per_round} a round: {len(lengths)} rounds, "
        f"{sum(lengths)} steps"
    )


def batches(
    examples: Sequence[Example], batch_size: int, steps: int, seed: tuple[int, int]
) -> Iterator[dict[str, np.ndarray]]:
    """Yields `steps` batches; every slice comes once before any comes again."""
    random = np.random.Generator(np.random.Philox(key=np.array(seed, np.uint64)))
    order: list[int] = []
    for _ in range(steps):
        while len(order) < batch_size:
            order += random.permutation(len(examples)).tolist()
        chosen, order = order[:batch_size], order[batch_size:]
        yield {
            name: np.stack([examples[i][name] for i in chosen])
            for name in ("image", "mask", "edge")
        }


def read_selection(workdir: Path, done: int) -> list[dict[str, Any]]:
    """Returns the rows of selection.jsonl of the rounds that are done, and drops all others."""
    path = workdir / SELECTION
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            row = files.parse_json(line, str(path))
        except files.FileError:  # cut off, or damaged
            break
        if type(row.get("round")) is not int:
            break
        if row["round"] <= done:
            rows.append(row)
    write_selection(workdir, rows)
    return rows


def write_selection(workdir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes selection.jsonl."""
    files.write_text(workdir / SELECTION, "".join(json.dumps(row) + "\n" for row in rows))
