"""The healthy chest of the phantom: habitus, chest wall, mediastinum, lungs, vessels, airways.

Regions are signed distances in mm, positive inside, turned into coverage by a ramp of one pixel,
so borders are anti-aliased. All numbers are rough adult anatomy, varied from patient to patient.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cosup_jax.phantom import shapes, vessels
from cosup_jax.phantom.shapes import Array, Grid

AIR, FAT, MUSCLE, BLOOD, LIVER = -1000.0, -100.0, 50.0, 42.0, 58.0
RIB_PITCH_MM = 30.0


@dataclass(frozen=True)
class Habitus:
    """What makes one patient differ from the next; lengths in mm, densities in HU."""

    half_width: float
    half_depth: float
    length: float
    fat: float
    muscle: float
    breast: float
    heart: float
    shift: float
    dome: tuple[float, float]
    lung_hu: float
    gradient: float
    hypostasis: float
    phase: float
    thickness: float


@dataclass(frozen=True)
class Chest:
    """A healthy chest, before lesions and noise; fields are float32 (Z, H, W).

    Attributes:
      outside: HU of everything but the air-filled lung.
      parenchyma: HU of lung tissue, vessels left out.
      cavity: 0..1, share of the voxel that is lung (pleural space).
      depth: distance to the chest wall in mm, positive inside the rib cage.
      vessels, walls, lumen: 0..1 coverages of pulmonary vessels, airway walls and airway lumina.
      back: (Z, W) y in mm of the hindmost lung in each column; -inf where there is none.
    """

    outside: Array
    parenchyma: Array
    cavity: Array
    depth: Array
    vessels: Array
    walls: Array
    lumen: Array
    back: Array


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """Draws the build of a patient."""
    half_width = rng.uniform(118, 142)
    length = rng.uniform(190, 240)
    right_dome = rng.uniform(0.15, 0.25) * length
    return Habitus(
        half_width=half_width,
        half_depth=half_width * rng.uniform(0.62, 0.74),
        length=length,
        fat=rng.uniform(5, 26),
        muscle=rng.uniform(7, 14),
        breast=max(0.0, rng.uniform(-40, 40)),
        heart=rng.uniform(0.88, 1.12),
        shift=rng.uniform(-4, 4),
        dome=(right_dome - rng.uniform(4, 16), right_dome),
        lung_hu=rng.uniform(-890, -770),
        gradient=rng.uniform(30, 90),
        hypostasis=rng.uniform(0, 200),
        phase=rng.uniform(0, RIB_PITCH_MM),
        thickness=rng.uniform(3, 7),
    )


def make_grid(habitus: Habitus, size: int, slices: int) -> Grid:
    """Lays the voxels over the patient: the body fills most of the picture, slices the lungs."""
    wall = 8 + habitus.muscle + habitus.fat
    half_view = 1.07 * (habitus.half_width + 1.25 * wall)
    pixel = 2 * half_view / size
    centres = ((np.arange(size) - (size - 1) / 2) * pixel).astype(np.float32)
    height = 0.02 + 0.92 * (np.arange(slices) + 0.5) / slices
    z = (height * habitus.length).astype(np.float32)
    return Grid(centres, centres - np.float32(4), z, habitus.length, pixel, habitus.thickness)


def draw_chest(rng: np.random.Generator, grid: Grid, habitus: Habitus) -> Chest:
    """Draws the healthy chest of a patient."""
    depth = _depth(grid, habitus)
    ripple = shapes.smooth_field(rng, grid, (60, 45))
    outside = _chest_wall(grid, habitus, depth, ripple)
    space = shapes.ramp(depth, grid.pixel)
    shapes.cover(outside, space, FAT + 35 + 12 * ripple)
    middle = _organs(grid, habitus, outside, space)
    distance, dome = _lung_distance(grid, habitus, depth, middle)
    _abdomen(rng, grid, outside, space * (1 - dome))
    _spine(grid, habitus, outside)
    cavity = shapes.ramp(distance, grid.pixel)
    back = _hindmost(grid, cavity)
    walls, lumen = vessels.draw_airways(rng, grid, habitus.half_depth, habitus.shift, distance)
    return Chest(
        outside=outside,
        parenchyma=_parenchyma(rng, grid, habitus, back),
        cavity=cavity,
        depth=depth,
        vessels=vessels.draw_vessels(rng, grid, habitus.half_depth, distance),
        walls=walls,
        lumen=lumen,
        back=back,
    )


def _depth(grid: Grid, habitus: Habitus) -> Array:
    """Distance to the rib cage, a super-ellipse that narrows towards the apex, along the ray."""
    t = grid.z / grid.length
    narrowing = t**3
    width = grid.column(habitus.half_width * (1 - 0.5 * narrowing))
    depth = grid.column(habitus.half_depth * (1 - 0.3 * narrowing))
    y = grid.y[:, None] - grid.column(10 * t**2)
    power = 2.4
    level = ((np.abs(grid.x) / width) ** power + (np.abs(y) / depth) ** power) ** (1 / power)
    level = np.maximum(level, np.float32(0.02))
    return (np.hypot(grid.x, y) * (1 / level - 1)).astype(np.float32)


def _chest_wall(grid: Grid, habitus: Habitus, depth: Array, ripple: Array) -> Array:
    """Air, skin, fat, muscle, ribs, sternum and shoulder blades."""
    angle = np.arctan2(np.abs(grid.x), grid.y[:, None]).astype(np.float32)  # 0 back, pi front
    side, front = np.sin(angle) ** 2, np.maximum(-np.cos(angle), 0)
    t = grid.column(grid.z / grid.length)
    muscle = habitus.muscle * (0.6 + 0.5 * side + 0.7 * front * t)
    muscle = muscle + 20 * np.exp(-(((angle - 0.3) / 0.25) ** 2)) + 14 * t**3
    muscle = 10 + muscle + 1.5 * ripple
    fat = habitus.fat * (0.75 + 0.5 * np.cos(angle) ** 2) + habitus.half_width * 0.36 * t**3 * side
    bump = np.exp(-(((angle - 2.45) / 0.33) ** 2))
    fat = fat + habitus.breast * bump * np.exp(-(((t - 0.35) / 0.25) ** 2))
    image = np.full(grid.shape, AIR, np.float32)
    skin = depth + muscle + fat
    shapes.cover(image, shapes.ramp(skin, grid.pixel), 0.0)
    shapes.cover(image, shapes.ramp(skin - 2, grid.pixel), FAT + 8 * ripple)
    shapes.cover(image, shapes.ramp(depth + muscle, grid.pixel), MUSCLE)
    shapes.cover(image, shapes.ramp(4 - np.abs(depth + 13 + ripple), 3 * grid.pixel) * 0.5, FAT)
    _ribs(grid, habitus, image, depth, angle)
    blade = (np.abs(depth + 24) < 3.5) & (np.abs(angle - 0.95) < 0.3) & (t > 0.55) & (t < 0.97)
    shapes.cover(image, ndimage.gaussian_filter(blade.astype(np.float32), (0, 0.6, 0.6)), 420.0)
    plate = shapes.ramp(16 - np.abs(grid.x), grid.pixel) * (grid.y[:, None] < 0) * (t > 0.3)
    shapes.cover(image, shapes.ramp(5 - np.abs(depth + 7), grid.pixel) * plate, 380.0)
    shapes.cover(image, shapes.ramp(3 - np.abs(depth + 7), grid.pixel) * plate, 170.0)
    return image


def _ribs(grid: Grid, habitus: Habitus, image: Array, depth: Array, angle: Array) -> None:
    """Ribs run down and forward, so a slice cuts several of them into short arcs."""
    descent = angle * np.float32(150 / np.pi) + habitus.phase + 4 * np.sign(grid.x)
    place = ((grid.column(grid.z) + descent) / RIB_PITCH_MM) % 1
    off_axis = np.abs(place - np.float32(0.5)) * RIB_PITCH_MM / 6.5
    level = np.hypot(off_axis, (depth + np.float32(5.5)) / np.float32(4.0))
    bone = np.where(angle < 2.5, np.float32(650), np.float32(130))  # in front they are cartilage
    shapes.cover(image, shapes.ramp((1 - level) * 4, grid.pixel), bone)
    shapes.cover(image, shapes.ramp((0.55 - level) * 4, grid.pixel), np.minimum(bone, 250))


def _organs(grid: Grid, habitus: Habitus, image: Array, space: Array) -> Array:
    """Draws heart and great vessels into the mediastinum; returns their joint signed distance."""
    depth, length = habitus.half_depth, grid.length
    x, y = grid.x - habitus.shift, grid.y[:, None]
    z = grid.column(grid.z)
    big = habitus.heart
    tilt = 0.45
    u = (x - 24) * np.cos(tilt) + (y + 0.24 * depth) * np.sin(tilt)
    v = -(x - 24) * np.sin(tilt) + (y + 0.24 * depth) * np.cos(tilt)
    level = (u / (62 * big)) ** 2 + (v / (45 * big)) ** 2
    level = np.sqrt(level + ((z - 0.3 * length) / (0.3 * length * big)) ** 2)
    distance = ((1 - level) * 48).astype(np.float32)
    shapes.cover(image, space * shapes.ramp(distance, grid.pixel), BLOOD)
    # x, y, radius, from height, to height: aorta twice, arch, cava, pulmonary trunk, gullet
    tubes = (
        (26, 0.50 * depth, 12, 0.0, 0.76),
        (-6, -0.22 * depth, 16, 0.45, 0.76),
        (12, 0.10 * depth, 17, 0.70, 0.80),
        (-24, -0.14 * depth, 10, 0.45, 0.95),
        (16, -0.30 * depth, 14, 0.45, 0.64),
        (8, 0.40 * depth, 6, 0.0, 1.0),
        (-16, -0.05 * depth, 7, 0.78, 1.0),
        (18, -0.02 * depth, 6, 0.78, 1.0),
    )
    for cx, cy, radius, low, high in tubes:
        around = radius * big - np.hypot(x - cx, y - cy)
        ends = np.minimum(z - low * length, high * length - z)
        tube = np.minimum(around, ends).astype(np.float32)
        shapes.cover(image, space * shapes.ramp(tube, grid.pixel), BLOOD)
        distance = np.maximum(distance, tube)
    return distance


def _lung_distance(
    grid: Grid, habitus: Habitus, depth: Array, middle: Array
) -> tuple[Array, Array]:
    """Returns the signed distance to the lungs and the coverage of what lies above the diaphragm.

    The dome is cut by the slab of a slice at a small angle, so its border is wide and dim: partial
    volume of liver and lung, which a threshold takes for ground-glass.
    """
    x, y = grid.x - habitus.shift, grid.y[:, None]
    t = grid.column(grid.z / grid.length)
    back = y / habitus.half_depth
    column = 9 + 19 / (1 + np.exp(-(back + 0.45) / 0.1)) - 6 * np.exp(-(((back - 0.3) / 0.15) ** 2))
    hilum = np.exp(-(((t - 0.52) / 0.1) ** 2)) * np.exp(-(((back - 0.1) / 0.25) ** 2))
    upper = 14 / (1 + np.exp(-(t - 0.75) / 0.04)) * np.exp(-(((back + 0.3) / 0.4) ** 2))
    centre = np.abs(x) - (column + 9 * hilum + upper)
    dome_height = np.where(x > 0, habitus.dome[0], habitus.dome[1])
    across = (np.abs(x) - 0.47 * habitus.half_width) / (0.58 * habitus.half_width)
    along = (y + 0.15 * habitus.half_depth) / (0.85 * habitus.half_depth)
    fall = 48 * (across**2 + along**2)
    above = grid.column(grid.z) - (dome_height - fall)
    dome = (above * (grid.pixel / grid.thickness)).astype(np.float32)
    distance = np.minimum(np.minimum(depth - 2, centre), np.minimum(dome, -middle - 2))
    blur = 2.0 / grid.pixel
    distance = ndimage.gaussian_filter(distance.astype(np.float32), (0, blur, blur), truncate=2)
    return distance, shapes.ramp(dome, grid.pixel)


def _abdomen(rng: np.random.Generator, grid: Grid, image: Array, below: Array) -> None:
    """Liver on the right, spleen and a stomach with gas on the left, under the diaphragm."""
    organs = np.where(grid.x < 12, np.float32(LIVER), np.float32(46))
    shapes.cover(image, below, organs[None, None])
    centre = (rng.uniform(50, 70), rng.uniform(-45, -25))
    level = ((grid.x - centre[0]) / 26) ** 2 + ((grid.y[:, None] - centre[1]) / 18) ** 2
    level = level + (grid.column(grid.z - 0.02 * grid.length) / 26) ** 2
    gas = shapes.ramp((1 - np.sqrt(level)) * 18, grid.pixel).astype(np.float32)
    shapes.cover(image, below * gas, -940.0)


def _spine(grid: Grid, habitus: Habitus, image: Array) -> None:
    """Vertebral bodies with discs, the canal, the arch and the spinous process."""
    x, y = np.abs(grid.x), grid.y[:, None] - 0.63 * habitus.half_depth
    disc = np.exp(-((((grid.column(grid.z) / 26) % 1 - 0.5) / 0.12) ** 2)).astype(np.float32)
    body = 16 * (1 - np.sqrt((x / 17) ** 2 + (y / 14.5) ** 2))
    canal = 9 - np.hypot(x, y - 22)
    arch = np.maximum(canal + 5, 4 - np.hypot(np.maximum(x - 30, 0), y - 22 + 0.15 * x))
    process = np.minimum(3.5 - x, 15 - np.abs(y - 44))
    for distance, value in (
        (arch, 480.0),
        (process, 420.0),
        (body, 480 - 340 * disc),
        (body - 2.5, 190 - 100 * disc),
        (canal, 25.0),
    ):
        shapes.cover(image, shapes.ramp(distance.astype(np.float32), grid.pixel), value)


def _hindmost(grid: Grid, cavity: Array) -> Array:
    """Returns y in mm of the hindmost lung of each column (Z, W); -inf without lung."""
    lung = cavity > 0.5
    last = lung.shape[1] - 1 - np.argmax(lung[:, ::-1], axis=1)
    return np.where(lung.any(axis=1), grid.y[last], -np.inf).astype(np.float32)


def _parenchyma(rng: np.random.Generator, grid: Grid, habitus: Habitus, back: Array) -> Array:
    """Lung tissue: denser towards the back, mottled, with oblique fissures and a dependent rim."""
    t = grid.column(grid.z / grid.length)
    y = grid.y[:, None]
    image = habitus.lung_hu + habitus.gradient * (y / habitus.half_depth)
    image = image + 14 * shapes.smooth_field(rng, grid, (30, 22))
    behind = np.maximum(np.where(np.isfinite(back), back, 1e3)[:, None, :] - y, 0)
    rim = np.exp(-((behind / rng.uniform(8, 16)) ** 2)) * np.maximum(1 - 1.1 * t, 0)
    image = image + habitus.hypostasis * rim
    for side in (-1, 1):
        height = (0.5 + rng.uniform(-0.05, 0.05)) * grid.length
        plane = (y - rng.uniform(0, 20)) * 0.8 - (grid.column(grid.z) - height) * 0.6
        plane = plane + 0.004 * (grid.x - side * 70) ** 2
        sheet = np.exp(-((plane / (0.4 * grid.thickness + 0.6)) ** 2))
        image = image + rng.uniform(60, 160) * sheet * (side * grid.x > 0)
    return image.astype(np.float32)
