"""Where the voxels of a volume lie in the body, and the way to the axial view and back.

The axial view is the radiological one: slices from the feet to the head, rows from front to back,
columns from the patient's right to the left, so that the right lung stands on the left.
"""

from dataclasses import dataclass
from itertools import product

import nibabel as nib
import numpy as np

# Axes of (x, y, z) in the axial view, by the direction in which their index grows.
_AXIAL = nib.orientations.axcodes2ornt(("L", "P", "S"))
# Grids are the same if no corner of one is further away than this, in sides of a voxel.
TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a volume as it is stored.

    Attributes:
      shape: voxels along the three stored axes.
      affine: (4, 4) float64, stored index to mm in the RAS frame (to the right, front, head).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def orientation(self) -> str:
        """The direction in which each stored index grows, such as `LPS`."""
        return "".join(nib.aff2axcodes(self.affine))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing (z, y, x) of the axial view in mm."""
        sides = nib.affines.voxel_sizes(self.affine)
        body_axes = nib.io_orientation(self.affine)[:, 0]
        x, y, z = (float(sides[i]) for i in np.argsort(body_axes))
        return z, y, x

    def stored_as(self, orientation: str) -> "Grid":
        """Returns the grid with its axes along the body, for files whose headers have them wrong.

        Args:
          orientation: the direction in which each stored index really grows, such as `LPS`.
        """
        axes = nib.orientations.axcodes2ornt(orientation)
        affine = np.diag((0.0, 0.0, 0.0, 1.0))
        for i, side in enumerate(nib.affines.voxel_sizes(self.affine)):
            axis, direction = axes[i]
            affine[int(axis), i] = direction * side
        return Grid(self.shape, affine)

    def to_axial(self, stored: np.ndarray) -> np.ndarray:
        """Returns a (Z, H, W) axial view of an array on this grid; nothing is copied."""
        way = nib.orientations.ornt_transform(nib.io_orientation(self.affine), _AXIAL)
        return nib.apply_orientation(stored, way).transpose(2, 1, 0)

    def from_axial(self, axial: np.ndarray) -> np.ndarray:
        """Returns a view of a (Z, H, W) axial array in stored order; undoes `to_axial`."""
        way = nib.orientations.ornt_transform(_AXIAL, nib.io_orientation(self.affine))
        return nib.apply_orientation(axial.transpose(2, 1, 0), way)

    def distance(self, other: "Grid") -> float:
        """Returns how far apart two grids of one shape are.

        It is the largest distance between corresponding corners, in sides of the smallest voxel.
        """
        ends = product(*((0, n - 1) for n in self.shape))
        corners = np.array([(*end, 1) for end in ends], np.float64)
        apart = corners @ (self.affine - other.affine).T
        side = nib.affines.voxel_sizes(self.affine).min()
        return float(np.linalg.norm(apart[:, :3], axis=1).max() / side)
