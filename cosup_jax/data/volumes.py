"""NIfTI volumes into axial stacks and back; with `geometry`, the only place that knows the format.

Nothing is allocated before the header's claims have been held against the file. Volumes are read
slab by slab into arrays of the type that is kept, so that a file of doubles costs no more memory
than one of 16-bit integers.
"""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from absl import logging
from nibabel.spatialimages import HeaderDataError

from cosup_jax.data.geometry import TOLERANCE, Grid

SUFFIXES = (".nii", ".nii.gz")
MAX_SIDE = 4096
MAX_VOXELS = 1 << 30

_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAX_OFFSET = 1 << 24  # what may stand between the header and the voxels
_MAX_DEFLATE = 1032  # no gzip stream grows by more than this
_SLAB = 1 << 22  # voxels read at a time
_INT16 = np.iinfo(np.int16)
_WHOLE = 1e-3  # a label may be this far from a whole number, as scaled files have them
_MAX_LABEL = 254
_UNDECLARED = 255
# Air is -1000 HU; no chest volume in HU is without some.
_AIR = -500
_DAMAGE = (OSError, EOFError, zlib.error, ValueError, HeaderDataError)


class VolumeError(ValueError):
    """A file that is not the CT volume or label volume it should be; the message names it."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One CT volume.

    Attributes:
      path: the file.
      grid: where its voxels lie.
      stored: int16 in the file's axis order; the true value is `stored * slope + intercept`.
      slope: 1 unless the file holds fractions.
      intercept: 0 unless the file's values do not fit int16.
      intensity: `hu`, `grey8` or `unknown`, judged by the range of the values.
    """

    path: Path
    grid: Grid
    stored: np.ndarray
    slope: float
    intercept: float
    intensity: str

    def slices(self) -> Iterator[np.ndarray]:
        """Yields (H, W) int16 axial slices from the feet to the head, as views."""
        yield from self.grid.to_axial(self.stored)


def read_volume(path: Path) -> Volume:
    """Reads a CT volume of any axis order, type and scaling.

    Whole numbers are kept exactly, fractions to 1/65,535 of the volume's range. Where the header's
    two transforms disagree, its sform counts, as it does in nibabel, and a warning says so.

    Raises:
      VolumeError: not a NIfTI volume, truncated, of an absurd size, empty, or with values that are
        NaN, infinite or no CT's.
    """
    image = _open(path)
    grid = _grid(image, path)
    stored, lowest, highest, whole = _read_int16(image, path)
    if lowest == highest:
        raise VolumeError(f"{path}: every voxel is {lowest:g}; expected a CT volume")
    if highest - lowest > _INT16.max - _INT16.min:
        raise VolumeError(
            f"{path}: values from {lowest:g} to {highest:g}; expected a span of at most 65,535 as "
            "in any CT"
        )
    slope, intercept = 1.0, 0.0
    if not whole:
        slope = (highest - lowest) / (_INT16.max - _INT16.min)
    if not whole or lowest < _INT16.min or highest > _INT16.max:
        intercept = lowest - slope * _INT16.min
        _fill(stored, image, path, lambda slab: np.rint((slab - intercept) / slope))
    return Volume(path, grid, stored, slope, intercept, _intensity(lowest, highest))


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
    labels = _open(path)
    _check_same_shape(labels.shape[:3], path, image)
    if not header_lies:
        _check_same_grid(_grid(labels, path), path, image)
    stored = np.empty(image.grid.shape, np.uint8, order="F")

    def classes(slab: np.ndarray) -> np.ndarray:
        rounded = np.rint(slab)
        if np.abs(slab - rounded).max(initial=0) > _WHOLE:
            found = slab[np.abs(slab - rounded) > _WHOLE][0]
            raise VolumeError(f"{path}: the label {found:g} is no whole number")
        result = np.full(slab.shape, _UNDECLARED, np.uint8)
        for value, label in values.items():
            result[rounded == value] = label
        strange = rounded[result == _UNDECLARED]
        if strange.size:
            found = ", ".join(f"{value:g}" for value in np.unique(strange)[:5])
            raise VolumeError(f"{path}: holds the labels {found}; expected only {sorted(values)}")
        return result

    _fill(stored, labels, path, classes)
    return image.grid.to_axial(stored)


def write_labels(path: Path, labels: np.ndarray, image: Path) -> None:
    """Writes axial labels as a NIfTI volume on the grid of the CT volume that they belong to.

    Of the image's header only the geometry is kept, so that no name or date travels along.

    Args:
      path: the file to write, `.nii` or `.nii.gz`.
      labels: (Z, H, W) uint8, in the axial view.
      image: the CT volume's file.

    Raises:
      VolumeError: the image cannot be read, or its axial view has another shape.
    """
    source = _open(image)
    grid = _grid(source, image)
    stored = grid.from_axial(labels)
    if stored.shape != grid.shape:
        raise VolumeError(
            f"{path}: labels of axial shape {labels.shape} do not fit {image}, whose stored shape "
            f"is {grid.shape} ({grid.orientation})"
        )
    result = nib.Nifti1Image(np.asarray(stored, np.uint8), None)
    result.header.set_zooms(source.header.get_zooms()[:3])
    result.header.set_xyzt_units("mm")
    result.set_qform(*source.header.get_qform(coded=True))
    result.set_sform(*source.header.get_sform(coded=True))
    nib.save(result, path)


def _open(path: Path) -> nib.Nifti1Image:
    if not path.name.lower().endswith(SUFFIXES):
        raise VolumeError(f"{path}: not named .nii or .nii.gz; expected a NIfTI volume")
    try:
        _check_header(path)
        image = nib.load(path, mmap=False, keep_file_open=True)
    except VolumeError:
        raise
    except _DAMAGE as error:
        raise VolumeError(f"{path}: {_reason(error)}; expected a whole NIfTI volume") from error
    assert isinstance(image, nib.Nifti1Image)
    return image


def _reason(error: Exception) -> str:
    return f"unreadable or truncated ({type(error).__name__}: {error})"


def _check_header(path: Path) -> None:
    """Holds what the header claims against the file, before nibabel believes it."""
    zipped = path.name.lower().endswith(".gz")
    with gzip.open(path) if zipped else path.open("rb") as file:
        start = file.read(max(_HEADERS))
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")} & set(_HEADERS)
    if not sizes or len(start) < max(sizes):
        raise VolumeError(f"{path}: does not begin with a NIfTI header")
    size = sizes.pop()
    header = _HEADERS[size](start[:size])
    shape = header.get_data_shape()
    dtype = header.get_data_dtype()
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or not all(shape):
        raise VolumeError(f"{path}: of shape {shape}; expected one volume of three axes")
    if max(shape) > MAX_SIDE or int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
        raise VolumeError(
            f"{path}: its header claims {shape} voxels; expected at most {MAX_SIDE} a side and "
            f"{MAX_VOXELS:,} in all"
        )
    if dtype.kind not in "iuf":
        raise VolumeError(f"{path}: voxels of type {dtype}; expected real numbers")
    offset = header.get_data_offset()
    if not size <= offset <= _MAX_OFFSET:
        raise VolumeError(f"{path}: its header claims that the voxels begin at byte {offset}")
    claimed = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    present = path.stat().st_size * (_MAX_DEFLATE if zipped else 1)
    if claimed > present:
        raise VolumeError(
            f"{path}: truncated, or of an absurd size: its header claims {claimed:,} bytes, "
            f"{'more than can be packed into' if zipped else 'but there are'} "
            f"{path.stat().st_size:,}"
        )


def _grid(image: nib.Nifti1Image, path: Path) -> Grid:
    x, y, z = image.shape[:3]
    grid = Grid((x, y, z), np.asarray(image.affine, np.float64))
    if not np.isfinite(grid.affine).all() or abs(np.linalg.det(grid.affine[:3, :3])) < 1e-9:
        raise VolumeError(f"{path}: its header has no usable orientation: {grid.affine.tolist()}")
    header = image.header
    qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    if qform is None and sform is None:
        logging.warning("%s: the header has no orientation; %s assumed", path, grid.orientation)
    elif qform is not None and sform is not None:
        apart = grid.distance(Grid(grid.shape, qform))
        if apart > TOLERANCE:
            logging.warning(
                "%s: sform (%s) and qform (%s) of the header disagree by %.1f voxels; the sform "
                "is used",
                path,
                grid.orientation,
                Grid(grid.shape, qform).orientation,
                apart,
            )
    return grid


def _check_same_shape(shape: tuple[int, ...], path: Path, image: Volume) -> None:
    if shape != image.grid.shape:
        raise VolumeError(
            f"{path}: of shape {shape}, but its image {image.path} has {image.grid.shape}"
        )


def _check_same_grid(grid: Grid, path: Path, image: Volume) -> None:
    apart = image.grid.distance(grid)
    if apart > TOLERANCE:
        raise VolumeError(
            f"{path} ({grid.orientation}) lies {apart:.2g} voxels away from its image {image.path} "
            f"({image.grid.orientation}); at most {TOLERANCE} is tolerated"
        )


def _slabs(image: nib.Nifti1Image, path: Path) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the voxels in the file's order, scaled, a few stored slices at a time."""
    extra = (0,) * (len(image.shape) - 3)
    step = max(1, _SLAB // int(np.prod(image.shape[:2])))
    for start in range(0, image.shape[2], step):
        part = slice(start, start + step)
        try:
            slab = np.asarray(image.dataobj[(..., part, *extra)])
        except _DAMAGE as error:
            raise VolumeError(f"{path}: {_reason(error)}") from error
        if not np.isfinite(slab).all():
            raise VolumeError(f"{path}: holds NaN or infinite values; expected numbers only")
        yield part, slab


def _fill(stored: np.ndarray, image: nib.Nifti1Image, path: Path, convert) -> None:
    for part, slab in _slabs(image, path):
        stored[..., part] = convert(slab)


def _read_int16(image: nib.Nifti1Image, path: Path) -> tuple[np.ndarray, float, float, bool]:
    """Reads as if the values were whole numbers of 16 bits, and finds out whether they were."""
    stored = np.empty(image.shape[:3], np.int16, order="F")
    lowest, highest, whole = np.inf, -np.inf, True
    for part, slab in _slabs(image, path):
        lowest, highest = min(lowest, float(slab.min())), max(highest, float(slab.max()))
        whole = whole and (slab.dtype.kind in "iu" or bool((slab == np.rint(slab)).all()))
        stored[..., part] = np.clip(slab, _INT16.min, _INT16.max)
    return stored, lowest, highest, whole


def _intensity(lowest: float, highest: float) -> str:
    if lowest <= _AIR:
        return "hu"
    return "grey8" if lowest >= 0 and 1 < highest <= 255 else "unknown"
