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


def chest(shape, seed=0, lower=0):
    """(H, W) grey values: a body with two lungs in it, which lie so many pixels lower."""
    height, width = shape
    grey = np.random.default_rng(seed).integers(0, 12, shape, np.uint8)
    grey[height // 8 : -(height // 8), width // 16 : -(width // 16)] += 150
    top, bottom = height // 4 + lower, height // 2 + lower
    for left in (width // 5, 3 * width // 5):
        grey[top:bottom, left : left + width // 5] = 10
    return grey


def draw_chests(root, shapes):
    """Draws scans, by (split, scan) the size of each slice; infection in a lung and far from it."""
    for (split, scan), sizes in shapes.items():
        for z, shape in enumerate(sizes):
            grey, mask = chest(shape, zlib.crc32(scan.encode()), z), np.zeros(shape, np.uint8)
            height, width = shape
            mask[height // 3 : height // 2, width // 4 : width // 3] = 255
            grey[mask > 0] = 100
            mask[:3, :4] = 255  # where no lung is
            save(root / split / "image" / f"{scan}_{z:03d}.png", grey)
            save(root / split / "mask" / f"{scan}_{z:03d}.png", mask)
    return root
