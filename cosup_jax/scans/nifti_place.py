"""Where a NIfTI header places its voxels, and where it contradicts itself."""

from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from cosup_jax.scans.geometry import SIDES, TOLERANCE, Grid, GridError

# All of a header that says where the voxels lie; nothing else is copied to another file.
FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "sform_code", "srow_x", "srow_y", "srow_z"),
)

_ROUNDED = 0.01  # a quaternion's norm may be so far above 1
_SAME_SIDE = 0.01  # of a side
_UNITS = {1: ("metre", 1000.0), 3: ("micron", 0.001)}  # the lower bits of xyzt_units; 2 is mm
_OTHER_SIDES = (0.05, 20.0)  # mm; units other than mm are believed if all sides are between these
_QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
_BY_DEFAULT = (
    "the header has voxels of 1 × 1 × 1 mm along the axes and no place, as programs write where "
    "nobody has told them of any"
)


class Place(NamedTuple):
    """Where the voxels lie.

    Attributes:
      grid: in mm.
      notes: what is odd about the header.
      no_sides: why right and left are a guess; empty where they are not.
      no_size: why the size of a voxel is unknown; empty where it is known.
      known: the header says where the volume lies; False where that is assumed.
      by_default: why neither size nor sides are to be believed although the header has them; empty
        where they are.
    """

    grid: Grid
    notes: tuple[str, ...]
    no_sides: str
    no_size: str
    known: bool = True
    by_default: str = ""


def place(header: nib.Nifti1Header) -> Place:
    """Reads the geometry of a header: its sform, or else its qform, or else the sides alone.

    Raises:
      GridError: no transform of the header places the voxels.
    """
    shape = header.get_data_shape()
    notes: list[str] = []
    no_sides = no_sides_given = ""
    sform, qform = _grid(_sform(header), shape), _grid(_qform(header, notes), shape)
    if isinstance(sform, Grid):
        grid = sform
        if isinstance(qform, Grid):
            no_sides = _compare(sform, qform, notes)
        elif qform is not None:
            notes.append(f"the qform is unusable ({qform}); the sform is used")
        _compare_sides(sform, header, notes)
    elif isinstance(qform, Grid):
        grid = qform
        if sform is not None:
            notes.append(f"the sform is unusable ({sform}); the qform is used")
    elif sform is None and qform is None:
        whole, no_sides_given = _with_sides(header)
        grid = Grid(shape, whole.get_base_affine().astype(np.float64))
        notes.append(f"the header has no orientation; {grid.orientation} assumed")
        no_sides = "the header does not say which side is right"
    else:
        raise GridError(str(sform or qform))
    scaled, no_size = _in_mm(grid, int(header["xyzt_units"]) & 7)
    known = sform is not None or qform is not None
    ones = np.array_equal(header["pixdim"][1:4], np.ones(3))
    by_default = _by_default(grid.affine) if known else _BY_DEFAULT * ones
    return Place(scaled, tuple(notes), no_sides, no_sides_given or no_size, known, by_default)


def unknown_size(affine: np.ndarray) -> str:
    """Returns why an affine, in mm, does not say how large a voxel is; empty where it does."""
    return _by_default(affine) or _no_scan("mm", nib.affines.voxel_sizes(affine), SIDES)


def _by_default(affine: np.ndarray) -> str:
    return _BY_DEFAULT if np.array_equal(np.abs(affine), np.eye(4)) else ""


def _grid(affine: np.ndarray | str | None, shape: tuple[int, int, int]) -> Grid | str | None:
    """Returns the grid of a transform, or why it is none; None where there is no transform."""
    if affine is None or isinstance(affine, str):
        return affine
    try:
        return Grid(shape, affine)
    except GridError as error:
        return str(error)


def _with_sides(header: nib.Nifti1Header) -> tuple[nib.Nifti1Header, str]:
    """Returns a header whose missing voxel sides are 1, and a reason if there were such."""
    missing = header["pixdim"][1:4] == 0
    if not missing.any():
        return header, ""
    header = header.copy()
    header["pixdim"][1:4][missing] = 1
    return header, "the header gives voxel sides of 0 (pixdim)"


def _sform(header: nib.Nifti1Header) -> np.ndarray | None:
    affine = header.get_sform(coded=True)[0]
    return None if affine is None else affine.astype(np.float64)


def _qform(header: nib.Nifti1Header, notes: list[str]) -> np.ndarray | str | None:
    """Returns the qform, why it cannot be read, or None.

    A quaternion whose norm rounding has put above 1 is brought back to it, as its format's own
    library does.
    """
    if header["qform_code"] <= 0:
        return None
    header = header.copy()
    parts = np.array([header[name] for name in _QUATERNION], np.float64)
    norm = float(np.linalg.norm(parts))
    if 1 < norm <= 1 + _ROUNDED:
        # Stored in single precision, the norm may be above 1 again.
        for name, value in zip(_QUATERNION, parts / norm * (1 - 1e-7), strict=True):
            header[name] = value
    sides = header["pixdim"][1:4]
    if (sides < 0).any():
        notes.append("negative voxel sides (pixdim); they are taken without the sign")
        header["pixdim"][1:4] = np.abs(sides)
    try:
        return header.get_qform(coded=True)[0].astype(np.float64)
    except (ValueError, HeaderDataError) as error:
        return str(error)


def _compare(sform: Grid, qform: Grid, notes: list[str]) -> str:
    """Notes how two transforms disagree, and returns why right and left are a guess."""
    apart = sform.distance(qform)
    if apart <= TOLERANCE:
        return ""
    notes.append(
        f"sform ({sform.orientation}) and qform ({qform.orientation}) disagree by {apart:.1f} "
        "voxels; the sform is used"
    )
    across = [{i: c for i, c in enumerate(g.orientation) if c in "RL"} for g in (sform, qform)]
    return "" if across[0] == across[1] else "sform and qform disagree about right and left"


def _compare_sides(grid: Grid, header: nib.Nifti1Header, notes: list[str]) -> None:
    sides = nib.affines.voxel_sizes(grid.affine)
    claimed = np.abs(header["pixdim"][1:4].astype(np.float64))
    if (np.abs(claimed - sides) > _SAME_SIDE * sides).any():
        notes.append(
            f"voxel sides of {_listed(claimed)} mm (pixdim), but {_listed(sides)} mm by the sform, "
            "which is used"
        )


def _listed(sides: np.ndarray) -> str:
    return " × ".join(f"{side:.3g}" for side in sides)


def _in_mm(grid: Grid, unit: int) -> tuple[Grid, str]:
    """Returns the grid in mm, and why its size is unknown."""
    name, factor = _UNITS.get(unit, ("mm", 1.0))
    sides = nib.affines.voxel_sizes(grid.affine) * factor
    if why := _no_scan(name, sides, SIDES if name == "mm" else _OTHER_SIDES):
        return grid, why
    return Grid(grid.shape, np.diag((factor, factor, factor, 1.0)) @ grid.affine), ""


def _no_scan(unit: str, sides: np.ndarray, most: tuple[float, float]) -> str:
    """Returns why sides, in mm, are none of a scan; empty where they may be."""
    if most[0] <= sides.min() <= sides.max() <= most[1]:
        return ""
    return (
        f"the header gives voxel sides in {unit}, which makes {_listed(sides)} mm; no scan has such"
    )
