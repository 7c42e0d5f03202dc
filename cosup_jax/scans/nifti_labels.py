"""Labels drawn on CT volumes, as NIfTI: on the image's own voxels, or on a grid of their own."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cosup_jax.scans.geometry import TOLERANCE, Grid
from cosup_jax.scans.nifti import Volume, VolumeError, fill, place_of, read_header
from cosup_jax.scans.nifti_place import Place

_WHOLE = 1e-3  # a label may be this far from a whole number, as scaled files have them
_UNDECLARED = 255


class UndeclaredError(VolumeError):
    """Labels hold a value of which nobody has said what it means."""


class OtherGridError(VolumeError):
    """Labels are drawn on other voxels than those of their image."""


def read_labels(
    path: Path, values: Mapping[int, int], image: Volume, *, header_lies: bool = False
) -> np.ndarray:
    """Reads the labels drawn on a CT volume.

    Args:
      path: a NIfTI volume on the grid of `image`, of any type.
      values: stored value to class (0..254).
      image: the CT volume.
      header_lies: the publisher's headers are known to place the labels wrongly; the voxels are
        then those of the image in their stored order, and only the shape is checked.

    Returns:
      (Z, H, W) uint8 classes in the axial view, as a view.

    Raises:
      VolumeError: as `read_volume`; another grid than the image's; a value that is no whole number
        or is not declared.
    """
    header = read_header(path)
    if (shape := header.get_data_shape()) != image.grid.shape:
        raise VolumeError(
            f"{path}: of shape {shape}, but its image {image.path} has {image.grid.shape}"
        )
    if not header_lies:
        _check_same_grid(place_of(header, path).grid, path, image)
    return image.grid.to_axial(_classes(path, values)[0])


def read_drawing(
    path: Path, values: Mapping[int, int]
) -> tuple[Place, np.ndarray, tuple[int, ...]]:
    """Reads labels by themselves.

    Args:
      path: a NIfTI volume of any type.
      values: stored value to class (0..254).

    Returns:
      where its voxels lie (nowhere that is known if their size is not), (Z, H, W) uint8 classes in
      the axial view, as a view, and the stored values that are there.

    Raises:
      VolumeError: as `read_labels`.
    """
    place = place_of(read_header(path), path)
    if why := place.no_size or place.by_default:
        place = place._replace(notes=(*place.notes, why), known=False, no_size=why)
    classes, found = _classes(path, values)
    return place, place.grid.to_axial(classes), found


def _classes(path: Path, values: Mapping[int, int]) -> tuple[np.ndarray, tuple[int, ...]]:
    header, seen = read_header(path), set()
    stored = np.empty(header.get_data_shape(), np.uint8, order="F")

    def classes(slab: np.ndarray) -> np.ndarray:
        rounded = np.rint(slab)
        fractions = slab[np.abs(slab - rounded) > _WHOLE]
        if fractions.size:
            raise VolumeError(
                f"{path}: the label {fractions[0]:g} is no whole number; expected a mask, not "
                "probabilities"
            )
        result = np.full(slab.shape, _UNDECLARED, np.uint8)
        for value, label in values.items():
            there = rounded == value
            result[there] = label
            if value not in seen and there.any():
                seen.add(value)
        strange = rounded[result == _UNDECLARED]
        if strange.size:
            found = ", ".join(f"{value:g}" for value in np.unique(strange)[:5])
            raise UndeclaredError(
                f"{path}: holds the labels {found}; expected only {sorted(values)}"
            )
        return result

    fill(stored, header, path, classes)
    return stored, tuple(sorted(seen))


def _check_same_grid(grid: Grid, path: Path, image: Volume) -> None:
    apart = image.grid.distance(grid)
    if apart > TOLERANCE:
        raise VolumeError(
            f"{path} ({grid.orientation}) lies {apart:.2g} voxels away from its image {image.path} "
            f"({image.grid.orientation}); at most {TOLERANCE} is tolerated"
        )
