"""Slices beside what networks make of them: overlays, and Figures 6, 7 and 8 of the paper."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch

AGREED, MISSED, FALSE = (0.20, 0.80, 0.35), (0.95, 0.75, 0.10), (0.90, 0.20, 0.25)
_SIDE = 2.1  # inches of a picture
_MAPS = "magma"
# Of the classes 1, 2, 3; the first two as in Figure 7 of Inf-Net's paper.
CLASS_COLOURS = ((0.90, 0.25, 0.25), (0.25, 0.80, 0.35), (0.30, 0.55, 0.95))
_LEGEND = (("found", AGREED), ("missed", MISSED), ("false alarm", FALSE))


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


def overlays(cases: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws image, truth and overlay of some slices, a row each.

    Args:
      cases: `title`, and `image`, `prediction`, `truth` (H, W) each.
    """
    figure, grid = _grid(len(cases), 3, bottom=0.3)
    for row, case in zip(grid, cases, strict=True):
        coloured = overlay(case["image"], case["prediction"], case["truth"])
        _show(row[0], grey(case["image"]))
        _show(row[1], case["truth"])
        _show(row[2], coloured)
        _name_row(row[0], case["title"])
    _name_columns(grid, ("image", "truth", "prediction"))
    _legend(figure)
    return figure


def classes(
    image: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    truth: np.ndarray,
    *,
    rows: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Draws Figure 7 of Inf-Net's paper: image, the classes each network found, the true ones.

    Args:
      image: (N, H, W) float.
      predictions: by network, (N, H, W) whole numbers, 0 for the background.
      truth: (N, H, W), the same.
      rows: what to write beside each slice.
      names: of the classes from 1 on.
    """
    columns = {**predictions, "truth": truth}
    figure, grid = _grid(len(image), 1 + len(columns), bottom=0.3)
    for i, row in enumerate(grid):
        _show(row[0], grey(image[i]))
        for axis, found in zip(row[1:], (labels[i] for labels in columns.values()), strict=True):
            picture = np.repeat(grey(image[i])[..., None], 3, axis=-1)
            for c, colour in enumerate(CLASS_COLOURS[: len(names)], 1):
                picture[found == c] = 0.5 * picture[found == c] + 0.5 * np.asarray(colour)
            _show(axis, picture)
        _name_row(row[0], rows[i])
    _name_columns(grid, ("image", *columns))
    _legend(figure, tuple(zip(names, CLASS_COLOURS, strict=False)))
    return figure


def networks(
    image: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    truth: np.ndarray,
    *,
    rows: Sequence[str],
    scores: Mapping[str, Sequence[float]],
) -> Figure:
    """Draws Figure 6: image, the prediction of each network, truth; a row for each slice.

    Args:
      image: (N, H, W) float.
      predictions: by network, (N, H, W) bool.
      truth: (N, H, W) bool.
      rows: what to write beside each slice.
      scores: by network, the Dice of each slice.
    """
    figure, grid = _grid(len(image), len(predictions) + 2, bottom=0.3 + 0.18 * len(image))
    for i, row in enumerate(grid):
        _show(row[0], grey(image[i]))
        _show(row[-1], truth[i])
        for axis, (name, found) in zip(row[1:-1], predictions.items(), strict=True):
            _show(axis, overlay(image[i], found[i], truth[i]))
            axis.set_xlabel(f"Dice {scores[name][i]:.2f}", fontsize=8, labelpad=2)
        _name_row(row[0], rows[i])
    _name_columns(grid, ("image", *predictions, "truth"))
    _legend(figure)
    return figure


def stages(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    edge: np.ndarray,
    truth: np.ndarray,
    *,
    rows: Sequence[str],
) -> Figure:
    """Draws Figure 7: image, the map of every supervised stage, edge truth and mask truth.

    Args:
      image: (N, H, W) float.
      maps: by stage and what supervises it, such as `S1 (edge)`: (N, H, W) probabilities.
      edge: (N, H, W) bool.
      truth: (N, H, W) bool.
      rows: what to write beside each slice.
    """
    figure, grid = _grid(len(image), len(maps) + 3)
    for i, row in enumerate(grid):
        _show(row[0], grey(image[i]))
        for axis, found in zip(row[1:-2], maps.values(), strict=True):
            _show(axis, found[i], _MAPS)
        _show(row[-2], edge[i])
        _show(row[-1], truth[i])
        _name_row(row[0], rows[i])
    _name_columns(grid, ("image", *maps, "edge truth", "mask truth"))
    _colour_bar(figure, grid, "probability")
    return figure


def fusion(
    image: np.ndarray, maps: Mapping[str, np.ndarray], truth: np.ndarray, *, rows: Sequence[str]
) -> Figure:
    """Draws Figure 8: image, P_1, 1 − P_1, Y_1, S_p, truth; a row for each slice.

    Args:
      image: (N, H, W) float.
      maps: `P1` and `Sp` as probabilities, `Y1` as a logit, (N, H, W) each.
      truth: (N, H, W) bool.
      rows: what to write beside each slice.
    """
    columns = {
        "P₁": maps["P1"],
        "1 − P₁": 1.0 - maps["P1"],
        "Y₁, stretched": np.stack([grey(y) for y in maps["Y1"]]),
        "σ(Sₚ)": maps["Sp"],
    }
    figure, grid = _grid(len(image), len(columns) + 2)
    for i, row in enumerate(grid):
        _show(row[0], grey(image[i]))
        _show(row[-1], truth[i])
        for axis, found in zip(row[1:-1], columns.values(), strict=True):
            _show(axis, found[i], _MAPS)
        _name_row(row[0], rows[i])
    _name_columns(grid, ("image", *columns, "truth"))
    _colour_bar(figure, grid, "confidence, probability")
    return figure


def _grid(rows: int, columns: int, bottom: float = 0.0) -> tuple[Figure, np.ndarray]:
    size = (_SIDE * columns + 0.5, _SIDE * rows + 0.3 + bottom)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show(axis: Axes, picture: np.ndarray, colours: str = "gray") -> None:
    values = picture if picture.ndim == 3 else picture.astype(np.float32)
    axis.imshow(values, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def _name_columns(grid: np.ndarray, names: Sequence[str]) -> None:
    for axis, name in zip(grid[0], names, strict=True):
        axis.set_title(name, fontsize=10)


def _name_row(axis: Axes, name: str) -> None:
    axis.set_ylabel(name, fontsize=8)


def _legend(figure: Figure, entries: Sequence[tuple[str, Any]] = _LEGEND) -> None:
    patches = [Patch(color=colour, label=name) for name, colour in entries]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=9, frameon=False)


def _colour_bar(figure: Figure, grid: np.ndarray, name: str) -> None:
    scale = ScalarMappable(cmap=_MAPS)
    scale.set_clim(0, 1)
    bar = figure.colorbar(scale, ax=grid[:, -1].tolist(), fraction=0.05, aspect=25)
    bar.set_label(name, fontsize=8)
    bar.ax.tick_params(labelsize=8)
