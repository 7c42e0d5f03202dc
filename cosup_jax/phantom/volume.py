"""Procedural chest CT volumes with COVID-19 lesions: an embedded dataset that needs no download.

A volume is drawn from a seed alone. Anatomy, lesions and noise have random streams of their own, so
the same seed with and without infection gives twins that differ by the lesions only.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cosup_jax.phantom import anatomy
from cosup_jax.phantom import lesions as disease
from cosup_jax.phantom.shapes import Array, Grid, cover

HEALTHY_SHARE = 1 / 6
SMALLEST_SIZE = 16


@dataclass(frozen=True)
class PhantomVolume:
    """A drawn volume; slices run from the diaphragm to the apex.

    Attributes:
      image: (Z, H, W) int16 in HU. The patient lies on the back: bottom rows are posterior, and
        the patient's left is on the right of the picture.
      mask: (Z, H, W) uint8, 0 background, 1 ground-glass, 2 consolidation (open airways within it
        included), 3 pleural effusion.
      lung: (Z, H, W) uint8, 0 outside, 1 left, 2 right lung. Ground-glass and consolidation are
        part of the lung; effusion is not, since it lies in the pleural space beside it.
      spacing: voxel spacing (z, y, x) in mm.
    """

    image: Array
    mask: Array
    lung: Array
    spacing: tuple[float, float, float]


def draw_volume(
    seed: int, *, size: int = 256, slices: int = 16, infected: bool | None = None
) -> PhantomVolume:
    """Draws the chest CT of one invented patient.

    Args:
      seed: names the patient; the same seed gives the same bytes in every process. At another
        size it is the same patient, seen more coarsely.
      size: height and width in pixels.
      slices: number of slices, spread over the height of the lungs.
      infected: whether there are lesions; None lets the seed decide (one in six has none).

    Raises:
      ValueError: `seed` is negative, `size` below 16 or `slices` below 1.
    """
    if seed < 0 or size < SMALLEST_SIZE or slices < 1:
        raise ValueError(
            f"seed={seed}, size={size}, slices={slices}: a phantom needs seed >= 0, "
            f"size >= {SMALLEST_SIZE} and slices >= 1"
        )
    decide, build, tissue, lesion, scanner = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)
    )
    if infected is None:
        infected = bool(decide.random() >= HEALTHY_SHARE)
    habitus = anatomy.draw_habitus(build)
    grid = anatomy.make_grid(habitus, size, slices)
    chest = anatomy.draw_chest(tissue, grid, habitus)
    lesions = disease.draw_lesions(lesion, grid, chest) if infected else None
    image = _compose(chest, lesions)
    image += _scanner_noise(scanner, grid)
    mask = _labels(chest, lesions)
    lung = np.where(grid.x > 0, np.uint8(1), np.uint8(2))
    lung = lung * ((chest.cavity > 0.5) & (mask != disease.EFFUSION))
    rise = 0.92 * grid.length / slices
    return PhantomVolume(
        image=np.clip(np.rint(image), -1024, 3071).astype(np.int16),
        mask=mask,
        lung=lung.astype(np.uint8),
        spacing=(float(rise), float(grid.pixel), float(grid.pixel)),
    )


def _compose(chest: anatomy.Chest, lesions: disease.Lesions | None) -> Array:
    """Lays lung, vessels, airways and lesions over the rest of the chest; HU without noise."""
    tissue = chest.parenchyma.copy()
    if lesions is not None:
        tissue += lesions.density
    cover(tissue, chest.vessels, anatomy.BLOOD - 10)
    if lesions is not None:
        cover(tissue, lesions.solid, lesions.solid_hu)
        cover(tissue, lesions.solid * lesions.bronchogram, -850.0)
    image = chest.outside.copy()
    cover(image, chest.cavity, tissue)
    cover(image, chest.walls, 0.0)
    cover(image, chest.lumen, anatomy.AIR + 30)
    if lesions is not None:
        cover(image, lesions.fluid, lesions.fluid_hu)
    return image


def _scanner_noise(rng: np.random.Generator, grid: Grid) -> Array:
    """Noise of 20 to 40 HU whose neighbours in a slice are correlated, as a CT kernel leaves it."""
    deviation, blur = rng.uniform(20, 40), rng.uniform(0.5, 0.9)
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, (0, blur, blur), truncate=3)
    return noise * np.float32(deviation / noise.std())


def _labels(chest: anatomy.Chest, lesions: disease.Lesions | None) -> Array:
    mask = np.zeros(chest.cavity.shape, np.uint8)
    if lesions is not None:
        lung = chest.cavity > 0.5
        mask[lung & (lesions.glass > 0.5)] = disease.GROUND_GLASS
        mask[lung & (lesions.solid > 0.5)] = disease.CONSOLIDATION
        mask[lung & (lesions.fluid > 0.5)] = disease.EFFUSION
    return mask
