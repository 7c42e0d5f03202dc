"""Seconds for S_α, E_φ and MAE of a set of slices, ours and pysodmetrics, in the same run.

    python benchmarks/metrics.py --slices 48 --size 512 --repeats 5

Prints Markdown: the best of the repeats, after one run that is not timed. The maps are synthetic, a
blurred lesion and its truth, and go in as 8-bit grey values, one slice at a time as slices of
different sizes have to; stretching to 0..1 is part of it for both. pysodmetrics' E-measure includes
its adaptive threshold.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import py_sod_metrics
from scipy import ndimage

from cosup_jax import metrics

Slices = list[tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Times both and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=48)
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    slices = synthetic(arguments.slices, arguments.size)
    seconds: dict[str, float] = {"pysodmetrics": np.inf, "cosup_jax": np.inf}
    results = {}
    for repeat in range(arguments.repeats + 1):
        for name, run in (("pysodmetrics", theirs), ("cosup_jax", ours)):
            taken, results[name] = timed(run, slices)
            if repeat:
                seconds[name] = min(seconds[name], taken)
    print(f"{arguments.slices} slices of {arguments.size}², best of {arguments.repeats}\n")
    print("| | seconds | ratio | S_α | E_φ mean | MAE |\n| --- | --- | --- | --- | --- | --- |")
    for name, best in seconds.items():
        scores = " | ".join(f"{value:.6f}" for value in results[name])
        print(f"| {name} | {best:.3f} | {best / seconds['pysodmetrics']:.2f} | {scores} |")


def synthetic(count: int, size: int) -> Slices:
    """Returns pairs of a predicted map, (H, W) uint8, and its truth, (H, W) bool."""
    rng = np.random.default_rng(0)
    slices = []
    for _ in range(count):
        field = ndimage.gaussian_filter(rng.standard_normal((size, size)), size / 25)
        truth = field > np.quantile(field, 0.95)
        soft = ndimage.gaussian_filter(np.roll(truth, size // 60, axis=1).astype(float), 4)
        slices.append(((255 * soft / soft.max()).astype(np.uint8), truth))
    return slices


def timed(run: Callable[[Slices], list[float]], slices: Slices) -> tuple[float, list[float]]:
    """Returns the seconds a run takes, and what it returns."""
    start = time.perf_counter()
    result = run(slices)
    return time.perf_counter() - start, result


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


if __name__ == "__main__":
    main()
