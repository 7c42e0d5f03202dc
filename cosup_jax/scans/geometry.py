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
SHEARED = 1e-3  # `Grid.shear` above 1, from which on distances between voxels are not measured
SIDES = (0.01, 100.0)  # mm, between which those of the voxels of any scan are
_LONGEST_SIDE = 1e5  # mm, of a voxel; more is damage
_FURTHEST = 1e9  # mm, from the origin
_FLATTEST = 1e-6  # of a voxel's volume to the product of its sides


class GridError(ValueError):
    """An affine that places no voxels; the message says why."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a volume as it is stored.

    Attributes:
      shape: voxels along the three stored axes.
      affine: (4, 4) float64, stored index to mm in the RAS frame (to the right, front, head).

    Raises:
      GridError: the affine is no (4, 4) matrix of finite numbers, has no inverse, or its axes are
        too long, or sheared too much, to be those of a scan.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        """Refuses what cannot be placed, so that no later step meets it."""
        if (why := _unusable(self.affine)) is not None:
            raise GridError(f"the affine {why}: {np.asarray(self.affine).tolist()}")

    @property
    def orientation(self) -> str:
        """The direction in which each stored index grows, such as `LPS`."""
        return "".join(nib.aff2axcodes(self.affine))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing (z, y, x) of the axial view in mm; its product is a voxel's volume.

        x is the side of a voxel, y the distance between rows, z that between planes: where the grid
        is sheared (a tilted gantry), y and z are shorter than the sides.
        """
        body_axes = nib.io_orientation(self.affine)[:, 0]
        columns = self.affine[:3, :3][:, np.argsort(body_axes)]
        x, y, z = (float(abs(side)) for side in np.diag(np.linalg.qr(columns)[1]))
        return z, y, x

    @property
    def shear(self) -> float:
        """The product of a voxel's sides over its volume: 1 where they are perpendicular."""
        sides = nib.affines.voxel_sizes(self.affine)
        return float(np.prod(sides) / abs(np.linalg.det(self.affine[:3, :3])))

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

    def axial(self) -> "Grid":
        """Returns the grid of the axial view, whose stored axes are (x, y, z)."""
        way = nib.orientations.ornt_transform(nib.io_orientation(self.affine), _AXIAL)
        shape = [0, 0, 0]
        for i, axis in enumerate(way[:, 0]):
            shape[int(axis)] = self.shape[i]
        affine = self.affine @ nib.orientations.inv_ornt_aff(way, self.shape)
        return Grid((shape[0], shape[1], shape[2]), affine)

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


def _unusable(affine: np.ndarray) -> str | None:
    """Returns why an affine places nothing, or None."""
    if np.shape(affine) != (4, 4) or np.asarray(affine).dtype.kind != "f":
        return f"is of shape {np.shape(affine)}; expected 4 × 4 numbers"
    if not np.isfinite(affine).all():
        return "holds NaN or infinite numbers"
    if not np.array_equal(affine[3], (0, 0, 0, 1)):
        return "has another last row than 0, 0, 0, 1"
    sides = nib.affines.voxel_sizes(affine)
    if not 0 < sides.min() <= sides.max() <= _LONGEST_SIDE:
        return f"makes voxels with sides of {', '.join(f'{side:.3g}' for side in sides)} mm"
    if np.abs(affine[:3, 3]).max() > _FURTHEST:
        return "places the volume too far from its origin"
    if abs(np.linalg.det(affine[:3, :3] / sides)) < _FLATTEST:
        return "has no inverse"
    if not np.isfinite(nib.io_orientation(affine)).all():
        return "is sheared so much that its axes cannot be told apart"
    return None
