"""Plots of runs beside each other: learning curves, Dice by lesion size, calibration."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Share of a slice that its lesions take, in percent.
SIZES = (0.0, 0.25, 1.0, 4.0, 100.0)
_COLOURS = colormaps["tab10"].colors  # type: ignore[attr-defined]


def learning_curves(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Draws loss and Dice of training and validation over epochs.

    Args:
      runs: by name, the rows of metrics.jsonl.
    """
    figure = Figure(figsize=(9, 3.4 + 0.2 * _lines(runs)), layout="constrained")
    for axis, measure in zip(figure.subplots(1, 2), ("loss", "dice"), strict=True):
        for colour, (name, rows) in zip(_colours(runs), runs.items(), strict=True):
            epochs = [row["epoch"] for row in rows]
            for part, line in (("train", ":"), ("validation", "-")):
                values = [row.get(f"{part}/{measure}", np.nan) for row in rows]
                label = f"{name}, {part}" if len(runs) > 1 else part
                axis.plot(epochs, values, line, color=colour, marker=".", ms=4, label=label)
        axis.set_xlabel("epoch")
        axis.set_ylabel({"loss": "loss", "dice": "Dice, mean over slices"}[measure])
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def dice_by_size(runs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draws a box plot of the Dice of slices with infection, by how large it is.

    The box spans the middle half of the slices, its line is the median, the whiskers reach to the
    last slice within 1.5 boxes; slices beyond are dots.

    Args:
      runs: by name, the share of each slice that is infected, in percent, and its Dice, (N,) each;
        slices without infection (0 %) are left out.
    """
    figure = Figure(figsize=(7.5, 4.0), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(runs)
    shares = next(iter(runs.values()))[0]
    places = np.digitize(shares, SIZES[1:-1], right=True)
    present = [k for k in range(len(SIZES) - 1) if ((places == k) & (shares > 0)).any()]
    for i, (colour, (share, dice)) in enumerate(zip(_colours(runs), runs.values(), strict=True)):
        place = np.digitize(share, SIZES[1:-1], right=True)
        boxes = axis.boxplot(
            [dice[(place == k) & (share > 0)] for k in present],
            positions=[x + (i - (len(runs) - 1) / 2) * width for x in range(len(present))],
            widths=0.85 * width,
            patch_artist=True,
            medianprops={"color": "black"},
            flierprops={"marker": ".", "markersize": 4, "markeredgecolor": colour},
        )
        for box in boxes["boxes"]:
            box.set_facecolor((*colour, 0.5))
    counts = [int(((places == k) & (shares > 0)).sum()) for k in present]
    names = [
        f"{_interval(k)}\n{n} slice{'s' * (n > 1)}" for k, n in zip(present, counts, strict=True)
    ]
    axis.set_xticks(range(len(present)), names)
    axis.set_xlabel("infected share of the slice")
    axis.set_ylabel("Dice of the slice")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.3, axis="y")
    if len(runs) > 1:
        patches = [
            Patch(facecolor=(*colour, 0.5), edgecolor="black", label=name)
            for colour, name in zip(_colours(runs), runs, strict=True)
        ]
        figure.legend(
            handles=patches, loc="outside upper center", ncols=4, fontsize=9, frameon=False
        )
    return figure


def bland_altman(true: np.ndarray, found: np.ndarray) -> Figure:
    """Draws how far volumes lie from the true ones, by their size (Bland and Altman 1986).

    The lines are the mean difference and, of two volumes or more, the limits of agreement: ± 1.96
    standard deviations of a sample.

    Args:
      true: (N,) true volumes in mL.
      found: (N,) volumes predicted in mL.
    """
    apart = found - true
    bias = float(apart.mean())
    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.plot((true + found) / 2, apart, "o", ms=5, color=_COLOURS[0])
    axis.axhline(0, color="0.7", lw=0.8)
    axis.axhline(bias, color=_COLOURS[3], label=f"mean difference {bias:.3g} mL")
    if len(apart) > 1:
        wide = 1.96 * float(apart.std(ddof=1))
        for place in (bias - wide, bias + wide):
            axis.axhline(place, color=_COLOURS[3], ls="--")
        axis.plot([], [], color=_COLOURS[3], ls="--", label=f"± 1.96 SD ({wide:.3g} mL)")
    axis.set_xlabel("mean of true and predicted volume (mL)")
    axis.set_ylabel("predicted − true volume (mL)")
    axis.set_title(f"{len(apart)} volumes", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def dates(lesions: Mapping[str, Mapping[str, float]], shares: Mapping[str, float]) -> Figure:
    """Draws how much infection a patient has at several dates; `unknown` stands where nobody knows.

    Args:
      lesions: by date, mL of each part (of the right and the left side, or of both together);
        nothing where it is not known.
      shares: by date, per cent of the lungs; NaN where it is not known.
    """
    figure = Figure(figsize=(2.4 + 1.5 * len(shares), 3.8), layout="constrained")
    volume, share = figure.subplots(1, 2)
    places, below = range(len(shares)), np.zeros(len(shares))
    parts = dict.fromkeys(name for found in lesions.values() for name in found)
    for colour, part in zip(_colours(parts), parts, strict=True):
        heights = np.array([lesions[date].get(part, 0.0) for date in shares])
        volume.bar(places, heights, 0.6, bottom=below, color=colour, label=part)
        below += heights
    share.plot(places, list(shares.values()), "o-", color=_COLOURS[3])
    share.set_ylim(bottom=0)
    for place, date in enumerate(shares):
        for axis, unknown in ((volume, not lesions[date]), (share, np.isnan(shares[date]))):
            if unknown:  # and not 0, which would look the same
                where = axis.get_xaxis_transform()
                axis.text(place, 0.03, "unknown", transform=where, rotation=90, ha="center")
    for axis, words in ((volume, "infection (mL)"), (share, "infection (% of the lungs)")):
        axis.set_xticks(places, list(shares), rotation=20 if len(shares) > 2 else 0)
        axis.set_xlim(-0.6, len(shares) - 0.4)
        axis.set_ylabel(words)
        axis.grid(alpha=0.3, axis="y")
    if parts:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _interval(k: int) -> str:
    if k == 0:
        return f"up to {SIZES[1]:g} %"
    return f"over {SIZES[k]:g} %" if k == len(SIZES) - 2 else f"{SIZES[k]:g} to {SIZES[k + 1]:g} %"


def calibration(runs: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, float]]) -> Figure:
    """Draws how often pixels are infected against the probability predicted, and how many.

    Args:
      runs: by name, `evaluation.calibration.Calibration`: mean probability, infected share and
        number of the pixels of each bin, and the expected calibration error.
    """
    figure = Figure(figsize=(5.0, 5.2 + 0.2 * _lines(runs)), layout="constrained")
    curve, amount = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    curve.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--", label="as often as predicted")
    for colour, (name, found) in zip(_colours(runs), runs.items(), strict=True):
        confidence, frequency, pixels, ece = found
        known = ~np.isnan(confidence)
        label = f"{name}, ECE {ece:.4f}"
        curve.plot(confidence[known], frequency[known], color=colour, marker="o", ms=4, label=label)
        edges = np.linspace(0, 1, len(pixels) + 1)
        amount.stairs(np.maximum(pixels, 0.5), edges, color=colour)
    curve.set_ylabel("share that is infected")
    curve.set_ylim(0, 1)
    curve.grid(alpha=0.3)
    curve.legend(fontsize=8, loc="upper left")
    amount.set_yscale("log")
    amount.set_ylabel("pixels")
    amount.set_xlabel("predicted probability")
    amount.set_xlim(0, 1)
    amount.grid(alpha=0.3)
    return figure


def _lines(runs: Mapping) -> int:
    return -(-len(runs) // 2)


def _colours(runs: Mapping) -> list[tuple[float, float, float]]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(len(runs))]
