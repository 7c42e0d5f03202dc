"""Soft 8-bit maps with truths, and what pysodmetrics makes of them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tests import needs

REAL = Path(os.environ.get("COSUP_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
SIZE = (61, 48)


def pysodmetrics(grey, truth):
    """S, MAE and the curve of E by rising threshold of one map; it stretches the map to 0..1."""
    sod = needs.module("py_sod_metrics")
    s, e, m = sod.Smeasure(), sod.Emeasure(), sod.MAE()
    for measure in (s, e, m):
        measure.step(grey, truth.astype(np.uint8) * 255)
    return {"s": s.sms[0], "mae": m.maes[0], "e": e.changeable_ems[0][::-1]}


def blurred(truth, shift=3, sigma=2.0):
    """A plausible prediction: the truth moved and blurred, as 8-bit grey."""
    soft = ndimage.gaussian_filter(np.roll(truth, shift, axis=0).astype(float), sigma)
    return np.rint(255 * soft / max(soft.max(), 1e-9)).astype(np.uint8)


def truths():
    """Masks by name."""
    rng = np.random.default_rng(1)
    field = ndimage.gaussian_filter(rng.standard_normal(SIZE), 5)
    one = np.zeros(SIZE, bool)
    one[20, 31] = True
    return {
        "lesions": field > np.quantile(field, 0.9),
        "random": rng.random(SIZE) < 0.3,
        "empty": np.zeros(SIZE, bool),
        "full": np.ones(SIZE, bool),
        "one pixel": one,
        "all but one": ~one,
        "at the corner": np.pad(np.ones((3, 2), bool), ((0, SIZE[0] - 3), (0, SIZE[1] - 2))),
    }


def greys():
    """Predictions by name; constant ones only where a mean of them has no rounding, 0 and 255."""
    masks = truths()
    rng = np.random.default_rng(2)
    return {
        "blurred": blurred(masks["lesions"]),
        "random": rng.integers(0, 256, SIZE, np.uint8),
        "black": np.zeros(SIZE, np.uint8),
        "white": np.full(SIZE, 255, np.uint8),
        "binary": np.where(np.roll(masks["lesions"], 2, axis=1), 255, 0).astype(np.uint8),
        "one pixel": np.where(masks["one pixel"], 255, 0).astype(np.uint8),
    }


def synthetic():
    """All predictions on all truths, as (B, H, W) grey and bool."""
    pairs = [(grey, truth) for grey in greys().values() for truth in truths().values()]
    return tuple(np.stack(side) for side in zip(*pairs, strict=True))


def real(count):
    """Pairs of real masks and what could have been predicted for them, of different sizes."""
    folder = REAL / "covid_semiseg" / "TestingSet" / "LungInfection-Test" / "GT"
    if not folder.is_dir():
        pytest.skip(f"no masks of COVID-SemiSeg in {folder}; set COSUP_REAL_DATA")
    for path in sorted(folder.glob("*.png"))[:count]:
        truth = np.asarray(Image.open(path).convert("L")) > 128
        yield blurred(truth, shift=6, sigma=5.0), truth
