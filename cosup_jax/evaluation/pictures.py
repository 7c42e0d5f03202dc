"""Pictures of an evaluated split: its worst, median and best slice, and what the fusion does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np

from cosup_jax import figures, models
from cosup_jax.evaluation.protocols import THRESHOLD
from cosup_jax.evaluation.tables import Scores
from cosup_jax.training.runs import Run


def save(
    run: Run,
    dataset: grain.MapDataset,
    scores: Scores,
    predict: Callable[[np.ndarray], np.ndarray],
    folder: Path,
) -> None:
    """Saves overlays.png, and fusion.png of a network with attention fusion.

    Args:
      run: the network.
      dataset: the split, in the order of the rows of `scores`.
      scores: its slices.
      predict: from `inference.make_predictor`.
      folder: where to.
    """
    chosen = typical(scores)
    examples = [dataset[i] for i in chosen.values()]
    size = run.config.batch_size
    image = np.stack([e["image"] for e in examples])
    filled = np.pad(image, [(0, -len(image) % size), (0, 0), (0, 0), (0, 0)])
    batches = [predict(filled[i : i + size]) for i in range(0, len(filled), size)]
    probability = np.concatenate(batches)[: len(image)]
    truth = np.stack([e["mask"][..., 0] for e in examples]) > 0
    figures.save_overlays(
        [
            _overlay(f"{name}: Dice {scores.slices[i]['dice']:.3f}", e, p, t)
            for (name, i), e, p, t in zip(chosen.items(), examples, probability, truth, strict=True)
        ],
        folder / "overlays.png",
    )
    if isinstance(run.model, models.CoSupNet) and run.model.fusion == "attention":
        maps = jax.device_get(models.confidence_maps(run.model, run.variables, jnp.asarray(image)))
        panel = {"P1": maps["P1"][..., 0], "Y1": maps["Y1"][..., 0], "Sp": probability}
        figures.save_fusion_panel(image[..., 0], panel, truth, folder / "fusion.png")


def typical(scores: Scores) -> dict[str, int]:
    """Returns the worst, median and best slice by Dice, of those with infection if there are."""
    rows = scores.slices
    positive = [i for i, row in enumerate(rows) if row["tp"] + row["fn"]]
    order = sorted(positive or range(len(rows)), key=lambda i: rows[i]["dice"])
    return {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}


def _overlay(
    title: str, example: Mapping[str, Any], probability: np.ndarray, truth: np.ndarray
) -> dict[str, Any]:
    return {
        "title": f"{title}\n{example['case_id']}, slice {example['slice_index']}",
        "image": example["image"][..., 0],
        "prediction": probability > THRESHOLD,
        "truth": truth,
    }
