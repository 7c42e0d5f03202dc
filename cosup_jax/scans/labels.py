"""Masks and label maps among scans: they lie beside a CT in many data sets, and are none.

A label map holds few whole numbers from 0 on, which no CT does, in whatever unit. Files are read
piece by piece, and no further than it takes to know.
"""

import gzip
import re
import zlib
from collections.abc import Iterable
from io import BufferedIOBase
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from PIL import Image

from cosup_jax.scans.nifti import MAX_VOXELS

_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_PIECE = 1 << 20  # voxels
_MAX_START = 1 << 24  # bytes before the voxels
_FEW, _MANY = 32, 255  # values of a label map, and of one whose name says so
_FEW_GREYS = 8
_NAMED = re.compile(
    r"(^|[^a-z])(seg|segs|segmentation|segmentations|mask|masks|label|labels|gt|lesion|lesions|"
    r"infection|infections|lung|lungs|lung_?mask)([^a-z]|$)"
)
_DAMAGE = (OSError, EOFError, zlib.error, ValueError, OverflowError, HeaderDataError)


def is_label_volume(file: IO[bytes], name: str) -> bool:
    """Whether a NIfTI file holds labels; one that cannot be read does not.

    Args:
      file: its content, compressed or not.
      name: of the file.
    """
    most = _MANY if _NAMED.search(name.lower()) else _FEW
    try:
        start = file.read(2)
        file.seek(0)
        if start == b"\x1f\x8b":
            with gzip.open(file) as stream:
                return _holds_labels(cast(BufferedIOBase, stream), most)
        return _holds_labels(cast(BufferedIOBase, file), most)
    except _DAMAGE:
        return False


def _holds_labels(stream: BufferedIOBase, most: int) -> bool:
    first = stream.read(4)
    size = int.from_bytes(first, "little")
    size = size if size in _HEADERS else int.from_bytes(first, "big")
    if size not in _HEADERS:
        return False
    header = _HEADERS[size](first + stream.read(size - 4), check=False)
    slope, intercept = header.get_slope_inter()
    offset, kind = int(header.get_data_offset()), header.get_data_dtype()
    left = int(np.prod(header.get_data_shape(), dtype=np.float64))
    scaled = slope not in (None, 1.0) or intercept not in (None, 0.0)
    if scaled or kind.kind not in "iuf" or not size <= offset < _MAX_START:
        return False
    if not 0 < left <= MAX_VOXELS:
        return False
    stream.read(offset - size)
    seen: set[int] = set()
    while left:
        piece = stream.read(min(left, _PIECE) * kind.itemsize)
        values = np.frombuffer(piece, kind, len(piece) // kind.itemsize)
        if not values.size or not (values >= 0).all() or values.max() > _MANY:
            return False
        whole = values.astype(np.uint8)
        if kind.kind == "f" and (whole != values).any():
            return False
        seen.update(np.flatnonzero(np.bincount(whole)).tolist())
        if len(seen) > most:
            return False
        left -= values.size
    return True


def are_label_pictures(folder: Path, paths: Iterable[Path]) -> bool:
    """Whether a folder's name says that it holds labels, and its pictures hold next to no greys."""
    if not _NAMED.search(folder.resolve().name.lower()):
        return False
    for path in paths:
        try:
            with Image.open(path) as picture:
                colours = picture.getcolors(_FEW_GREYS)
        # Pillow raises whatever the bytes provoke.
        except Exception:
            return False
        if colours is None:
            return False
    return True


def is_grey(path: Path) -> bool:
    """Whether a picture is of one channel, as slices are; one that cannot be opened is not."""
    try:
        with Image.open(path) as picture:
            return picture.mode in ("L", "I", "I;16", "I;16B", "I;16L", "F")
    except Exception:
        return False
