"""What COVID-19 does to the phantom's lungs: ground-glass, consolidation, pleural effusion."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cosup_jax.phantom import anatomy, shapes
from cosup_jax.phantom.shapes import Array, Grid

GROUND_GLASS, CONSOLIDATION, EFFUSION = 1, 2, 3
SMALLEST_MM2 = 40.0


@dataclass
class Lesions:
    """Lesions of one patient; fields are float32 (Z, H, W).

    Attributes:
      glass: 0..1, the ground-glass; its label is where this exceeds one half.
      density: HU that ground-glass adds to the tissue.
      solid: 0..1, the consolidation.
      solid_hu: HU of the consolidation.
      bronchogram: 0..1, open airways within consolidation.
      fluid: 0..1, the pleural effusion.
      fluid_hu: HU of the effusion.
    """

    glass: Array
    density: Array
    solid: Array
    solid_hu: float
    bronchogram: Array
    fluid: Array
    fluid_hu: float


@dataclass(frozen=True)
class Blob:
    """A lesion: an ellipsoid of half axes `radii` (mm) about `centre`, turned by `turn` radians."""

    centre: Array
    radii: tuple[float, float, float]
    turn: float
    border: float
    contrast: float


def draw_lesions(rng: np.random.Generator, grid: Grid, chest: anatomy.Chest) -> Lesions:
    """Draws the lesions of an infected patient.

    Ground-glass is always there, consolidation in six of ten patients and effusion in four of ten.
    Centres prefer the periphery, the bases and the back, as the disease does.
    """
    count = int(rng.integers(4, 15))
    n_solid = int(rng.integers(1, 5)) if rng.random() < 0.6 else 0
    centres = _centres(rng, grid, chest, count + n_solid)
    ragged = shapes.smooth_field(rng, grid, (22, 16)) + 0.6 * shapes.smooth_field(rng, grid, (9, 7))
    typical = rng.uniform(220, 380)
    glass = [_blob(rng, c, (11, 34), 0.22, typical) for c in centres[:count]]
    solid = [_blob(rng, c, (9, 24), 0.07, 1.0) for c in centres[count:]]
    halos = [_halo(rng, blob, typical) for blob in solid if rng.random() < 0.6]
    glass_share, density = _paint(grid, glass + halos, ragged)
    solid_share, _ = _paint(grid, solid, ragged)
    density *= 1 + 0.22 * shapes.smooth_field(rng, grid, (5, 4.5))
    return Lesions(
        glass=_without_specks(grid, glass_share * chest.cavity),
        density=density,
        solid=_without_specks(grid, solid_share * chest.cavity),
        solid_hu=rng.uniform(-60, 50),
        bronchogram=_bronchograms(rng, grid, solid),
        fluid=_without_specks(grid, _effusion(rng, grid, chest)),
        fluid_hu=rng.uniform(2, 26),
    )


def _centres(rng: np.random.Generator, grid: Grid, chest: anatomy.Chest, count: int) -> Array:
    """Draws lesion centres (count, 3): near the chest wall, low and towards the back."""
    points = shapes.sample_inside(rng, grid, chest.cavity > 0.99, 800)
    where = grid.index(points)
    height = points[:, 2] / grid.length
    backwards = points[:, 1] / np.abs(grid.y).max()
    weight = np.exp(-np.maximum(chest.depth[where], 0) / 18) + 0.06
    weight = weight * (1.25 - height) * (1 + 0.8 * backwards)
    chosen = rng.choice(len(points), count, replace=False, p=weight / weight.sum())
    return points[chosen]


def _blob(
    rng: np.random.Generator,
    centre: Array,
    sizes: tuple[float, float],
    border: float,
    typical: float,
) -> Blob:
    long = np.exp(rng.uniform(np.log(sizes[0]), np.log(sizes[1])))
    short = long * rng.uniform(0.5, 0.95)
    # Long side along the chest wall, which lies across the ray from the middle of the chest.
    turn = np.arctan2(centre[1], centre[0]) + np.pi / 2 + rng.normal(0, 0.3)
    tall = max(13.0, long * rng.uniform(0.8, 1.3))
    contrast = typical * rng.uniform(0.75, 1.25)
    return Blob(centre, (long, short, tall), turn, border, contrast)


def _halo(rng: np.random.Generator, blob: Blob, typical: float) -> Blob:
    """Ground-glass around a consolidation."""
    long, short, tall = blob.radii
    grown = rng.uniform(5, 14)
    radii = (long + grown, short + grown, tall + grown)
    return Blob(blob.centre, radii, blob.turn, 0.2, typical)


def _paint(grid: Grid, blobs: list[Blob], ragged: Array) -> tuple[Array, Array]:
    """Returns the joint coverage of blobs and coverage times contrast, each in its own window."""
    share = np.zeros(grid.shape, np.float32)
    density = np.zeros(grid.shape, np.float32)
    for blob in blobs:
        reach = 1.8 * max(blob.radii)
        window = tuple(
            slice(*np.searchsorted(axis, (c - r, c + r)))
            for axis, c, r in (
                (grid.z, blob.centre[2], 1.3 * blob.radii[2]),
                (grid.y, blob.centre[1], reach),
                (grid.x, blob.centre[0], reach),
            )
        )
        z, y, x = (
            axis[part] - np.float32(c)
            for axis, part, c in zip(
                (grid.z, grid.y, grid.x), window, blob.centre[::-1], strict=True
            )
        )
        u = x * np.cos(blob.turn) + y[:, None] * np.sin(blob.turn)
        v = -x * np.sin(blob.turn) + y[:, None] * np.cos(blob.turn)
        # The fourth power keeps the cross-section wide up to the poles: no slice cuts off a crumb.
        pole = (z / blob.radii[2]) ** 4
        level = np.sqrt((u / blob.radii[0]) ** 2 + (v / blob.radii[1]) ** 2 + pole[:, None, None])
        inside = 1 - level + 0.2 * ragged[window]
        part = shapes.ramp(inside.astype(np.float32), 2 * blob.border)
        np.maximum(share[window], part, out=share[window])
        np.maximum(density[window], part * np.float32(blob.contrast), out=density[window])
    return share, density


def _without_specks(grid: Grid, share: Array) -> Array:
    """Fades in-plane fragments too small for a reader to have outlined, in place."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = True
    labels, count = ndimage.label(share > 0.5, in_plane)
    if count:
        area = np.bincount(labels.ravel()) * grid.pixel**2
        speck = area < SMALLEST_MM2
        speck[0] = False
        share[speck[labels]] *= 0.3
    return share


def _bronchograms(rng: np.random.Generator, grid: Grid, solid: list[Blob]) -> Array:
    """Airways that stay open within a consolidation, running outward through its middle."""
    start, end, radius = [], [], []
    for blob in solid:
        outward = np.array([blob.centre[0], blob.centre[1], 0.0])
        outward /= max(np.linalg.norm(outward), 1.0)
        for _ in range(int(rng.integers(1, 4))):
            direction = outward + rng.normal(0, 0.45, 3)
            middle = blob.centre + rng.normal(0, 0.25, 3) * blob.radii
            start.append(middle - 0.7 * blob.radii[0] * direction)
            end.append(middle + 0.5 * blob.radii[0] * direction)
            radius.append(rng.uniform(0.9, 1.9))
    if not start:
        return np.zeros(grid.shape, np.float32)
    return shapes.draw_tubes(grid, np.array(start), np.array(end), np.array(radius))


def _effusion(rng: np.random.Generator, grid: Grid, chest: anatomy.Chest) -> Array:
    """Fluid behind the lung of a patient who lies on the back: a crescent, thickest at the base."""
    share = np.zeros(grid.shape, np.float32)
    if rng.random() > 0.4:
        return share
    sides = [(-1,), (1,), (-1, 1)][int(rng.integers(3))]
    for side in sides:
        deep, top = rng.uniform(16, 45), rng.uniform(0.45, 0.9) * grid.length
        flat = rng.uniform(0.3, 0.7)
        height = deep * np.sqrt(np.clip(1 - grid.z / top, 0, None))[:, None]
        hindmost = np.where(side * grid.x > 0, chest.back, -np.inf)
        lowest = hindmost.max(axis=1, keepdims=True)
        surface = (1 - flat) * (hindmost - height) + flat * (lowest - 1.1 * height)
        surface = np.where((height > 3) & np.isfinite(hindmost), surface, np.inf)
        layer = shapes.ramp(grid.y[:, None] - surface[:, None, :], grid.pixel)
        share = np.maximum(share, layer.astype(np.float32))
    return share * chest.cavity
