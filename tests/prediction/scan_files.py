"""Small scans of every kind, and a network for them that costs nothing."""

import csv

import numpy as np
from PIL import Image

from cosup_jax import weights
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.prediction import cohort
from cosup_jax.prediction.settings import Settings
from cosup_jax.scans import find
from tests.scans.dicom_series import make_images, save
from tests.scans.nifti_files import forge

SHAPE = (12, 24, 6)


class OneClass:
    """Stands for a network where only the number of its classes is asked for."""

    classes = 1


NETWORK = weights.Pretrained("brightest", OneClass(), {}, Preprocessing((32, 32)), "5" * 64, {})


class Brightest:
    """Stands for a Segmenter: infection is what is brighter than the mean of its slice."""

    def __init__(self, network, *, tta=False):
        pass

    def prepare(self):
        """There is nothing to compile."""

    def boxes(self, slices, intensity):
        """It takes whole slices."""

    def labelled(self, slices, intensity, count, boxes=None):
        for pixels in slices:
            bright = (pixels > pixels.mean()).astype(np.float32) * np.float32(0.8)
            yield bright, np.ones(pixels.shape, np.uint8)


def marking(marks):
    """What stands for a Segmenter, and marks these."""

    class Marking(Brightest):
        def __call__(self, slices, intensity, count, boxes=None):
            return (mark.astype(np.float32) for mark in marks)

        def labelled(self, slices, intensity, count, boxes=None):
            return ((mark.astype(np.float32), np.ones(mark.shape, np.uint8)) for mark in marks)

    return Marking


def no_lung(slices, intensity):
    """Stands for `lung_network.find_each`, and finds none."""
    return (np.zeros(pixels.shape, bool) for pixels in slices)


def scan_file(path, seed=0):
    """A NIfTI volume with a bright block on the patient's left, in front, in the upper half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(-1000, -900, SHAPE, dtype=np.int16)
    voxels[8:, :8, 3:] = 200
    return forge(path, voxels)


def slice_folder(folder, prefix="s"):
    folder.mkdir(parents=True)
    for i in range(3):
        # Of fewer greys it would be a mask.
        grey = np.tile(np.arange(30, dtype=np.uint8) % 9 + 10, (20 + i, 1))
        grey[:5, 10:20] = 200
        Image.fromarray(grey).save(folder / f"{prefix}{i}.png")
    return folder


def dicom_folder(folder, seed=0, **fields):
    hu = np.random.default_rng(seed).integers(-1000, -900, (4, 16, 12))
    hu[2:, :6, 6:] = 100
    return save(folder, make_images(hu, **fields))


def process(inputs, out, network=NETWORK, **settings):
    sources, _ = find.find_scans(inputs, out, identify=settings.get("identify", False))
    return cohort.process(sources, out, network, Settings(**settings))


def table(out):
    with (out / "cohort.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def by_scan(out):
    return {row["scan"]: row for row in table(out)}


def folders(out):
    """The names in a folder of results, which must all stand in its table."""
    names = sorted(path.name for path in out.iterdir() if path.name != "cohort.csv")
    assert names == sorted(by_scan(out)), "something is left over, or has no row"
    return names
