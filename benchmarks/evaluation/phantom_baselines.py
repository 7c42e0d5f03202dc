"""How hard lung_phantom is: the best HU threshold and an untrained network on its test split.

    python benchmarks/evaluation/phantom_baselines.py

The threshold gets a fair chance: the image is smoothed, the search is kept to a classical lung mask
(air inside the body, closed and filled), small objects are dropped, and band, smoothing and size
are the best on training patients. Dice is the mean over slices, empty on empty counting 1.
"""

import argparse
import itertools

import jax
import numpy as np
from scipy import ndimage

from cosup_jax import models
from cosup_jax.data import datasets, schema
from cosup_jax.data.preprocess import Preprocessing, prepare_example
from cosup_jax.metrics import counts, scores

LOWER = (-700, -650, -600, -550, -500, -400, -300)
UPPER = (-200, 0, 100, 3000)
SMOOTHING = (1.0, 2.0)
SMALLEST = (0, 30, 100)


def lung_mask(hu: np.ndarray) -> np.ndarray:
    """Returns (H, W) bool: air inside the body with what it encloses."""
    body = ndimage.binary_fill_holes(ndimage.binary_opening(hu > -500, iterations=2))
    air = ndimage.binary_opening(body & (hu < -400), iterations=2)
    return ndimage.binary_fill_holes(ndimage.binary_closing(air, iterations=8)) & body


def drop_small(mask: np.ndarray, smallest: int) -> np.ndarray:
    """Removes connected objects of fewer pixels."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= smallest
    keep[0] = False
    return keep[labels]


def mean_dice(predictions: list[np.ndarray], truths: list[np.ndarray]) -> float:
    """Returns the mean over slices."""
    found = counts.confusion(np.stack(predictions), np.stack(truths))
    return float(np.mean(scores.dice(found)))


def threshold_baseline(builder) -> tuple[float, tuple]:
    """Returns the test Dice of the band that is best on training patients, and that band."""

    def load(split: str, wanted: slice):
        source = builder.as_data_source(split=split)
        examples = [source[i] for i in range(len(source))[wanted]]
        hu = [schema.true_values(e)[..., 0] for e in examples]
        return hu, [lung_mask(h) for h in hu], [e["mask"][..., 0] > 0 for e in examples]

    def predict(hu, lungs, lower, upper, sigma, smallest):
        bands = []
        for h, lung in zip(hu, lungs, strict=True):
            smooth = ndimage.gaussian_filter(h, sigma)
            bands.append(drop_small(lung & (smooth > lower) & (smooth < upper), smallest))
        return bands

    hu, lungs, truths = load("train", slice(None, None, 5))
    grid = itertools.product(LOWER, UPPER, SMOOTHING, SMALLEST)
    best = max(grid, key=lambda choice: mean_dice(predict(hu, lungs, *choice), truths))
    hu, lungs, truths = load("test", slice(None))
    return mean_dice(predict(hu, lungs, *best), truths), best


def untrained_baseline(builder, seed: int) -> float:
    """Returns the test Dice of the quickstart network with its initial weights."""
    settings = Preprocessing(size=(128, 128))
    source = builder.as_data_source(split="test")
    examples = [prepare_example(source[i], settings) for i in range(len(source))]
    images = np.stack([e["image"] for e in examples])
    model = models.build("cosup", width=16, blocks=(1, 1, 1, 1))
    variables = models.initialise(model, images.shape[1:], seed)
    predict = jax.jit(lambda x: model.apply(variables, x, train=False).logits > 0)
    found = [np.asarray(predict(images[i : i + 16]))[..., 0] for i in range(0, len(images), 16)]
    return mean_dice(list(np.concatenate(found)), [e["mask"][..., 0] > 0 for e in examples])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", default="", help="where built datasets lie")
    parser.add_argument("--seeds", type=int, default=3, help="untrained networks to average")
    arguments = parser.parse_args()
    builder = datasets.make_builder("lung_phantom", data_dir=arguments.data_dir)
    datasets.prepare(builder)
    source = builder.as_data_source(split="test")
    empty = [np.zeros((1, 1), bool)] * len(source)
    truths = [np.array([[e["mask"].any()]]) for e in source]
    threshold, choice = threshold_baseline(builder)
    untrained = [untrained_baseline(builder, seed) for seed in range(arguments.seeds)]
    print("| method | test Dice, mean over slices |\n| --- | --- |")
    print(f"| nothing anywhere | {mean_dice(empty, truths):.3f} |")
    lower, upper, sigma, smallest = choice
    band = f"{lower} to {upper} HU, smoothed by {sigma:g} px, objects ≥ {smallest} px"
    print(f"| threshold ({band}) | {threshold:.3f} |")
    spread = f"{np.mean(untrained):.3f} ± {np.std(untrained):.3f}"
    print(f"| untrained network ({arguments.seeds} seeds) | {spread} |")


if __name__ == "__main__":
    main()
