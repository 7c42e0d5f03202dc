"""A trained network scored on any split of any dataset, each slice once."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import grain
import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from cosup_jax import devices, hosts
from cosup_jax.data import datasets, people
from cosup_jax.data.preprocess import resize_image
from cosup_jax.evaluation import calibration, pictures, saved, tables
from cosup_jax.evaluation.examples import find_boxes, open_split, put_back
from cosup_jax.evaluation.folder import SAVED, renewing
from cosup_jax.evaluation.protocols import Protocol, protocol_named
from cosup_jax.evaluation.volumes import Volumes
from cosup_jax.runs import DATA, Run, read_data
from cosup_jax.weights import predictor

USED_FOR_SELECTION = "used for selection of the epoch"
SELECTED_ON_TRAINED = "the epoch was selected on slices that were trained on"
NO_TEST_SPLIT = "this dataset has no test split"
NO_TEST_ASKED = "no test split is named by the configuration"
_READERS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=16)

_T = TypeVar("_T")
Predictor = Callable[[np.ndarray], np.ndarray]


def evaluate_run(
    run: Run,
    *,
    protocol: str = "cosup",
    split: str | None = None,
    tta: bool = False,
    out: str | Path | None = None,
    draw: bool = True,
    save_predictions: bool = False,
    tune_threshold: bool = False,
) -> dict[str, Any]:
    """Scores a run's network on a split of the dataset that its configuration names.

    Args:
      run: from `runs.open_run`, whose overrides may name another dataset than was trained on.
      protocol: `cosup` or `semiseg`, see `protocols`.
      split: TFDS slicing allowed; None for the test split, or validation where there is none.
      tta: average over each slice and its mirror image.
      out: where to write tables, summary.json and pictures; None writes nothing.
      draw: whether to write pictures.
      save_predictions: write what was scored and its truth as pictures, below `out`.
      tune_threshold: also choose the threshold with the best mean Dice on the dataset's validation
        split, and report the split's Dice there; for protocol `cosup`.

    Several processes (`hosts`) share the work of the network, a batch each in turn; the first
    scores what all have predicted, and writes.

    Returns:
      The summary, see `tables.Scores.summary`.

    Raises:
      PatientOverlapError: the split is of patients of another dataset that the run was trained on.
      ValueError: the protocol or split is unknown, a slice has no mask, or an option does not go
        with the others.
    """
    rules = protocol_named(protocol)
    if save_predictions and out is None:
        raise ValueError("predictions can be saved only where a folder to write to is given")
    builder = open_dataset(run)
    chosen = chosen_split(run, builder, split)
    if tune_threshold:
        _check_tunable(rules, chosen, run.config.data.validation)
    about = {
        "protocol_description": rules.describe(run.crop),
        "dataset": builder.info.full_name,
        "split": chosen,
        "note": "; ".join(notes(run, builder, chosen, asked=split is not None)),
        "epoch": run.epoch,
        "tta": tta,
    }
    boxes = find_boxes(builder, chosen, run)
    dataset = open_split(builder, chosen, run.preprocessing, boxes)
    predict = predictor.make_predictor(run.model, run.variables, tta=tta)
    folder = None if out is None else Path(out).expanduser()
    keep = saved.Writer(folder) if folder is not None and save_predictions else None
    if keep is not None:
        about[SAVED] = True
    size = run.config.batch_size
    volumes = Volumes.of(builder)
    scores = score(dataset, predict, rules, batch_size=size, volumes=volumes, keep=keep)
    others = None
    if tune_threshold:
        tuned_on = run.config.data.validation
        boxes = find_boxes(builder, tuned_on, run)
        validation = open_split(builder, tuned_on, run.preprocessing, boxes)
        others = score(validation, predict, rules, batch_size=size, volumes=None)
    if not hosts.is_first():
        return hosts.tell(None)
    rows = list(tqdm(volumes.rows(), total=len(volumes), desc="volumes", delay=2.0, leave=False))
    summary = scores.summary(about, rows)
    if not rules.stretched:
        summary["ece"] = calibration.calibration(scores.levels).ece
    if others is not None:
        summary["tuned_threshold"] = calibration.tuned(scores.levels, others.levels) | {
            "chosen_on": f"{tuned_on} of {builder.info.full_name}"
        }
    if folder is not None:
        with renewing(folder, keep.written if keep is not None else ()) as written:
            written += tables.write(scores, rows, summary, folder)
            if draw:
                written += pictures.save(run, dataset, scores, predict, folder)
    return hosts.tell(summary)


def _check_tunable(protocol: Protocol, split: str, validation: str) -> None:
    if protocol.stretched:
        raise ValueError(
            f"protocol {protocol.name} has no single threshold to choose; tune it with cosup"
        )
    if people.terms(split) & people.terms(validation):
        raise ValueError(
            f"{split} is the split a threshold is chosen on; Dice at that threshold would be "
            "flattered there, so score another split"
        )


def open_dataset(run: Run) -> tfds.core.DatasetBuilder:
    """Returns the dataset that a run's configuration names, built where it was not."""
    return datasets.open_dataset(run.config.data)


def chosen_split(run: Run, builder: tfds.core.DatasetBuilder, split: str | None) -> str:
    """Returns the split to score: the one asked for, or that of the run's configuration.

    Raises:
      SplitError: the dataset has no such split, or it is empty.
    """
    if split is None:
        return people.evaluation_split(builder, run.config.data.test, run.config.data.validation)
    people.check_split(builder, split)
    return split


def notes(run: Run, builder: tfds.core.DatasetBuilder, split: str, *, asked: bool) -> list[str]:
    """Returns what a reader must know of a split that a run is scored on.

    Args:
      run: the run, with the data.json that its training left.
      builder: the dataset scored on.
      split: its split.
      asked: whether the split was asked for, and does not stand in for another.

    Raises:
      PatientOverlapError: see `evaluate_run`.
      FileError: data.json is damaged.
    """
    trained, used = read_data(run.workdir), run.config.data
    own = _is_own(builder, trained)
    found = []
    if (whose := trained.get("trained_on")) is not None:
        of_training = own and bool(people.terms(split) & people.terms(used.train))
        found.append(people.check_apart(builder, split, whose, of_training=of_training))
    else:
        found.append(f"the run's {DATA} names no patients: nobody checked who was trained on")
    if _was_selected_on(builder, split, trained, used.validation if own else ""):
        found.append(USED_FOR_SELECTION)
    if own and used.validation in used.train.split("+"):
        found.append(SELECTED_ON_TRAINED)
    if not asked and split == used.validation:
        found.append(NO_TEST_SPLIT if used.test else NO_TEST_ASKED)
    return list(filter(None, [*found, run.note]))


def _is_own(builder: tfds.core.DatasetBuilder, trained: Mapping[str, Any]) -> bool:
    """Whether a dataset is the one that a run was trained on, whatever it was called then."""
    name = trained.get("dataset")
    if name is None or name == builder.info.full_name:
        return name is not None
    # Folders were once called by more than their content.
    return name.partition("/")[0] == builder.name and datasets.holds(builder, trained)


def _was_selected_on(
    builder: tfds.core.DatasetBuilder, split: str, trained: Mapping[str, Any], validation: str
) -> bool:
    """Whether a split has slices or patients by which the run's epoch, or one before, was chosen.

    Args:
      builder: the dataset scored on.
      split: its split.
      trained: the run's data.json.
      validation: the run's validation split where the dataset is the run's own.
    """
    if validation and people.terms(split) & people.terms(validation):
        return True
    whose = trained.get("selected_on")
    if whose is None or not builder.info.metadata["patients_apart"]:
        return False
    scored = people.people(builder, split)
    return any(people.shared(scored, one) for one in people.each(whose))


def score(
    dataset: grain.MapDataset,
    predict: Predictor,
    protocol: Protocol,
    *,
    batch_size: int,
    volumes: Volumes | None,
    keep: saved.Writer | None = None,
    resize: Callable[[np.ndarray, tuple[int, int]], np.ndarray] = resize_image,
) -> tables.Scores:
    """Scores every slice of a dataset once, in order.

    Args:
      dataset: from `examples.open_split`.
      predict: from `weights.predictor.make_predictor`.
      protocol: how to score.
      batch_size: slices predicted at once; one shape, so one compilation.
      volumes: collects the masks, see `Volumes.of`; None where volumes are not scored.
      keep: writes each map and its truth, as they are scored.
      resize: makes what is predicted of a slice a map (H, W) of the slice's own size, or of its
        box, outside of which there is nothing.
    """
    scores = tables.Scores(protocol)
    for example, prob in predictions(dataset, predict, batch_size):
        if not hosts.is_first():
            continue
        own = put_back(prob, example, resize)
        true = example["truth"] if protocol.stretched else example["mask"][..., 0] > 0
        used = own if protocol.stretched else prob
        scores.add(example, protocol.score(used, true))
        scores.truths.add(example, example["truth"], true)
        if volumes is not None:
            volumes.add(example, own, example["truth"])
        if keep is not None:
            keep(example, protocol.picture(used), true)
    return scores


def predictions(
    dataset: grain.MapDataset, predict: Predictor, batch_size: int
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yields each example of a dataset with its probabilities (h, w) float32.

    Of several processes each predicts its own batches, and gets what the others have.
    """
    examples = iter(dataset.to_iter_dataset(_READERS))
    bar = tqdm(examples, total=len(dataset), desc="slices", unit="slice", delay=2.0, leave=False)
    for batches in _grouped(_grouped(bar, batch_size), hosts.count()):
        # A share that has no batch left predicts the last one, for nothing.
        batch = batches[min(hosts.index(), len(batches) - 1)]
        image = np.stack([example["image"] for example in batch])
        filled = np.pad(image, [(0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)])
        for one, found in zip(batches, devices.gather(predict(filled)), strict=False):
            yield from zip(one, found[: len(one)], strict=True)


def _grouped(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yields so many values at once, at last what is left."""
    source = iter(values)
    while group := list(itertools.islice(source, size)):
        yield group
