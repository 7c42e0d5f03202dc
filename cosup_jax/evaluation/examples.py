"""The slices of a split as they are scored: prepared for a network, and put back at their own size.

A network may be shown slices cut to the box of their volume's lungs (`data.crop`). What it finds
belongs into that box, while the truth is that of the whole slice. The closer part of each slice at
which some networks look in `predict` is scored by product.py alone.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from cosup_jax.data import pipeline
from cosup_jax.data.preprocess import Preprocessing, prepare_example
from cosup_jax.runs import Run
from cosup_jax.weights import lung_network


def find_boxes(builder: tfds.core.DatasetBuilder, split: str, run: Run) -> pipeline.Boxes | None:
    """Returns to what the slices of a split are cut for a run's network; None for nothing."""
    return pipeline.find_boxes(builder, split, run.preprocessing, run.crop)


def open_split(
    builder: tfds.core.DatasetBuilder,
    split: str,
    settings: Preprocessing,
    boxes: pipeline.Boxes | None = None,
) -> grain.MapDataset:
    """Opens a split with what `prepare_example` makes of a slice, and what `with_place` adds."""
    return pipeline.open_split(
        builder, split, settings, boxes=boxes, cache_gib=0.0, prepare=_with_truth
    )


# With the lungs of slices where a network is shown them.
prepare = partial(prepare_example, lungs=lung_network.find_in)


def _with_truth(example: Mapping[str, Any], settings: Preprocessing) -> dict[str, Any]:
    return with_place(prepare(example, settings), example, example["mask"][..., 0] > 0)


def with_place(
    prepared: Mapping[str, Any], example: Mapping[str, Any], truth: np.ndarray
) -> dict[str, Any]:
    """Returns a prepared example with what its own size takes.

    Args:
      prepared: of the network's size.
      example: the stored one, with its `box` where `prepared` is cut.
      truth: (H, W) bool, of the slice's own size, all of it.

    Returns:
      `truth`, `spacing` (z, y, x) in mm, NaN where unknown, and the `box` where there is one.
    """
    kept = {name: example[name] for name in ("spacing", "box") if name in example}
    return {**prepared, "truth": truth, **kept}


def put_back(
    prob: np.ndarray,
    example: Mapping[str, Any],
    resize: Callable[[np.ndarray, tuple[int, int]], np.ndarray],
) -> np.ndarray:
    """Returns what is predicted of a slice at the slice's own size, (H, W) float32.

    Args:
      prob: (h, w), or (h, w, C) of several classes.
      example: of `open_split`.
      resize: makes of `prob` a map (H, W) of the size that it is given.
    """
    shape = example["truth"].shape
    if "box" not in example:
        return resize(prob, shape)
    whole = np.zeros(shape, np.float32)
    there = whole[example["box"]]
    there[...] = resize(prob, there.shape)
    return whole
