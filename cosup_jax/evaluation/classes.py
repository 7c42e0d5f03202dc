"""A network for several classes, each class scored as Table III of Inf-Net's paper scores it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from matplotlib.figure import Figure

from cosup_jax import figures, models
from cosup_jax.data import pipeline, schema
from cosup_jax.data.preprocess import (
    Preprocessing,
    cut,
    resize_image,
    resize_labels,
)
from cosup_jax.evaluation import examples, scoring, tables
from cosup_jax.evaluation.folder import renewing
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.evaluation.volumes import Volumes
from cosup_jax.runs import Run
from cosup_jax.weights import predictor

_SHOWN = 4  # slices in the picture
_FIGURE = "classes"


def evaluate_classes(
    run: Run,
    *,
    protocol: str = "semiseg",
    split: str | None = None,
    tta: bool = False,
    out: str | Path | None = None,
    draw: bool = True,
) -> dict[str, dict[str, Any]]:
    """Scores each class of infection against the places of that class.

    Under `semiseg` its map is where the class is the most probable one at the slice's own size, as
    in the maps which Inf-Net's authors saved; under `cosup` it is the probability of the class.

    Args:
      run: from `runs.open_run`, of a network with several classes.
      protocol: `cosup` or `semiseg`, see `protocols`.
      split: TFDS slicing allowed; None for the test split, or validation where there is none.
      tta: average over each slice and its mirror image.
      out: a folder for each class is written into it, as `evaluate_run` writes one, and a picture
        of some slices; None writes nothing.
      draw: whether to write the picture.

    Returns:
      By name of the class, the summary, see `tables.Scores.summary`.

    Raises:
      PatientOverlapError: the split is of patients of another dataset that the run was trained on.
      ValueError: the network has one class, or the protocol or split is unknown.
    """
    rules, count = protocol_named(protocol), models.count_classes(run.model)
    if count == 1:
        raise ValueError(f"{run.workdir}: its network does not tell classes apart")
    builder = scoring.open_dataset(run)
    chosen = scoring.chosen_split(run, builder, split)
    note = "; ".join(scoring.notes(run, builder, chosen, asked=split is not None))
    predict = predictor.Predictor(run.model, run.variables, tta=tta, by_class=True)
    boxes = examples.find_boxes(builder, chosen, run)
    summaries, infected, before = {}, np.zeros(0, np.int64), False
    for label, name in enumerate(schema.CLASSES[: count - 1], 1):
        prepare = partial(_of_class, label=label)
        dataset = pipeline.open_split(
            builder, chosen, run.preprocessing, boxes=boxes, cache_gib=0.0, prepare=prepare
        )
        size, volumes = run.config.batch_size, Volumes.of(builder)
        if rules.stretched:
            likeliest = partial(is_likeliest, label=label)
            scores = scoring.score(
                dataset, predict, rules, batch_size=size, volumes=volumes, resize=likeliest
            )
        else:
            of_class = partial(_probability, predict, label)
            scores = scoring.score(dataset, of_class, rules, batch_size=size, volumes=volumes)
        about: dict[str, Any] = {"protocol_description": rules.describe(run.crop)}
        about |= {"dataset": builder.info.full_name, "split": chosen, "note": note}
        about |= {"epoch": run.epoch, "tta": tta, "class": name}
        rows = list(volumes.rows())
        pixels = np.array([row["tp"] + row["fn"] for row in scores.slices])
        infected = infected + pixels if len(infected) else pixels
        summaries[name] = scores.summary(about, rows)
        if out is not None:
            folder = Path(out).expanduser() / name
            before = before or (folder / tables.SUMMARY).is_file()
            with renewing(folder) as written:
                written += tables.write(scores, rows, summaries[name], folder)
    if out is not None and draw:
        places = _from_little_to_much(infected)
        shown = picture({"prediction": run}, builder, chosen, places, {"prediction": boxes})
        figures.save(shown, Path(out).expanduser() / _FIGURE)
    elif out is not None and before:
        (Path(out).expanduser() / f"{_FIGURE}.png").unlink(missing_ok=True)
    return summaries


def _probability(
    predict: Callable[[np.ndarray], np.ndarray], label: int, image: np.ndarray
) -> np.ndarray:
    return predict(image)[..., label]


def is_likeliest(each: np.ndarray, size: tuple[int, int], *, label: int) -> np.ndarray:
    """Returns where a class is the most probable one, (H, W) float32 of 0 and 1.

    Args:
      each: (h, w, C) probabilities.
      size: (H, W), to which each class's are resized first.
      label: which of the C.
    """
    resized = [resize_image(each[..., i], size) for i in range(each.shape[-1])]
    return (np.argmax(resized, axis=0) == label).astype(np.float32)


def _of_class(example: Mapping[str, Any], settings: Preprocessing, *, label: int) -> dict[str, Any]:
    """Prepares an example in which only one class counts as infection."""
    truth = example["mask"][..., 0] == label
    mask = resize_labels(cut(example, truth.astype(np.uint8)), settings.size)
    prepared = {**examples.prepare(example, settings), "mask": mask[..., None]}
    return examples.with_place(prepared, example, truth)


def picture(
    runs: Mapping[str, Run],
    builder: tfds.core.DatasetBuilder,
    split: str,
    places: Sequence[int],
    boxes: Mapping[str, pipeline.Boxes | None],
) -> Figure:
    """Draws the classes that networks find in some slices, beside the true ones.

    Args:
      runs: by name, of networks with several classes and slices of one size.
      builder: the dataset.
      split: the split.
      places: which of its slices.
      boxes: by name, from `examples.find_boxes`.
    """
    found: dict[str, np.ndarray] = {}
    for name, run in runs.items():
        prepare = partial(examples.prepare, classes=run.model.classes)
        dataset = pipeline.open_split(
            builder, split, run.preprocessing, boxes=boxes[name], cache_gib=0.0, prepare=prepare
        )
        shown = [dataset[i] for i in places]
        image, truth = (np.stack([e[key] for e in shown]) for key in ("image", "mask"))
        predict = predictor.Predictor(run.model, run.variables, by_class=True)
        found[name] = predict(image).argmax(axis=-1)
    rows = [f"{e['case_id']}, {e['slice_index']}" for e in shown]
    names = schema.CLASSES[: max(run.model.classes for run in runs.values()) - 1]
    return figures.classes(image[..., 0], found, truth[..., 0], rows=rows, names=names)


def _from_little_to_much(infected: np.ndarray) -> list[int]:
    """Returns slices spread evenly over those with infection."""
    order = np.argsort(infected, kind="stable")[np.count_nonzero(infected == 0) :]
    order = order if len(order) else np.arange(len(infected))
    places = np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).round().astype(int)
    return order[places].tolist()
