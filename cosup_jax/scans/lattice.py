"""What lies on the voxels of one axial grid, on those of another."""

import numpy as np

from cosup_jax.scans.geometry import TOLERANCE, Grid


def places(grid: Grid, to: Grid) -> tuple[np.ndarray, ...] | None:
    """Returns where each index of a grid lies on another along x, y and z, if on voxel centres."""
    way = np.linalg.inv(to.affine) @ grid.affine
    lone = np.array([*(n == 1 for n in grid.shape), False])
    way[:, lone] = np.eye(4)[:, lone]  # of one plane the next one may lie anywhere
    whole = np.rint(way)
    ends = np.array(grid.shape, np.float64) - 1
    off = np.abs(way - whole)[:3]
    diagonal = np.diag(np.diag(whole[:3, :3]))
    if not np.array_equal(whole[:3, :3], diagonal) or (np.diag(diagonal) < 1).any():
        return None
    if (off[:, :3] @ ends + off[:, 3] > TOLERANCE).any():
        return None
    return tuple(
        (whole[i, 3] + whole[i, i] * np.arange(grid.shape[i])).astype(np.int64) for i in range(3)
    )


def nearest(classes: np.ndarray, grid: Grid, to: Grid) -> np.ndarray:
    """Takes for each voxel of a grid the nearest one of classes on another; 0 outside of that.

    Args:
      classes: (Z, H, W) uint8 on the axial grid `grid`.
      grid: see above.
      to: the axial grid that they are brought to.
    """
    way = np.linalg.inv(grid.affine) @ to.affine
    result = np.zeros(to.shape[::-1], np.uint8)
    columns, rows = np.arange(to.shape[0]), np.arange(to.shape[1])[:, None]
    # Halves are rounded up, whatever the voxel, and not to even ones.
    for z in range(to.shape[2]):
        at = [
            np.floor(w[0] * columns + w[1] * rows + w[2] * z + w[3] + 0.5).astype(np.int64)
            for w in way[:3]
        ]
        inside = np.logical_and.reduce(
            [(i >= 0) & (i < n) for i, n in zip(at, grid.shape, strict=True)]
        )
        x, y, k = (np.where(inside, i, 0) for i in at)
        result[z] = np.where(inside, classes[k, y, x], 0)
    return result
