"""NIfTI volumes into axial stacks and back; with `geometry`, the only place that knows the format.

Nothing is allocated before the header's claims have been held against the file. Volumes are read
slab by slab into arrays of the type that is kept, so that a file of doubles costs no more memory
than one of 16-bit integers.
"""

import io
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from absl import logging
from isal import igzip, isal_zlib
from nibabel.spatialimages import HeaderDataError

from cosup_jax.scans import intensity, nifti_write, unmeasured
from cosup_jax.scans.geometry import Grid, GridError
from cosup_jax.scans.nifti_place import FIELDS, Place, place

SUFFIXES = (".nii", ".nii.gz")
MAX_SIDE = 4096
MAX_VOXELS = 1 << 30

_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAX_EXTRA = 1 << 24  # bytes that may stand before the voxels, and after them
GZIP = b"\x1f\x8b"  # how such files start
_MAX_DEFLATE = 1032  # no gzip stream grows by more than this
_SLAB = 1 << 22  # voxels read at a time
_INT16 = np.iinfo(np.int16)
_LARGEST = 1 << 24  # up to here float32, in which the intercept is kept, has every whole number
_INFLATE = cast(type[Exception], isal_zlib.error)  # its stub takes it for an instance
# What a damaged file may raise where it is read, or the zip that it lies in.
DAMAGE = (OSError, EOFError, zlib.error, _INFLATE, ValueError, OverflowError, HeaderDataError)


class VolumeError(ValueError):
    """A file that is not the CT volume or label volume it should be; the message names it."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One CT volume.

    Attributes:
      path: the file.
      place: where its voxels lie, and what is odd about that.
      stored: int16 in the file's axis order; the true value is `stored * slope + intercept`.
      slope: 1 unless the file holds fractions.
      intercept: 0 unless the file's values do not fit int16, or an offset was taken off.
      judgement: what the values are, and what is odd about them.
    """

    path: Path
    place: Place
    stored: np.ndarray
    slope: float
    intercept: float
    judgement: intensity.Judgement

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return self.place.grid

    @property
    def intensity(self) -> str:
        """One of `hu`, `grey8` and `unknown`."""
        return self.judgement.kind

    def slices(self) -> Iterator[np.ndarray]:
        """Yields (H, W) int16 axial slices from the feet to the head, as views."""
        yield from self.grid.to_axial(self.stored)


def read_volume(path: Path, *, hu_offset: float | None = None) -> Volume:
    """Reads a CT volume of any axis order, type and scaling.

    Whole numbers are kept exactly, fractions to 1/65,535 of the volume's range. NaN around what
    the slices show is air, the lowest value that there is. Of two transforms in the header the
    sform counts, as in nibabel. What is odd is logged too.

    Args:
      path: a `.nii` or `.nii.gz` file.
      hu_offset: what is to be added to the values to make them HU; None: the values tell.

    Raises:
      VolumeError: not a NIfTI volume, truncated, of an absurd size, empty, or with values that are
        NaN within what it shows, infinite or no CT's.
    """
    header = read_header(path)
    where = place_of(header, path)
    stored, lowest, highest, whole, missing = _read_int16(header, path)
    if missing is not None and (count := unmeasured.enclosed(where.grid.to_axial(missing))):
        raise VolumeError(f"{path}: {unmeasured.refusal(count)}")
    if highest - lowest > _INT16.max - _INT16.min or max(-lowest, highest) > _LARGEST:
        raise VolumeError(
            f"{path}: values from {lowest:g} to {highest:g}; expected a span of at most 65,535 as "
            "in any CT"
        )
    if np.float32(lowest) == np.float32(highest):
        raise VolumeError(f"{path}: every voxel is {lowest:g}; expected a CT volume")
    slope, intercept = 1.0, 0.0
    if not whole:
        slope = (highest - lowest) / (_INT16.max - _INT16.min)
    if not whole or lowest < _INT16.min or highest > _INT16.max:
        intercept = lowest - slope * _INT16.min
        fill(
            *(stored, header, path),
            lambda slab: np.rint((np.nan_to_num(np.float64(slab), nan=lowest) - intercept) / slope),
            gaps=True,
        )
    elif missing is not None:
        stored[missing] = lowest
    slices = list(where.grid.to_axial(stored))
    try:
        found = intensity.judge(slices, slope, intercept, offset=hu_offset)
    except intensity.IntensityError as error:
        raise VolumeError(f"{path}: {error}") from error
    if missing is not None:
        found = replace(found, notes=(*found.notes, unmeasured.note(missing)))
    for note in (*where.notes, *found.notes):
        logging.warning("%s: %s", path, note)
    return Volume(path, where, stored, slope, intercept + found.offset, found)


def write_labels(path: Path, labels: np.ndarray, image: Path, *, step: float = 1.0) -> None:
    """Writes axial labels as a NIfTI volume on the grid of the CT volume that they belong to.

    Of the image's header only the geometry is copied, so that no name or date travels along.

    Args:
      path: the file to write, `.nii` or `.nii.gz`.
      labels: (Z, H, W) uint8, in the axial view.
      image: the CT volume's file.
      step: what the file says one stored unit is worth; 1/255 for probabilities in 0..255.

    Raises:
      VolumeError: the image cannot be read, or its axial view has another shape.
    """
    source = read_header(image)
    grid = place_of(source, image).grid
    stored = grid.from_axial(labels)
    if stored.shape != grid.shape:
        raise VolumeError(
            f"{path}: labels of axial shape {labels.shape} do not fit {image}, whose stored shape "
            f"is {grid.shape} ({grid.orientation})"
        )
    header = nib.Nifti1Header()
    for field in FIELDS:
        header[field] = source[field]
    nifti_write.write(path, stored, header, step)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns whatever a damaged file raises into an error that names it."""
    try:
        yield
    except VolumeError:
        raise
    except DAMAGE as error:
        raise VolumeError(f"{path}: unreadable or truncated: {error!r}") from error


def _is_packed(path: Path) -> bool:
    """Whether a file is packed by gzip, whatever it is called."""
    with path.open("rb") as file:
        return file.read(2) == GZIP


def _stream(path: Path) -> BinaryIO:
    return cast(BinaryIO, igzip.open(path)) if _is_packed(path) else path.open("rb")


def read_header(path: Path) -> nib.Nifti1Header:
    """Reads a header, without its extensions, and holds what it claims against the file."""
    if not path.is_file() or not path.name.lower().endswith(SUFFIXES):
        raise VolumeError(f"{path}: is no file named .nii or .nii.gz; expected a NIfTI volume")
    with _naming(path):
        with _stream(path) as file:
            start = file.read(max(_HEADERS))
        sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")} & set(_HEADERS)
        if not sizes or len(start) < max(sizes):
            raise VolumeError(f"{path}: does not begin with a NIfTI header")
        size = sizes.pop()
        header = _HEADERS[size](start[:size])
        # The library puts 1 in the place of a missing side.
        sides = _HEADERS[size](start[:size], check=False)["pixdim"][1:4]
        header["pixdim"][1:4][sides == 0] = 0
        _check_claims(header, path)
        header.set_data_shape(header.get_data_shape()[:3])
    return header


def _check_claims(header: nib.Nifti1Header, path: Path) -> None:
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if len(shape) < 3 or min(shape) < 1 or max(shape[3:], default=1) > 1:
        raise VolumeError(f"{path}: of shape {shape}; expected one volume of three axes")
    if max(shape) > MAX_SIDE or math.prod(shape) > MAX_VOXELS:
        raise VolumeError(
            f"{path}: its header claims {shape} voxels; expected at most {MAX_SIDE} a side and "
            f"{MAX_VOXELS:,} in all"
        )
    if dtype.kind not in "iuf":
        raise VolumeError(f"{path}: voxels of type {dtype}; expected real numbers")
    offset = header.get_data_offset()
    if not header.sizeof_hdr <= offset <= _MAX_EXTRA:
        raise VolumeError(f"{path}: its header claims that the voxels begin at byte {offset:,}")
    claimed, present = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if claimed > present * (_MAX_DEFLATE if _is_packed(path) else 1):
        raise VolumeError(
            f"{path}: truncated, or of an absurd size: its header claims {claimed:,} bytes, more "
            f"than can be in a file of {present:,}"
        )


def place_of(header: nib.Nifti1Header, path: Path) -> Place:
    """Returns where the voxels lie; raises `VolumeError` where the header does not say it."""
    with _naming(path):
        try:
            return place(header)
        except GridError as error:
            raise VolumeError(f"{path}: its header has no usable orientation: {error}") from error


def _slabs(
    header: nib.Nifti1Header, path: Path, *, gaps: bool
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the voxels in the file's order, scaled, a few stored slices at a time."""
    columns, rows, depth = header.get_data_shape()
    step = max(1, _SLAB // (columns * rows))
    with _naming(path), _stream(path) as file:
        voxels = nib.arrayproxy.ArrayProxy(file, header, mmap=False)
        for start in range(0, depth, step):
            part = slice(start, start + step)
            with np.errstate(all="ignore"):
                slab = np.asarray(voxels[..., part])
            if not np.isfinite(slab).all() and (not gaps or np.isinf(slab).any()):
                raise VolumeError(f"{path}: holds NaN or infinite values; expected numbers only")
            yield part, slab
        # A gzip stream ends with its checksum, which is checked on getting there.
        file.seek(_MAX_EXTRA, io.SEEK_CUR)
        if file.read(1):
            raise VolumeError(f"{path}: over {_MAX_EXTRA:,} bytes follow its last voxel")


def fill(
    stored: np.ndarray,
    header: nib.Nifti1Header,
    path: Path,
    convert: Callable,
    *,
    gaps: bool = False,
) -> None:
    """Fills an array slab by slab with what `convert` makes of a file's scaled voxels.

    NaN is refused unless `gaps`.
    """
    for part, slab in _slabs(header, path, gaps=gaps):
        stored[..., part] = convert(slab)


def _read_int16(
    header: nib.Nifti1Header, path: Path
) -> tuple[np.ndarray, float, float, bool, np.ndarray | None]:
    """Reads as if the values were whole numbers of 16 bits, and finds out whether they were.

    Returns:
      the numbers, 0 where there is none; the lowest and the highest, and whether all are whole;
      bool of the same shape, where there is none (None: nowhere).
    """
    stored = np.empty(header.get_data_shape(), np.int16, order="F")
    lowest, highest, whole, missing = np.inf, -np.inf, True, None
    for part, slab in _slabs(header, path, gaps=True):
        known = slab
        if np.isnan(slab.min()):  # which it is if any is
            gap = np.isnan(slab)
            missing = np.zeros(stored.shape, bool, order="F") if missing is None else missing
            missing[..., part] = gap
            known, slab = slab[~gap], np.nan_to_num(slab)
        if known.size:
            lowest, highest = min(lowest, float(known.min())), max(highest, float(known.max()))
            whole = whole and (known.dtype.kind in "iu" or bool((known == np.rint(known)).all()))
        stored[..., part] = np.clip(slab, _INT16.min, _INT16.max)
    if lowest > highest:
        raise VolumeError(f"{path}: holds NaN alone; expected a CT volume")
    return stored, lowest, highest, whole, missing
