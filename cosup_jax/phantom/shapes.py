"""What the phantom is drawn with: a grid in millimetres, smooth random fields, trees of tubes.

Axes: x grows towards the patient's left (image right), y towards the back (image bottom), z towards
the head (slice index). Fields are float32 arrays (Z, H, W), with the patient in the middle.
"""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
LONGEST_TUBE_MM = 10.0


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie.

    Attributes:
      x, y, z: (W,), (H,), (Z,) float32 centres of voxels in mm; z is 0 at the lowest lung tip.
      length: height of the lungs in mm.
      pixel: edge of a pixel in mm.
      thickness: height of the slab that one slice averages, in mm; less than the slice spacing
        where slices are few.
    """

    x: Array
    y: Array
    z: Array
    length: float
    pixel: float
    thickness: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, H, W)."""
        return len(self.z), len(self.y), len(self.x)

    def column(self, profile: Array) -> Array:
        """Reshapes a (Z,) profile so that it broadcasts over slices."""
        return profile[:, None, None]

    def index(self, points: Array) -> tuple[Array, Array, Array]:
        """Returns the nearest voxel (z, y, x) of points (N, 3) given as x, y, z in mm."""
        out = []
        for axis, values in zip((self.z, self.y, self.x), points.T[::-1], strict=True):
            step = axis[1] - axis[0] if len(axis) > 1 else 1.0
            out.append(np.clip(np.rint((values - axis[0]) / step), 0, len(axis) - 1).astype(int))
        return out[0], out[1], out[2]


def ramp(distance: Array, width: float) -> Array:
    """Coverage 0..1 of a region from the signed distance to its border, positive inside."""
    return np.clip(distance / np.float32(width) + np.float32(0.5), 0, 1)


def cover(image: Array, coverage: Array, value: float | Array) -> None:
    """Lays `value` over `image` in place where `coverage` (0..1) says so."""
    image += coverage * (np.float32(value) - image)


def smooth_field(rng: np.random.Generator, grid: Grid, cell: tuple[float, float]) -> Array:
    """Returns a smooth random field of about unit deviation.

    The lattice of random numbers depends on millimetres only, so a patient keeps the same field at
    every resolution.

    Args:
      rng: source of the lattice.
      grid: where to evaluate.
      cell: lattice constants in mm along z and in the plane.
    """
    axes = [(grid.z, cell[0], 400.0), (grid.y, cell[1], 600.0), (grid.x, cell[1], 600.0)]
    shape = [int(extent / constant) + 2 for _, constant, extent in axes]
    values = rng.standard_normal(shape, dtype=np.float32)
    for axis, (centres, constant, extent) in enumerate(axes):
        place = (centres + (0 if axis == 0 else extent / 2)) / constant
        low = np.clip(np.floor(place).astype(int), 0, shape[axis] - 2)
        weight = np.clip(place - low, 0, 1).astype(np.float32)
        weight = weight * weight * (3 - 2 * weight)
        weight = weight.reshape([-1 if a == axis else 1 for a in range(3)])
        first = np.take(values, low, axis)
        values = first + weight * (np.take(values, low + 1, axis) - first)
    # Averaging between lattice points takes about half of the deviation away.
    return values * np.float32(1.6)


def draw_tubes(grid: Grid, start: Array, end: Array, radius: Array) -> Array:
    """Returns the coverage (Z, H, W) of round tubes, seen through slabs of the slice thickness.

    Args:
      grid: where to draw.
      start: (N, 3) first ends x, y, z in mm.
      end: (N, 3) second ends.
      radius: (N,) in mm.
    """
    out = np.zeros(grid.shape, np.float32)
    start, end, radius = _short_pieces(start, end, radius)
    half = grid.thickness / 2
    low = np.minimum(start[:, 2], end[:, 2]) - radius
    high = np.maximum(start[:, 2], end[:, 2]) + radius
    tube, k = np.nonzero((low[:, None] < grid.z + half) & (high[:, None] > grid.z - half))
    if not len(tube):
        return out
    a, b, r = start[tube], end[tube], radius[tube]
    rise = b[:, 2] - a[:, 2]
    rise = np.where(np.abs(rise) < 1e-3, 1e-3, rise)
    cuts = np.clip((grid.z[k] + np.array([[-half], [half]]) - a[:, 2]) / rise, 0, 1)
    first, last = cuts.min(0)[:, None], cuts.max(0)[:, None]
    p, q = (a + first * (b - a))[:, :2], (a + last * (b - a))[:, :2]
    inside = np.abs(rise) * (last - first)[:, 0] + 2 * r
    share = np.clip(inside / grid.thickness, 0.3, 1) * np.clip(2 * r / grid.pixel, 0.25, 1)
    _stamp(grid, out, k, p, q, r, share)
    return out


def _short_pieces(start: Array, end: Array, radius: Array) -> tuple[Array, Array, Array]:
    """Cuts long tubes, so that one small window size serves all pieces."""
    count = np.ceil(np.linalg.norm(end - start, axis=1) / LONGEST_TUBE_MM).astype(int).clip(1)
    which = np.repeat(np.arange(len(count)), count)
    piece = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    step = ((end - start) / count[:, None])[which]
    first = start[which] + piece[:, None] * step
    return first, first + step, radius[which]


def _stamp(grid: Grid, out: Array, k: Array, p: Array, q: Array, r: Array, share: Array) -> None:
    """Draws flat tubes p–q into the slices k of `out`, each within a small window, in place."""
    _, height, width = grid.shape
    reach = int(np.ceil((LONGEST_TUBE_MM / 2 + r.max()) / grid.pixel)) + 1
    window = np.arange(-reach, reach + 1)
    middle = (p + q) / 2
    column = np.rint((middle[:, 0] - grid.x[0]) / grid.pixel).astype(int)[:, None] + window
    row = np.rint((middle[:, 1] - grid.y[0]) / grid.pixel).astype(int)[:, None] + window
    dx = (grid.x[0] + column * grid.pixel - p[:, :1]).astype(np.float32)[:, None, :]
    dy = (grid.y[0] + row * grid.pixel - p[:, 1:]).astype(np.float32)[:, :, None]
    along = (q - p).astype(np.float32)
    squared = np.maximum((along**2).sum(1), np.float32(1e-6))[:, None, None]
    ux, uy = along[:, 0, None, None], along[:, 1, None, None]
    at = np.clip((dx * ux + dy * uy) / squared, 0, 1)
    distance = np.hypot(dx - at * ux, dy - at * uy)
    flat = ramp(r.astype(np.float32)[:, None, None] - distance, grid.pixel)
    flat *= share.astype(np.float32)[:, None, None]
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
    inside &= flat > 0
    where = (k[:, None, None] * height + row[:, :, None]) * width + column[:, None, :]
    np.maximum.at(out.reshape(-1), where[inside], flat[inside])


def grow_tree(
    rng: np.random.Generator, root: Array, tips: Array, tip_radius: float
) -> tuple[Array, Array, Array]:
    """Grows a binary tree from a root to given tips; thicker where it feeds more of them.

    Args:
      rng: bends the branches.
      root: (3,) in mm.
      tips: (N, 3) in mm.
      tip_radius: radius of the last branches in mm.

    Returns:
      Starts (M, 3), ends (M, 3) and radii (M,) of its branches.
    """
    branches = []
    stack = [(np.asarray(root, float), tips)]
    while stack:
        node, mine = stack.pop()
        goal = mine.mean(0)
        if len(mine) > 1:
            goal = node + 0.5 * (goal - node)
            goal = goal + rng.normal(0, 0.08, 3) * np.linalg.norm(goal - node)
            axis = int(np.argmax(mine.std(0)))
            order = np.argsort(mine[:, axis], kind="stable")
            cut = int(len(mine) * rng.uniform(0.35, 0.65)) or 1
            stack += [(goal, mine[order[:cut]]), (goal, mine[order[cut:]])]
        branches.append((node, goal, tip_radius * len(mine) ** 0.38))
    start, end, radius = (np.array(column) for column in zip(*branches, strict=True))
    return start, end, radius


def sample_inside(rng: np.random.Generator, grid: Grid, inside: Array, count: int) -> Array:
    """Returns up to `count` random points (N, 3), x, y, z in mm, where `inside` (Z, H, W) holds."""
    ends = np.array([[axis[0], axis[-1]] for axis in (grid.x, grid.y)] + [[0, grid.length]])
    points = rng.uniform(ends[:, 0], ends[:, 1], (12 * count, 3))
    return points[inside[grid.index(points)]][:count]
