"""What somebody has drawn on a scan, with whatever tool: NIfTI label volumes, DICOM Segmentations.

A drawing has a grid of its own. It is put on the scan's voxels where the two are the same lattice,
in whatever order they are stored; else only where nearest neighbours are asked for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax.scans import kinds, lattice, nifti
from cosup_jax.scans.geometry import TOLERANCE, Grid
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.nifti_labels import OtherGridError, UndeclaredError, read_drawing

ANY = {0: 0, 1: 1, 255: 1}  # unless values are declared
_INFECTION = {0: 0, 255: 1, **{label: label for label in range(1, len(kinds.CLASSES) + 1)}}
# Volumes of other formats, which whoever drew on them can save as NIfTI.
_OTHERS = (".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".mgz", ".mgh", ".mnc")
_UNPLACED = ", and the header does not say where it lies (write it with the affine of its image)"
_NO_INFECTION = "none of its segments is infection, by their names or as declared"
NOTHING, LUNG = 0, -1
# What labels and segments are called, as letters only.
_NAMES = {
    **dict.fromkeys(("background", "nothing", "clear", "unlabeled", "unlabelled"), NOTHING),
    **dict.fromkeys(("lung", "lungs", "leftlung", "rightlung", "lungleft", "lungright"), LUNG),
    **dict.fromkeys(("infection", "lunginfection", "lesion", "lesions", "covid"), 1),
    **dict.fromkeys(("covidinfection", "covidlesion", "lunglesion", "pneumonia", "opacity"), 1),
    **dict.fromkeys(("groundglass", "groundglassopacity", "groundglassopacities", "ggo"), 1),
    **dict.fromkeys(("consolidation", "consolidations"), 2),
    **dict.fromkeys(("effusion", "pleuraleffusion"), 3),
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """Classes drawn on a scan.

    Attributes:
      path: the file.
      grid: where the voxels of the axial view lie; its stored axes are (x, y, z).
      classes: (Z, H, W) uint8 in the axial view.
      whole: every voxel of the scan that it was drawn on is there; False of a Segmentation, from
        which planes without labels may be missing.
      orientation: how it is stored, such as `LPS`.
      placed: its header says where it lies.
      notes: what is odd about that.
      depth_known: it says how far its planes lie apart, which planes with labels alone do not.
      values: of a NIfTI file, the stored values that are there.
      no_size: why the size of a voxel is unknown, whatever the grid says; empty where it is known.
    """

    path: Path
    grid: Grid
    classes: np.ndarray
    whole: bool = True
    orientation: str = ""
    placed: bool = True
    notes: tuple[str, ...] = ()
    depth_known: bool = True
    values: tuple[int, ...] = ()
    no_size: str = ""

    def is_on(self, grid: Grid) -> bool:
        """Whether its voxels are those of a grid, however that is stored."""
        to = grid.axial()
        return self.grid.shape == to.shape and self.grid.distance(to) <= TOLERANCE

    def on(self, grid: Grid, *, nearest: bool = False) -> tuple[np.ndarray, str]:
        """Puts the drawing on the voxels of a scan.

        Args:
          grid: that of the scan, however it is stored.
          nearest: take the nearest voxel of the drawing where the two are not the same lattice.

        Returns:
          (Z, H, W) uint8 in the axial view of the scan, and what was done; empty where every voxel
          was there already.

        Raises:
          VolumeError: another grid, and `nearest` is not set, or nobody knows where the drawing
            lies, or it lies nowhere near the scan; labels outside of the scan.
        """
        if self.is_on(grid):
            return self.classes, ""
        to = grid.axial()
        places = None if self.whole else lattice.places(self.grid, to)
        if places is not None and not (nearest and self.outside(grid)):
            return self._placed(places, to), ""
        if nearest and self.placed:
            if self._lies_beside(to):
                raise VolumeError(
                    f"{self.path}: lies beside the volume that it should belong to, and shares no "
                    "voxel with it; expected one drawn on the same scan"
                )
            done = f"brought from {_words(self.grid)} to {_words(to)} by nearest neighbours"
            return lattice.nearest(self.classes, self.grid, to), done
        raise (OtherGridError if self.placed else VolumeError)(
            f"{self.path}: drawn on {_words(self.grid)}, but its image has {_words(to)}"
            f"{_apart(self.grid, to)}{'' if self.placed else _UNPLACED}; expected the same grid"
        )

    def _lies_beside(self, to: Grid) -> bool:
        ends = np.array([*product(*((-0.5, n - 0.5) for n in self.grid.shape))])
        way = np.linalg.inv(to.affine) @ self.grid.affine
        at = ends @ way[:3, :3].T + way[:3, 3]
        return bool(((at.max(axis=0) <= -0.5) | (at.min(axis=0) >= np.array(to.shape) - 0.5)).any())

    def fits(self, grid: Grid) -> bool:
        """Whether all of its voxels are voxels of a grid, however that is stored."""
        to = grid.axial()
        places = lattice.places(self.grid, to)
        if places is None:
            return False
        return all(p[0] >= 0 and p[-1] < n for p, n in zip(places, to.shape, strict=True))

    def outside(self, grid: Grid) -> int:
        """Returns how many voxels of it, on which something is drawn, lie outside of a grid."""
        to = grid.axial()
        at = self._drawn_at(to)
        return int(((at < 0) | (at >= to.shape)).any(axis=1).sum())

    def _drawn_at(self, to: Grid) -> np.ndarray:
        """Returns the nearest voxel (x, y, z) of an axial grid for each voxel with a class."""
        way = np.linalg.inv(to.affine) @ self.grid.affine
        drawn = np.argwhere(self.classes)[:, ::-1]
        return np.floor(drawn @ way[:3, :3].T + way[:3, 3] + 0.5).astype(np.int64)

    def grown(self, other: "Drawing") -> Grid:
        """Returns its grid with as many voxels more as another drawing's classes need.

        Raises:
          VolumeError: the two are so far apart that no volume has as many voxels.
        """
        at = other._drawn_at(self.grid)
        first = np.minimum(at.min(axis=0, initial=0), 0)
        last = np.maximum(at.max(axis=0, initial=0), np.array(self.grid.shape) - 1)
        shape = last - first + 1
        if float(np.prod(shape.astype(np.float64))) > nifti.MAX_VOXELS:
            raise VolumeError(f"{self.path} and {other.path} lie too far from each other")
        affine = self.grid.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ first
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def _placed(self, places: tuple[np.ndarray, ...], to: Grid) -> np.ndarray:
        result = np.zeros(to.shape[::-1], np.uint8)
        drawn = np.argwhere(self.classes)
        at = np.stack([places[axis][drawn[:, 2 - axis]] for axis in range(3)], axis=1)
        outside = ((at < 0) | (at >= to.shape)).any(axis=1)
        if outside.any():
            raise VolumeError(f"{self.path}: {outside.sum():,} voxels are drawn outside its image")
        result[at[:, 2], at[:, 1], at[:, 0]] = self.classes[tuple(drawn.T)]
        return result


def read(path: Path, values: Mapping[int, int] | None = None) -> Drawing:
    """Reads what somebody has drawn on a scan.

    Args:
      path: a NIfTI volume, or a DICOM Segmentation.
      values: stored value, or number of a segment, to class; None takes `ANY` of a NIfTI file, and
        what the segments of a Segmentation are called.

    Raises:
      VolumeError: naming the file and what is wrong with it.
    """
    if path.name.lower().endswith(nifti.SUFFIXES):
        place, classes, there = read_drawing(path, ANY if values is None else values)
        return Drawing(
            *(path, place.grid.axial(), classes, True, place.grid.orientation),
            placed=place.known,
            notes=place.notes,
            values=there,
            no_size=place.no_size,
        )
    try:
        from cosup_jax.scans import dicom_drawing
    except ImportError as error:
        raise VolumeError(
            f"{path}: reading DICOM needs {error.name}; install it with: pip install "
            "'cosup-jax[dicom]'"
        ) from error
    found = dicom_drawing.read(path)
    if values is None:
        try:
            values = {n: max(label, 0) for n, label in classes_of(found.names).items()}
        except ValueError as error:
            raise UndeclaredError(f"{path}: {error}") from error
    axial, depth = found.grid.to_axial(_decoded(path, found, values)), found.depth_known
    grid, way = found.grid.axial(), found.grid.orientation
    notes = () if any(map(values.get, found.names)) else (_NO_INFECTION,)
    return Drawing(path, grid, axial, False, way, notes=notes, depth_known=depth)


def read_infection(path: Path, values: Mapping[int, int] | None = None) -> Drawing:
    """Reads where somebody has drawn infection, of whatever class; see `read`.

    Args:
      path: a NIfTI volume, or a DICOM Segmentation.
      values: as `read`; None takes 1 to 3 of a NIfTI file for the classes of this package.
    """
    if values is None and path.name.lower().endswith(nifti.SUFFIXES):
        values = _INFECTION
    return read(path, values)


def to_do(path: Path) -> str:
    """Returns what to do with a volume of a format that is not read; empty of any other file.

    >>> to_do(Path("Segmentation.seg.nrrd"))
    ' (.nrrd is not read; save it as NIfTI, .nii.gz)'
    """
    name = path.name.lower().removesuffix(".gz")
    found = [suffix for suffix in _OTHERS if name.endswith(suffix)]
    return f" ({found[0]} is not read; save it as NIfTI, .nii.gz)" if found else ""


def _decoded(path: Path, found: Any, values: Mapping[int, int]) -> np.ndarray:
    try:
        return found.classes(values)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
    # Decoders raise nearly every built-in exception on damaged pixels.
    except Exception as error:
        raise VolumeError(f"{path}: unreadable or damaged ({type(error).__name__})") from error


def classes_of(names: Mapping[int, str]) -> dict[int, int]:
    """Returns what labels mean by their names; `LUNG` where it is a lung.

    A single label besides background and lungs is infection, whatever it is called.

    Args:
      names: stored value, or number of a segment, to its name.

    Raises:
      ValueError: names of several labels that say no class.

    >>> classes_of({0: "background", 1: "GGO", 2: "Consolidation"})
    {0: 0, 1: 1, 2: 2}
    >>> classes_of({1: "Segment_1"}), classes_of({0: "background", 1: "lung", 2: "target"})
    ({1: 1}, {0: 0, 1: -1, 2: 1})
    """
    found = {value: _NAMES.get(re.sub("[^a-z]", "", n.lower())) for value, n in names.items()}
    others = [value for value, label in found.items() if label is None]
    infections = [value for value, label in found.items() if label not in (None, NOTHING, LUNG)]
    if len(others) == 1 and not infections:
        found[others[0]] = 1
    elif others:
        raise ValueError(
            f"the labels {', '.join(repr(names[value]) for value in others[:5])} say no class; "
            "expected ground-glass, consolidation, effusion, infection or lung, or to be told the "
            "class of each value"
        )
    return {value: int(label or 0) for value, label in found.items()}


def _words(grid: Grid) -> str:
    x, y, z = grid.shape
    sides = " × ".join(f"{side:.3g}" for side in grid.spacing[::-1])
    return f"{x} × {y} × {z} voxels of {sides} mm"


def _apart(grid: Grid, to: Grid) -> str:
    return f", {grid.distance(to):.2g} voxels away" if grid.shape == to.shape else ""
