"""Volumes made small enough to travel inside a page: one WebP picture a slice, read by any browser.

A volume is kept without loss where the budget allows it, else at the best quality that fits, and at
last with fewer pixels. A mask is always kept as it is.
"""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image
from tqdm import tqdm

# The 256 values a voxel can have in the page: finest where lesions and soft tissue are.
HU_LEVELS = np.concatenate(
    [np.arange(-1024, -200, 8), np.arange(-200, 300, 4), np.arange(300, 1381, 40)]
).astype(np.float32)
PROBABILITY_LEVELS = np.linspace(0, 1, 256, dtype=np.float32)

_QUALITIES = (None, 95, 90, 85, 80, 75, 70, 65, 60)  # of WebP; None is without loss
_SHRINK = 0.85
_SMALLEST = 32  # pixels a side; less shows nothing
_SAMPLE = 12  # slices from which the size of all is estimated


@dataclass(frozen=True)
class Stack:
    """The slices of a volume as pictures.

    Attributes:
      size: height and width of every picture in pixels.
      quality: of WebP, 0 to 100; None where nothing was lost.
      pictures: one WebP file a slice; empty where all of the slice has code 0.
    """

    size: tuple[int, int]
    quality: int | None
    pictures: tuple[bytes, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all pictures together."""
        return sum(map(len, self.pictures))


@dataclass(frozen=True, eq=False)
class Coded:
    """A volume and the way from its values to codes.

    Attributes:
      values: (Z, H, W), any real type.
      levels: (256,) float32, the value that each code stands for, ascending.
    """

    values: np.ndarray
    levels: np.ndarray

    def picture(self, index: int, size: tuple[int, int], quality: int | None) -> bytes:
        """Returns a slice as WebP: averaged over areas to `size`, each pixel its nearest level."""
        values = np.asarray(self.values[index], np.float32)
        if values.shape != size:
            shrunk = Image.fromarray(values).resize(size[::-1], Image.Resampling.BOX)
            values = np.asarray(shrunk)
        between = (self.levels[1:] + self.levels[:-1]) / 2
        return _webp(np.searchsorted(between, values).astype(np.uint8), quality)


def grey_levels(volume: np.ndarray) -> np.ndarray:
    """Returns 256 levels for a volume not in HU: whole numbers to 255, or evenly over its range."""
    low, high = float(volume.min()), float(volume.max())
    if low >= 0 and 1 < high <= 255:
        low, high = 0.0, 255.0
    return np.linspace(low, max(high, low + 1e-6), 256, dtype=np.float32)


def pack_mask(mask: np.ndarray) -> Stack:
    """Returns a (Z, H, W) bool mask as pictures of codes 0 and 255, without loss."""
    with ThreadPoolExecutor() as pool:
        pictures = pool.map(lambda part: _webp(part * np.uint8(255), None), mask)
        return Stack((mask.shape[1], mask.shape[2]), None, tuple(pictures))


def fit(volumes: list[Coded], room: int) -> list[Stack]:
    """Packs volumes of one shape at the best common quality and size that fit.

    Args:
      volumes: at least one.
      room: bytes that all pictures may take together.

    Raises:
      ValueError: even the smallest pictures are too large.
    """
    slices, height, width = volumes[0].values.shape
    sample = np.unique(np.linspace(0, slices - 1, _SAMPLE).round().astype(int)).tolist()
    with ThreadPoolExecutor() as pool:
        for size, quality in _choices(height, width):
            pack = partial(_pack, pool, volumes, size, quality)
            needed = sum(stack.nbytes for stack in pack(sample)) * slices // len(sample)
            if needed > room:
                continue
            stacks = pack(range(slices))
            needed = sum(stack.nbytes for stack in stacks)
            if needed <= room:
                return stacks
    raise ValueError(
        f"{slices} slices take {needed:,} bytes even at {size[0]} × {size[1]} pixels, and there is "
        f"room for {max(room, 0):,}; give a larger budget"
    )


def _choices(height: int, width: int) -> Iterator[tuple[tuple[int, int], int | None]]:
    """Yields sizes and qualities, the best first."""
    for quality in _QUALITIES:
        yield (height, width), quality
    scale = _SHRINK
    while min(height, width) * scale >= _SMALLEST:
        yield (round(height * scale), round(width * scale)), _QUALITIES[-1]
        scale *= _SHRINK


def _pack(
    pool: Executor,
    volumes: list[Coded],
    size: tuple[int, int],
    quality: int | None,
    indices: Sequence[int],
) -> list[Stack]:
    def picture(job: tuple[Coded, int]) -> bytes:
        volume, index = job
        return volume.picture(index, size, quality)

    jobs = [(volume, index) for volume in volumes for index in indices]
    made = pool.map(picture, jobs)
    pictures = tuple(tqdm(made, "page", len(jobs), unit="picture", delay=2.0, leave=False))
    count = len(indices)
    return [
        Stack(size, quality, pictures[i * count : (i + 1) * count]) for i in range(len(volumes))
    ]


def _webp(codes: np.ndarray, quality: int | None) -> bytes:
    """Returns (h, w) uint8 codes as a WebP file, or nothing where all are 0."""
    if not codes.any():
        return b""
    file = io.BytesIO()
    settings = {"lossless": True, "quality": 0} if quality is None else {"quality": quality}
    Image.fromarray(codes).save(file, "WEBP", method=2, **settings)
    return file.getvalue()
