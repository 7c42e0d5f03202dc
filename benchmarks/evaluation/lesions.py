"""Lesions counted by this package and by panoptica (Kofler et al. 2023), on random volumes.

    python -m venv other && other/bin/pip install -e . panoptica
    other/bin/python benchmarks/evaluation/lesions.py

panoptica numbers the parts of both masks (26-connected) and pairs them one to one, the greatest IoU
first. Here a lesion is hit if any part overlaps it well enough, whatever else that part overlaps.
Above an IoU of 0.5 no part overlaps two lesions so well, and all counts must be the same; below, a
part over two lesions hits both here. Paired one to one, parts must give its counts there too.
"""

import argparse
import contextlib
import importlib
import io
from typing import Any

import numpy as np
from scipy import ndimage

from cosup_jax import metrics

SPACING = (5.0, 2.0, 2.0)  # 0.02 mL a voxel


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a prediction and a truth that overlap in part, (Z, H, W) bool."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((3, 10, 40, 40))
    field, apart, more = ndimage.gaussian_filter(noise, (0, 1, 1.5, 1.5))
    truth = field > np.quantile(field, 0.9)
    mixed = field + rng.uniform(0.2, 1.2) * apart
    pred = mixed > np.quantile(mixed, rng.uniform(0.85, 0.95))
    return pred & (more > np.quantile(more, 0.1)), truth


def ours(pred: np.ndarray, truth: np.ndarray, overlap: float) -> tuple[int, int, int]:
    """Returns lesions, hits and false positives, of parts of any size."""
    found = metrics.lesion_scores(pred, truth, SPACING, smallest_ml=0.0, overlap=overlap)
    return found.lesions, found.hits_iou, found.false_positives_iou


def one_to_one(pred: np.ndarray, truth: np.ndarray, overlap: float) -> tuple[int, int, int]:
    """Returns the counts where each part and each lesion has one partner, by brute force."""
    (found, parts), (true, lesions) = (
        ndimage.label(mask, np.ones((3, 3, 3))) for mask in (pred, truth)
    )
    both = (found > 0) & (true > 0)
    iou = {}
    for part, lesion in {*zip(found[both].tolist(), true[both].tolist(), strict=True)}:
        mine, other_one = found == part, true == lesion
        iou[part, lesion] = (mine & other_one).sum() / (mine | other_one).sum()
    taken: set[tuple[str, int]] = set()
    for (part, lesion), value in sorted(iou.items(), key=lambda item: -item[1]):
        ends = {("part", part), ("lesion", lesion)}
        if value >= overlap and not ends & taken:
            taken |= ends
    return lesions, len(taken) // 2, parts - len(taken) // 2


def theirs(pred: np.ndarray, truth: np.ndarray, overlap: float) -> tuple[int, int, int]:
    """Returns the same three counts of panoptica."""
    # By name, as it is installed for this comparison only.
    panoptica: Any = importlib.import_module("panoptica")
    evaluator = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.SEMANTIC,
        instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(),
        instance_matcher=panoptica.NaiveThresholdMatching(
            matching_metric=panoptica.Metric.IOU, matching_threshold=overlap
        ),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        found = evaluator.evaluate(pred.astype(np.uint8), truth.astype(np.uint8), verbose=False)
    result = found["ungrouped"]
    return result.n_ref_instances, result.tp, result.fp


def main() -> None:
    """Prints the counts of all volumes together, and in how many volumes they are the same."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--volumes", type=int, default=20)
    given = parser.parse_args()
    pairs = [draw(seed) for seed in range(given.volumes)]
    print(
        "| IoU | lesions | hits: here, one to one, panoptica | false: likewise | volumes the same |"
    )
    print("| --- | --- | --- | --- | --- |")
    for overlap in (0.1, 0.3, 0.5, 0.7):
        counts = [
            np.array([count(*pair, overlap) for pair in pairs])
            for count in (ours, one_to_one, theirs)
        ]
        lesions, hits, false = np.array([c.sum(axis=0) for c in counts]).T
        same = [int((c == counts[2]).all(axis=1).sum()) for c in counts[:2]]
        cells = [lesions[0], *(", ".join(map(str, row)) for row in (hits, false, same))]
        print(f"| {overlap} |", " | ".join(map(str, cells)), f"of {len(pairs)} |")


if __name__ == "__main__":
    main()
