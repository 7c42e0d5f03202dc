"""What the experts' own masks score when they are made coarse: what a small size costs by itself.

    python benchmarks/evaluation/coarse_masks.py --source COVID_SEMISEG

Each mask of the test split is averaged to n×n pixels, enlarged to its slice's size, and scored
by the protocol `semiseg` as if a network had predicted it. Inf-Net predicts at 1/8 of its input, so
8 is what it has at 64×64, and 44 at 352×352. Steep logits make sharper maps than an average, so
this is no upper bound.
"""

import argparse

import numpy as np

from cosup_jax.data import datasets, preprocess
from cosup_jax.evaluation import PROTOCOLS

SIDES = (8, 12, 16, 44, 64)


def coarse_dice(masks: list[np.ndarray], side: int) -> float:
    """Returns the mean Dice over masks (H, W) bool that were averaged to (side, side)."""
    protocol = PROTOCOLS["semiseg"]
    found = []
    for mask in masks:
        small = preprocess.resize_image(mask.astype(np.float32), (side, side))
        scored = protocol.score(preprocess.resize_image(small, mask.shape), mask)
        found.append(protocol.ratios(scored.counts, scored.levels)["dice"])
    return float(np.mean(found))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, metavar="FOLDER", help="COVID-SemiSeg")
    source = parser.parse_args().source
    builder = datasets.make_builder("covid_semiseg", source=source)
    datasets.prepare(builder, source)
    masks = [e["mask"][..., 0] > 0 for e in builder.as_data_source(split="test")]
    print("| pixels | Dice |\n| --- | --- |")
    for side in SIDES:
        print(f"| {side}×{side} | {100 * coarse_dice(masks, side):.1f} |")


if __name__ == "__main__":
    main()
