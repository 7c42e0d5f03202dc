"""A network for several classes, each class scored as Table III of Inf-Net's paper scores it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from cosup_jax import figures, inference
from cosup_jax.data import datasets, pipeline, schema
from cosup_jax.data.preprocess import Preprocessing, prepare_example, resize_labels
from cosup_jax.evaluation import scoring, tables
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.training.runs import Run

_SHOWN = 4  # slices in the picture


def evaluate_classes(
    run: Run,
    *,
    protocol: str = "semiseg",
    split: str | None = None,
    tta: bool = False,
    out: str | Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Scores each class of infection: its probability against the places of that class.

    Args:
      run: from `runs.open_run`, of a network with several classes.
      protocol: `cosup` or `semiseg`, see `protocols`.
      split: TFDS slicing allowed; None for the test split, or validation where there is none.
      tta: average over each slice and its mirror image.
      out: a folder for each class is written into it, as `evaluate_run` writes one, and a picture
        of some slices; None writes nothing.

    Returns:
      By name of the class, the summary, see `tables.Scores.summary`.

    Raises:
      PatientOverlapError: the split is of patients of another dataset that the run was trained on.
      ValueError: the network has one class, or the protocol or split is unknown.
    """
    rules, count = protocol_named(protocol), getattr(run.model, "classes", 1)
    if count == 1:
        raise ValueError(f"{run.workdir}: its network does not tell classes apart")
    builder = scoring.open_dataset(run)
    chosen = split or datasets.evaluation_split(
        builder, run.config.data.test, run.config.data.validation
    )
    note = "; ".join(scoring.notes(run, builder, chosen, asked=split is not None))
    predict = inference.Predictor(run.model, run.variables, tta=tta, by_class=True)
    summaries, infected = {}, np.zeros(0, np.int64)
    for label, name in enumerate(schema.CLASSES[: count - 1], 1):
        prepare = partial(_of_class, label=label)
        dataset = pipeline.open_split(
            builder, chosen, run.preprocessing, cache_gib=0.0, prepare=prepare
        )
        size = run.config.batch_size
        scores, volumes = scoring.score(
            dataset, partial(_probability, predict, label), rules, batch_size=size
        )
        about = {"dataset": builder.info.full_name, "split": chosen, "note": note}
        about |= {"epoch": run.epoch, "tta": tta, "class": name}
        rows = list(volumes.rows())
        pixels = np.array([row["tp"] + row["fn"] for row in scores.slices])
        infected = infected + pixels if len(infected) else pixels
        summaries[name] = scores.summary(about, rows)
        if out is not None:
            folder = Path(out).expanduser() / name
            tables.write(scores, rows, summaries[name], folder)
    if out is not None:
        _save_picture(run, builder, chosen, predict, infected, Path(out).expanduser())
    return summaries


def _probability(
    predict: Callable[[np.ndarray], np.ndarray], label: int, image: np.ndarray
) -> np.ndarray:
    return predict(image)[..., label]


def _of_class(example: Mapping[str, Any], settings: Preprocessing, *, label: int) -> dict[str, Any]:
    """Prepares an example in which only one class counts as infection."""
    truth = example["mask"][..., 0] == label
    mask = resize_labels(truth.astype(np.uint8), settings.size)
    prepared = prepare_example(example, settings)
    return {**prepared, "mask": mask[..., None], "truth": truth, "spacing": example["spacing"]}


def _save_picture(
    run: Run,
    builder: tfds.core.DatasetBuilder,
    split: str,
    predict: Callable[[np.ndarray], np.ndarray],
    infected: np.ndarray,
    folder: Path,
) -> None:
    """Saves slices spread evenly over those with infection, from little to much."""
    prepare = partial(prepare_example, classes=run.model.classes)
    dataset = pipeline.open_split(builder, split, run.preprocessing, cache_gib=0.0, prepare=prepare)
    order = np.argsort(infected, kind="stable")[np.count_nonzero(infected == 0) :]
    order = order if len(order) else np.arange(len(dataset))
    places = order[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).round().astype(int)]
    examples = [dataset[int(i)] for i in places]
    image, truth = (np.stack([e[name] for e in examples]) for name in ("image", "mask"))
    found = predict(image).argmax(axis=-1)
    names = schema.CLASSES[: run.model.classes - 1]
    rows = [f"{e['case_id']}, {e['slice_index']}" for e in examples]
    panel = figures.classes(image[..., 0], found, truth[..., 0], rows=rows, names=names)
    figures.save(panel, folder / "classes")
