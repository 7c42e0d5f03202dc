"""Pictures: overlays of prediction against truth, the fusion panel of Figure 8, learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

AGREED, MISSED, FALSE = (0.20, 0.80, 0.35), (0.95, 0.75, 0.10), (0.90, 0.20, 0.25)


def grey(image: np.ndarray) -> np.ndarray:
    """Returns a (H, W) image stretched to 0..1 between its 1st and 99th percentile."""
    low, high = np.percentile(image, [1, 99])
    return np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0)


def overlay(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Colours where prediction and truth agree (green), what is missed (yellow) or false (red).

    Args:
      image: (H, W) float, any range.
      prediction: (H, W) bool.
      truth: (H, W) bool.

    Returns:
      (H, W, 3) uint8.
    """
    picture = np.repeat(grey(image)[..., None], 3, axis=-1)
    for area, colour in (
        (prediction & truth, AGREED),
        (~prediction & truth, MISSED),
        (prediction & ~truth, FALSE),
    ):
        picture[area] = 0.5 * picture[area] + 0.5 * np.asarray(colour)
    return (picture * 255).round().astype(np.uint8)


def save_overlays(cases: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Saves image, truth and overlay of some slices, a row each.

    Args:
      cases: `title`, and `image`, `prediction`, `truth` (H, W) each.
      path: the PNG to write.
    """
    figure = Figure(figsize=(7.5, 2.7 * len(cases) + 0.3), layout="constrained")
    grid = figure.subplots(len(cases), 3, squeeze=False)
    for row, case in zip(grid, cases, strict=True):
        truth = np.repeat(case["truth"][..., None], 3, axis=-1).astype(np.float32)
        coloured = overlay(case["image"], case["prediction"], case["truth"])
        for axis, picture, name in zip(
            row, (grey(case["image"]), truth, coloured), (case["title"], "truth", ""), strict=True
        ):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set_title(name, fontsize=9)
            axis.set_axis_off()
    grid[0, 2].set_title("green agreed, yellow missed, red false", fontsize=9)
    figure.savefig(path, dpi=110)


def save_fusion_panel(
    image: np.ndarray, maps: Mapping[str, np.ndarray], truth: np.ndarray, path: Path
) -> None:
    """Saves the columns of Figure 8 for some slices: image, P_1, 1 − P_1, Y_1, S_p, truth.

    Args:
      image: (N, H, W) float.
      maps: `P1` and `Sp` as probabilities, `Y1` of any range, (N, H, W) each.
      truth: (N, H, W).
      path: the PNG to write.
    """
    columns = {
        "image": np.stack([grey(i) for i in image]),
        "P₁": maps["P1"],
        "1 − P₁": 1.0 - maps["P1"],
        "Y₁": np.stack([grey(y) for y in maps["Y1"]]),
        "σ(Sₚ)": maps["Sp"],
        "truth": truth,
    }
    figure = Figure(figsize=(2.2 * len(columns), 2.2 * len(image) + 0.3), layout="constrained")
    grid = figure.subplots(len(image), len(columns), squeeze=False)
    for column, (name, pictures) in enumerate(columns.items()):
        grid[0, column].set_title(name, fontsize=10)
        for row, picture in enumerate(pictures):
            colours = "gray" if name in ("image", "truth") else "coolwarm"
            grid[row, column].imshow(picture, cmap=colours, vmin=0, vmax=1)
            grid[row, column].set_axis_off()
    figure.savefig(path, dpi=110)


def save_learning_curve(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Saves loss and Dice of training and validation over epochs.

    Args:
      rows: the rows of metrics.jsonl.
      path: the PNG to write.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axis, measure in zip(figure.subplots(1, 2), ("loss", "dice"), strict=True):
        for part in ("train", "validation"):
            axis.plot(epochs, [row[f"{part}/{measure}"] for row in rows], marker=".", label=part)
        axis.set_xlabel("epoch")
        axis.set_ylabel({"loss": "joint loss", "dice": "Dice"}[measure])
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)
