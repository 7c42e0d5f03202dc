"""Processor seconds of S_α, E_φ and MAE for a set of slices, ours and pysodmetrics, in one run.

    python benchmarks/evaluation/metrics.py --slices 48 --size 512 --repeats 5
    python benchmarks/evaluation/metrics.py --truths covid_semiseg/TestingSet/LungInfection-Test/GT

Prints Markdown: the best of the repeats, after one run that is not timed. The last row is the
whole protocol `semiseg`, with Dice, sensitivity, specificity, precision and IoU over 256 thresholds
and the summary. Truths are synthetic or those of a folder; the maps are truths moved and blurred,
and go in as 8-bit grey values, one slice at a time as slices of different sizes have to. Stretching
to 0..1 is part of it for all. pysodmetrics' E-measure includes its adaptive threshold.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import py_sod_metrics
from scipy import ndimage

from cosup_jax import metrics
from cosup_jax.evaluation import PROTOCOLS, saved, tables

Slices = list[tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Times both and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=48)
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--truths", type=Path, help="folder of masks instead of synthetic ones")
    arguments = parser.parse_args()
    truths = (
        [saved.read_truth(path) for path in sorted(arguments.truths.iterdir())]
        if arguments.truths
        else synthetic(arguments.slices, arguments.size)
    )
    slices = [(moved_and_blurred(truth), truth) for truth in truths]
    runs = {"pysodmetrics": theirs, "cosup_jax": ours, "cosup_jax, all of semiseg": semiseg}
    seconds: dict[str, float] = dict.fromkeys(runs, np.inf)
    results = {}
    for repeat in range(arguments.repeats + 1):
        for name, run in runs.items():
            taken, results[name] = timed(run, slices)
            if repeat:
                seconds[name] = min(seconds[name], taken)
    size = "of the folder" if arguments.truths else f"of {arguments.size}²"
    print(f"{len(slices)} slices {size}, best of {arguments.repeats}\n")
    print("| | seconds | ratio | S_α | E_φ mean | MAE |\n| --- | --- | --- | --- | --- | --- |")
    for name, best in seconds.items():
        scores = " | ".join(f"{value:.6f}" for value in results[name])
        print(f"| {name} | {best:.3f} | {best / seconds['pysodmetrics']:.2f} | {scores} |")


def synthetic(count: int, size: int) -> list[np.ndarray]:
    """Returns truths, (H, W) bool, of blobs that take 5 % of the slice."""
    rng = np.random.default_rng(0)
    fields = [
        ndimage.gaussian_filter(rng.standard_normal((size, size)), size / 25) for _ in range(count)
    ]
    return [field > np.quantile(field, 0.95) for field in fields]


def moved_and_blurred(truth: np.ndarray) -> np.ndarray:
    """Returns a map as it could have been predicted, (H, W) uint8."""
    moved = np.roll(truth, truth.shape[1] // 60, axis=1).astype(float)
    soft = ndimage.gaussian_filter(moved, 4)
    return (255 * soft / soft.max()).astype(np.uint8)


def timed(run: Callable[[Slices], list[float]], slices: Slices) -> tuple[float, list[float]]:
    """Returns the seconds of processor time a run takes, and what it returns."""
    start = time.process_time()
    result = run(slices)
    return time.process_time() - start, result


def theirs(slices: Slices) -> list[float]:
    """Returns mean S, mean E and MAE by pysodmetrics."""
    measures = py_sod_metrics.Smeasure(), py_sod_metrics.Emeasure(), py_sod_metrics.MAE()
    for grey, truth in slices:
        for measure in measures:
            measure.step(grey, truth.view(np.uint8) * 255)
    s, e, m = (measure.get_results() for measure in measures)
    return [float(s["sm"]), float(e["em"]["curve"].mean()), float(m["mae"])]


def ours(slices: Slices) -> list[float]:
    """Returns the same by cosup_jax, with NumPy."""
    rows = []
    for grey, truth in slices:
        prob, truth = metrics.min_max(grey[None] / 255), truth[None]
        measures = (metrics.s_alpha, metrics.e_phi_mean, metrics.mae)
        rows.append([measure(prob, truth)[0] for measure in measures])
    return [float(mean) for mean in np.mean(rows, axis=0)]


def semiseg(slices: Slices) -> list[float]:
    """Returns the same of a whole evaluation by cosup_jax."""
    scores = tables.Scores(PROTOCOLS["semiseg"])
    for i, (grey, truth) in enumerate(slices):
        place = {"case_id": str(i), "patient_id": "", "slice_index": 0}
        scores.add(place, scores.protocol.score(grey / 255, truth))
    summary = scores.summary({"dataset": "", "split": "", "note": ""})
    return [summary[name]["mean"] for name in ("s_alpha", "e_phi_mean", "mae")]


if __name__ == "__main__":
    main()
