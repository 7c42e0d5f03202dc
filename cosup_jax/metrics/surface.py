"""The area of a binary volume's surface, cell by cell, as marching cubes lays it.

A cell is the cube between the centres of 2 × 2 × 2 voxels. Which of its corners are inside makes
its code, 0..255, and decides how the surface crosses it: through the midpoints of the edges between
an inside and an outside corner. The polygons they form are cut into triangles.
"""

from functools import cache
from itertools import product

import numpy as np

Point = tuple[float, ...]
Triangle = tuple[Point, Point, Point]

# Corner k of a cell adds 2ᵏ to its code.
CORNERS = tuple(product((0, 1), repeat=3))


def areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """Returns the area of the surface in a cell, for each code.

    Args:
      spacing: distances of voxel centres (z, y, x) in mm.

    Returns:
      (256,) float64 in mm²; 0 where all corners are inside or all outside.

    Example:
      >>> float(areas((1.0, 1.0, 1.0))[0b00001111])  # a flat cut, four corners below
      1.0
    """
    return np.array([_area(triangles, spacing) for triangles in _all_triangles()])


def _area(triangles: list[Triangle], spacing: tuple[float, ...]) -> float:
    if not triangles:
        return 0.0
    a, b, c = np.moveaxis(np.array(triangles) * spacing, 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@cache
def _all_triangles() -> tuple[list[Triangle], ...]:
    """The triangles of each code, in units of the spacing."""
    found = []
    for code in range(256):
        inside = {corner for k, corner in enumerate(CORNERS) if code >> k & 1}
        # The fewer corners are cut off from the more, so a set and its complement share a surface.
        fewer = inside if len(inside) <= 4 else set(CORNERS) - inside
        found.append([t for polygon in _polygons(fewer) for t in _fan(polygon)])
    return tuple(found)


def _fan(polygon: list[Point]) -> list[Triangle]:
    """Cuts a polygon into the triangles from one of its points: the fan of the greatest area."""
    turns = (polygon[i:] + polygon[:i] for i in range(len(polygon)))
    fans = ([(p[0], p[i], p[i + 1]) for i in range(1, len(p) - 1)] for p in turns)
    return max(fans, key=lambda fan: round(_area(fan, (1, 1, 1)), 9))


def _polygons(inside: set[tuple[int, ...]]) -> list[list[Point]]:
    """The closed lines along which the surface crosses the six faces of the cell."""
    after = {}
    for ring in _faces():
        for last in range(4):
            beyond = ring[last - 3]  # the next corner, for the ring is closed
            if ring[last] in inside and beyond not in inside:
                first = last
                while ring[first - 1] in inside:
                    first -= 1
                after[_middle(ring[last], beyond)] = _middle(ring[first], ring[first - 1])
    polygons = []
    while after:
        point, following = after.popitem()
        polygon = [point]
        while following != polygon[0]:
            polygon.append(following)
            following = after.pop(following)
        polygons.append(polygon)
    return polygons


def _faces() -> list[list[tuple[int, ...]]]:
    """The corners around each face, all in the same sense seen from outside."""
    rings = []
    for axis, side in product(range(3), (0, 1)):
        ring = [tuple(np.roll((side, u, v), axis)) for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
        rings.append(ring if side else ring[::-1])
    return rings


def _middle(a: tuple[int, ...], b: tuple[int, ...]) -> Point:
    return tuple((i + j) / 2 for i, j in zip(a, b, strict=True))
