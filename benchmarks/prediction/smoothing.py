"""Whether masks gain by smoothing along z and by dropping specks: Dice of each volume, false marks.

    python benchmarks/prediction/smoothing.py --data FOLDER

Takes the validation volumes of `medseg_volumes` and `covid_ct_seg_slices` (folders `val/image` and
`val/mask` of `<case>_<slice>.png`) as stacks. They say nothing of distances, so those below are
assumed; smoothing is a Gaussian of a deviation in mm over the probabilities. A false mark is a
marked slice without infection, or a part of the mask that touches none.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from cosup_jax import metrics, weights
from cosup_jax.prediction.findings import drop_small
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.scans import images

# Assumed (z, y, x) in mm.
SPACING = {"medseg_volumes": (7.0, 1.15, 1.15), "covid_ct_seg_slices": (5.0, 1.4, 1.4)}
WAYS = ((0.0, 0.0), (2.0, 0.0), (4.0, 0.0), (8.0, 0.0), (0.0, 0.05), (0.0, 0.2), (0.0, 1.0))
NEIGHBOURS = np.ones((3, 3, 3), bool)


def volumes(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields the case, (Z, H, W) grey values and (Z, H, W) bool of each volume of a folder."""
    cases = defaultdict(list)
    for path in sorted((folder / "image").iterdir()):
        cases[path.stem.rpartition("_")[0]].append(path)
    for case, paths in cases.items():
        masks = [images.read_codes(folder / "mask" / path.name) > 0 for path in paths]
        yield case, np.stack([images.read_grey(path) for path in paths]), np.stack(masks)


def row(found: np.ndarray, truth: np.ndarray) -> list[str]:
    """Returns Dice, marked slices without infection, and parts that touch no infection."""
    counts = metrics.confusion(found, truth)
    dice = float(metrics.dice(metrics.Counts(*(each.sum() for each in counts))))
    empty = ~truth.any((1, 2))
    parts, count = ndimage.label(found, NEIGHBOURS)
    touching = len(np.setdiff1d(np.unique(parts[truth]), [0]))
    marked = int(found[empty].any((1, 2)).sum())
    return [f"{dice:.3f}", f"{marked} of {int(empty.sum())}", f"{count - touching}"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default=weights.DEFAULT)
    arguments = parser.parse_args()
    network = weights.load_pretrained(arguments.weights)
    segment = Segmenter(network)
    print("| volume | smoothed, mm | specks, mL | Dice | empty slices marked | false parts |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, spacing in SPACING.items():
        for case, slices, truth in volumes(arguments.data / name / "val"):
            boxes = segment.boxes(slices, "grey8")  # as predict has them
            probability = np.stack(list(segment(iter(slices), "grey8", len(slices), boxes)))
            for deviation, specks in WAYS:
                smooth = probability
                if deviation:
                    smooth = ndimage.gaussian_filter1d(smooth, deviation / spacing[0], axis=0)
                mask = smooth > network.threshold
                mask = drop_small(mask, specks, spacing) if specks else mask
                cells = [case, f"{deviation:g}", f"{specks:g}", *row(mask, truth)]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
