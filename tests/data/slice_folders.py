"""Draws small folders of slices for the tests of `slice_folder`, and builds them."""

import zlib

import numpy as np
from PIL import Image

from tests.data.builder_conformance import build
from tfds_builders.slice_folder.slice_folder_dataset_builder import Builder, folder_config

SHAPE = (12, 10)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def picture(seed, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, SHAPE, dtype)


def square(value=255):
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 3:6] = value
    return mask


def add(folder, split, name, seed=None):
    seed = zlib.crc32(f"{split}/{name}".encode()) if seed is None else seed
    save(folder / split / "image" / f"{name}.png", picture(seed))
    save(folder / split / "mask" / f"{name}.png", square())


def write_index(folder, text, split="train"):
    (folder / f"{split}_index.csv").write_text(text, encoding="utf-8")


def draw(root):
    """Draws two scans to train on and one to validate on, two slices each."""
    for seed, (split, scan) in enumerate((("train", "a"), ("train", "b"), ("val", "c"))):
        for z in (3, 4):
            add(root, split, f"{scan}_{z:03d}", seed=10 * seed + z)
    return root


def make(folder, **kwargs):
    config = folder_config(folder, **kwargs)
    return lambda data_dir: Builder(config=config, data_dir=data_dir, file_format="array_record")


def built(folder, tmp_path, **kwargs):
    return build(make(folder, **kwargs), tmp_path / "data")
