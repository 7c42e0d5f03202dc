"""Pictures of runs: what `evaluate` leaves beside its tables, and the figures of the paper."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grain
import jax
import numpy as np
from matplotlib.figure import Figure

from cosup_jax import figures, models
from cosup_jax.evaluation.calibration import calibration
from cosup_jax.evaluation.folder import CALIBRATION, FUSION, OVERLAYS
from cosup_jax.evaluation.tables import Scores
from cosup_jax.metrics import THRESHOLD
from cosup_jax.models.output import SegOutput
from cosup_jax.runs import Run

Predictor = Callable[[np.ndarray], np.ndarray]


def save(
    run: Run, dataset: grain.MapDataset, scores: Scores, predict: Predictor, folder: Path
) -> list[Path]:
    """Saves overlays.png, fusion.png of a network with attention fusion, and calibration.png.

    The last is drawn where the maps scored are probabilities, not stretched. Returns the files.

    Args:
      run: the network.
      dataset: the split, in the order of the rows of `scores`.
      scores: its slices.
      predict: from `weights.predictor.make_predictor`.
      folder: where to.
    """
    order = by_dice([row["dice"] for row in scores.slices], scores)
    chosen = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
    shown = Slices(dataset, list(chosen.values()))
    probability = shown.predicted(predict, run.config.batch_size)
    titles = [
        f"{name}: Dice {scores.slices[i]['dice']:.3f}\n{place}"
        for (name, i), place in zip(chosen.items(), shown.places, strict=True)
    ]
    rows = zip(titles, shown.image, probability > THRESHOLD, shown.truth, strict=True)
    names = ("title", "image", "prediction", "truth")
    panel = figures.overlays([dict(zip(names, row, strict=True)) for row in rows])
    drawn = {OVERLAYS: panel}
    fused = fusion(run, shown, probability)
    if fused is not None:
        drawn[FUSION] = fused
    if not scores.protocol.stretched:
        drawn[CALIBRATION] = figures.calibration({run.workdir.name: calibration(scores.levels)})
    for name, figure in drawn.items():
        figures.save(figure, folder / name)
    return [folder / f"{name}.png" for name in drawn]


def by_dice(dice: Sequence[float], scores: Scores) -> list[int]:
    """Returns the slices from worst to best, of those with infection if there are any."""
    positive = [i for i, row in enumerate(scores.slices) if row["tp"] + row["fn"]]
    return sorted(positive or range(len(dice)), key=lambda i: dice[i])


class Slices:
    """Some slices of a dataset, as figures show them.

    Attributes:
      indices: which.
      image: (N, H, W) float32, as the network sees them.
      truth: (N, H, W) bool.
      edge: (N, H, W) bool.
      places: case and slice of each, in words.
    """

    def __init__(self, dataset: grain.MapDataset, indices: Sequence[int]) -> None:
        examples = [dataset[i] for i in indices]
        self.indices = list(indices)
        self.image, mask, edge = (
            np.stack([e[name][..., 0] for e in examples]) for name in ("image", "mask", "edge")
        )
        self.truth, self.edge = mask > 0, edge > 0
        self.places = [f"{e['case_id']}, slice {e['slice_index']}" for e in examples]

    def predicted(self, predict: Predictor, batch_size: int) -> np.ndarray:
        """Returns the probabilities (N, H, W); batches are filled up to one shape."""
        filled = np.pad(self.image, [(0, -len(self.image) % batch_size), (0, 0), (0, 0)])[..., None]
        starts = range(0, len(filled), batch_size)
        found = [predict(filled[i : i + batch_size]) for i in starts]
        return np.concatenate(found)[: len(self.image)]


def fusion(run: Run, shown: Slices, probability: np.ndarray) -> Figure | None:
    """Draws Figure 8 of some slices; None for a network without attention fusion."""
    if not (isinstance(run.model, models.CoSupNet) and run.model.fusion == "attention"):
        return None
    look = jax.jit(functools.partial(models.confidence_maps, run.model))
    maps = jax.device_get(look(run.variables, shown.image[..., None]))
    y1 = np.asarray(SegOutput(maps["Y1"]).infection[..., 0])
    panel = {"P1": maps["P1"][..., 0], "Y1": y1, "Sp": probability}
    return figures.fusion(shown.image, panel, shown.truth, rows=_in_two_lines(shown.places))


def stages(run: Run, shown: Slices) -> Figure | None:
    """Draws Figure 7 of some slices; None for a network that supervises no stage."""
    edge_stages = getattr(run.model, "edge_stages", ())
    mask_stages = getattr(run.model, "mask_stages", ())
    if not edge_stages and not mask_stages:
        return None
    look = jax.jit(functools.partial(run.model.apply, train=False))
    output: SegOutput = look(run.variables, shown.image[..., None])
    logits = jax.device_get((*output.edge_logits, *output.mask_logits))
    names = [f"{s} (edge)" for s in edge_stages] + [f"{s} (mask)" for s in mask_stages]
    maps = {
        name: np.asarray(jax.nn.sigmoid(SegOutput(values).infection[..., 0]))
        for name, values in zip(names, logits, strict=True)
    }
    ordered = {name: maps[name] for name in sorted(maps)}
    rows = _in_two_lines(shown.places)
    return figures.stages(shown.image, ordered, shown.edge, shown.truth, rows=rows)


def networks(
    shown: Slices, probabilities: Mapping[str, np.ndarray], scores: Mapping[str, Scores]
) -> Figure:
    """Draws Figure 6 of some slices for several runs by name."""
    dice = {
        name: [found.slices[i]["dice"] for i in shown.indices] for name, found in scores.items()
    }
    found = {name: prob > THRESHOLD for name, prob in probabilities.items()}
    rows = _in_two_lines(shown.places)
    return figures.networks(shown.image, found, shown.truth, rows=rows, scores=dice)


def sizes_and_dice(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Returns the infected share of each slice in percent, and its Dice."""
    share = [
        100 * (row["tp"] + row["fn"]) / sum(row[n] for n in ("tp", "fp", "fn", "tn"))
        for row in scores.slices
    ]
    return np.array(share), np.array([row["dice"] for row in scores.slices])


def _in_two_lines(places: Sequence[str]) -> list[str]:
    return [place.replace(", ", "\n") for place in places]
