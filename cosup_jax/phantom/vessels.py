"""The branching structures of the phantom's lungs: arteries, veins, trachea and bronchi."""

import numpy as np

from cosup_jax.phantom import shapes
from cosup_jax.phantom.shapes import Array, Grid


def draw_vessels(rng: np.random.Generator, grid: Grid, half_depth: float, distance: Array) -> Array:
    """Draws arteries and veins of both lungs, fed from the hilum.

    Args:
      rng: the patient's randomness.
      grid: where to draw.
      half_depth: of the chest, in mm.
      distance: (Z, H, W) signed distance to the lung's border in mm, positive inside.

    Returns:
      (Z, H, W) coverage, 0..1.
    """
    parts = []
    for side in (-1, 1):
        inside = (distance > 0.5) & (side * grid.x > 0)
        for root in ((side * 30.0, 0.05, 0.54), (side * 26.0, 0.22, 0.44)):
            tips = shapes.sample_inside(rng, grid, inside, 150)
            start = np.array([root[0], root[1] * half_depth, root[2] * grid.length])
            parts.append(shapes.grow_tree(rng, start, tips, rng.uniform(0.6, 0.8)))
    start, end, radius = (np.concatenate(column) for column in zip(*parts, strict=True))
    return shapes.draw_tubes(grid, start, end, radius)


def draw_airways(
    rng: np.random.Generator, grid: Grid, half_depth: float, shift: float, distance: Array
) -> tuple[Array, Array]:
    """Draws trachea and bronchi.

    Args:
      rng: the patient's randomness.
      grid: where to draw.
      half_depth: of the chest, in mm.
      shift: of the trachea from the middle, in mm.
      distance: (Z, H, W) signed distance to the lung's border in mm, positive inside.

    Returns:
      (Z, H, W) coverage of the walls with what they enclose, and of the lumen.
    """
    length = grid.length
    carina = np.array([shift, 0.2 * half_depth, 0.6 * length])
    top = np.array([[shift, 0.08 * half_depth, 1.02 * length]])
    parts = [(top, carina[None], np.array([8.5]))]
    for side in (-1, 1):
        inside = (distance > 8) & (side * grid.x > 0)
        tips = shapes.sample_inside(rng, grid, inside, 14)
        hilum = np.array([side * 34.0, 0.22 * half_depth, 0.53 * length])
        parts.append((carina[None], hilum[None], np.array([6.0])))
        parts.append(shapes.grow_tree(rng, hilum, tips, 1.2))
    start, end, radius = (np.concatenate(column) for column in zip(*parts, strict=True))
    wall = 0.5 + 0.15 * radius
    return (
        shapes.draw_tubes(grid, start, end, radius + wall),
        shapes.draw_tubes(grid, start, end, radius),
    )
