"""What a run leaves behind: scores, overlays, the fusion panel, the learning curve."""

from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from cosup_jax import evaluation, figures, models
from cosup_jax.data import datasets, pipeline
from cosup_jax.training import checkpoints, logs, parallel
from cosup_jax.training.setup import Setup
from cosup_jax.training.state import TrainState
from cosup_jax.training.step import predict_step

FOLDER = "evaluation"
USED_FOR_SELECTION = "used for selection: this dataset has no test split"


def score(setup: Setup, state: TrainState, dataset: grain.MapDataset) -> evaluation.SplitScores:
    """Scores a split with the mapped evaluation step."""
    return evaluation.score_split(
        pipeline.eval_batches(dataset, setup.config.batch_size),
        lambda batch: setup.eval_step(
            state, parallel.shard(pipeline.for_device(batch), setup.devices)
        ),
    )


def final_evaluation(
    setup: Setup, state: TrainState, manager: ocp.CheckpointManager
) -> dict[str, Any]:
    """Scores the best epoch on the test split, opened here for the first time.

    Returns:
      The summary, also written to evaluation/summary.json beside the tables and pictures.
    """
    best, _, progress = checkpoints.restore(
        manager, manager.best_step(), state, setup.plateau.init({})
    )
    best = parallel.replicate(best, setup.devices)
    data = setup.config.data
    split = datasets.evaluation_split(setup.builder, data.test, data.validation)
    note = USED_FOR_SELECTION if split == data.validation else ""
    dataset = setup.open(split)
    scored = score(setup, best, dataset)
    summary = evaluation.summarise(scored, split=split, note=note)
    summary["epoch"] = progress.epoch
    folder = setup.workdir / FOLDER
    evaluation.write(scored, summary, folder)
    save_pictures(setup, best, dataset, scored, folder)
    print(f"best epoch {progress.epoch}\n{evaluation.table(summary)}\nwritten to {folder}")
    return summary


def save_pictures(
    setup: Setup,
    state: TrainState,
    dataset: grain.MapDataset,
    scored: evaluation.SplitScores,
    folder: Path,
) -> None:
    """Saves the worst, median and best slice with infection, and their fusion panel."""
    with_infection = [i for i, row in enumerate(scored.slices) if row["tp"] + row["fn"]]
    order = sorted(
        with_infection or range(len(dataset)), key=lambda i: float(scored.slices[i]["dice"])
    )
    chosen = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
    examples = [dataset[i] for i in chosen.values()]
    image = np.stack([e["image"] for e in examples])
    probability = predict(state, image)
    truth = np.stack([e["mask"][..., 0] for e in examples]) > 0
    figures.save_overlays(
        [
            {
                "title": f"{name}: Dice {scored.slices[i]['dice']:.3f}\n{e['case_id']}, "
                f"slice {e['slice_index']}",
                "image": e["image"][..., 0],
                "prediction": p >= evaluation.THRESHOLD,
                "truth": t,
            }
            for (name, i), e, p, t in zip(chosen.items(), examples, probability, truth, strict=True)
        ],
        folder / "overlays.png",
    )
    if isinstance(setup.model, models.CoSupNet) and setup.model.fusion == "attention":
        found = models.confidence_maps(setup.model, state.variables, jnp.asarray(image))
        maps = jax.device_get(found)
        panel = {"P1": maps["P1"][..., 0], "Y1": maps["Y1"][..., 0], "Sp": probability}
        figures.save_fusion_panel(image[..., 0], panel, truth, folder / "fusion.png")


def predict(state: TrainState, image: np.ndarray) -> np.ndarray:
    """Returns the probabilities (B, H, W) of images (B, H, W, 1)."""
    return np.asarray(jax.jit(predict_step)(state, image))[..., 0]


def validation_picture(setup: Setup, state: TrainState, dataset: grain.MapDataset) -> np.ndarray:
    """Returns overlays of three slices spread over a split, side by side: (H, 3 W, 3) uint8."""
    examples = [dataset[int(i)] for i in np.linspace(0, len(dataset) - 1, 5)[1:-1]]
    probability = predict(state, np.stack([e["image"] for e in examples]))
    return np.concatenate(
        [
            figures.overlay(e["image"][..., 0], p >= evaluation.THRESHOLD, e["mask"][..., 0] > 0)
            for e, p in zip(examples, probability, strict=True)
        ],
        axis=1,
    )


def learning_curve(workdir: Path) -> None:
    """Saves learning_curve.png of the epochs so far."""
    rows = logs.read_metrics(workdir)
    if rows:
        figures.save_learning_curve(rows, workdir / "learning_curve.png")
