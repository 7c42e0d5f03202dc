"""The figures of the paper for one run or several, from any split of any dataset."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cosup_jax import figures, models
from cosup_jax.evaluation import classes, examples, pictures, scoring
from cosup_jax.evaluation.calibration import calibration
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.evaluation.tables import Scores
from cosup_jax.runs import Run, logs
from cosup_jax.weights import predictor

SUFFIXES = (".png", ".pdf")
_SAME = ("name", "config", "source", "size", "crop", "lungs")


def draw(
    runs: Mapping[str, Run], out: str | Path, *, split: str | None = None, slices: int = 4
) -> list[str]:
    """Draws all figures, as PNG and PDF.

    `figure6` (image, networks side by side, truth), `figure7_<run>` (every supervised stage),
    `figure8_<run>` (the attention fusion), `classes` (as Figure 7 of Inf-Net's paper, of the runs
    that tell classes apart), `learning_curves`, `dice_by_size`, `calibration`. Slices
    are scored by the protocol `cosup`; those shown are spread from the worst to the best by mean
    Dice over the runs.

    Args:
      runs: by name, all configured for the same data.
      out: folder to write to.
      split: as for `evaluate_run`.
      slices: how many to show.

    Returns:
      The names of the figures drawn, and a sentence for each that could not be.

    Raises:
      ValueError: the runs differ in data or size.
    """
    folder = Path(out).expanduser()
    _check_alike(runs)
    first = next(iter(runs.values()))
    builder = scoring.open_dataset(first)
    chosen = scoring.chosen_split(first, builder, split)
    scores, predictors, prepared, boxes = {}, {}, {}, {}
    for name, run in runs.items():
        scoring.notes(run, builder, chosen, asked=split is not None)
        boxes[name] = examples.find_boxes(builder, chosen, run)
        dataset = examples.open_split(builder, chosen, run.preprocessing, boxes[name])
        prepared[name] = dataset
        predictors[name] = predictor.make_predictor(run.model, run.variables)
        size, cosup = run.config.batch_size, protocol_named("cosup")
        scores[name] = scoring.score(
            dataset, predictors[name], cosup, batch_size=size, volumes=None
        )
    places = spread_out(scores, slices)
    shown = {name: pictures.Slices(dataset, places) for name, dataset in prepared.items()}
    found = {n: shown[n].predicted(predictors[n], r.config.batch_size) for n, r in runs.items()}
    several = {n: run for n, run in runs.items() if models.count_classes(run.model) > 1}
    by_class = classes.picture(several, builder, chosen, places, boxes) if several else None
    drawn = {
        "figure6": pictures.networks(next(iter(shown.values())), found, scores),
        **{f"figure7_{n}": pictures.stages(run, shown[n]) for n, run in runs.items()},
        **{f"figure8_{n}": pictures.fusion(run, shown[n], found[n]) for n, run in runs.items()},
        **({"classes": by_class} if several else {}),
        "learning_curves": _learning_curves(runs),
        "dice_by_size": _dice_by_size(scores),
        "calibration": figures.calibration(
            {name: calibration(of_run.levels) for name, of_run in scores.items()}
        ),
    }
    for name, figure in drawn.items():
        if figure is not None:
            figures.save(figure, folder / name, SUFFIXES)
    return [name if figure else f"{name}: {_absent(name)}" for name, figure in drawn.items()]


def spread_out(scores: Mapping[str, Scores], count: int) -> list[int]:
    """Returns slices spread evenly from the worst to the best by mean Dice over the runs."""
    dice = np.mean([[row["dice"] for row in found.slices] for found in scores.values()], axis=0)
    order = pictures.by_dice(dice.tolist(), next(iter(scores.values())))
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [order[i] for i in places]


def _check_alike(runs: Mapping[str, Run]) -> None:
    if not runs:
        raise ValueError("no run to draw figures of")
    (first, one), *others = runs.items()
    for name, run in others:
        for field in _SAME:
            mine, theirs = one.config.data[field], run.config.data[field]
            if mine != theirs:
                raise ValueError(
                    f"{first} and {name} differ in data.{field}: {mine!r} and {theirs!r}; the "
                    f"figures show the same slices of all (--config.data.{field}=… sets it for all)"
                )


def _dice_by_size(scores: Mapping[str, Scores]) -> Figure | None:
    found = {name: pictures.sizes_and_dice(of_run) for name, of_run in scores.items()}
    infected = any((share > 0).any() for share, _ in found.values())
    return figures.dice_by_size(found) if infected else None


def _learning_curves(runs: Mapping[str, Run]) -> Figure | None:
    rows = {name: logs.read_metrics(run.workdir) for name, run in runs.items()}
    known = {name: epochs for name, epochs in rows.items() if epochs}
    return figures.learning_curves(known) if known else None


def _absent(name: str) -> str:
    if name.startswith("figure7"):
        return "not drawn, for the network supervises no stage"
    if name.startswith("figure8"):
        return "not drawn, for the network has no attention fusion"
    if name == "dice_by_size":
        return "not drawn, for no slice of this split has infection"
    return "not drawn, for no run has a metrics.jsonl"
