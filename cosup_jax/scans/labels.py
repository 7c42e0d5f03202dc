"""Masks and label maps among scans: they lie beside a CT in many data sets, and are none.

A label map holds few whole numbers from 0 on, which no CT does, in whatever unit. Files are read
piece by piece, and no further than it takes to know.
"""

import re
from collections.abc import Iterable, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np
from isal import igzip
from PIL import Image

from cosup_jax.scans.nifti import DAMAGE, GZIP, MAX_VOXELS

_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_PIECE = 1 << 20  # voxels
_MAX_START = 1 << 24  # bytes before the voxels
_FEW, _MANY = 32, 255  # values of a label map, and of one whose name says so
_FEW_GREYS = 8
_ONE = 1 + 1e-4  # as rounded where the file scales it
_NAMED = re.compile(
    r"(^|[^a-z])(seg|segs|segmentation|segmentations|mask|masks|label|labels|gt|lesion|lesions|"
    r"infection|infections|lung|lungs|lung_?mask)([^a-z]|$)"
)
_NAMED_MAP = re.compile(r"(^|[^a-z])(probs?|probability|probabilities|heatmap|softmax)([^a-z]|$)")


def is_label_volume(file: IO[bytes], name: str) -> bool:
    """Whether a NIfTI file holds labels, or probabilities by its name; a damaged one does not.

    Args:
      file: its content, compressed or not.
      name: of the file.
    """
    most = _MANY if _NAMED.search(name.lower()) else _FEW
    is_map = bool(_NAMED_MAP.search(name.lower()))
    try:
        start = file.read(2)
        file.seek(0)
        if start == GZIP:
            with igzip.open(file) as stream:
                return _holds_labels(cast(BufferedIOBase, stream), most, is_map)
        return _holds_labels(cast(BufferedIOBase, file), most, is_map)
    except (*DAMAGE, KeyError):  # the last for voxels of a type that nobody knows
        return False


def _holds_labels(stream: BufferedIOBase, most: int, is_map: bool) -> bool:
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
    if scaled:
        most = min(most, _FEW)
    if kind.kind not in "iuf" or not size <= offset < _MAX_START:
        return False
    if not 0 < left <= MAX_VOXELS:
        return False
    stream.read(offset - size)
    seen: set[int] = set()
    while left:
        piece = stream.read(min(left, _PIECE) * kind.itemsize)
        values = np.frombuffer(piece, kind, len(piece) // kind.itemsize)
        if not values.size:
            return False
        if is_map:
            shares = values * (slope or 1.0) + (intercept or 0.0)
            if not ((shares >= 0) & (shares <= _ONE)).all():
                return False
            left -= values.size
            continue
        if not (values >= 0).all() or values.max() > _MANY:
            return False
        whole = values.astype(np.uint8)
        if kind.kind == "f" and (whole != values).any():
            return False
        seen.update(np.flatnonzero(np.bincount(whole)).tolist())
        if len(seen) > most:
            return False
        left -= values.size
    return True


def are_labels(slices: Sequence[np.ndarray], most: int = _FEW) -> bool:
    """Whether slices hold labels: 0 and from 1 to `most` other whole numbers up to 255."""
    if any(pixels.min() < 0 or pixels.max() > _MANY for pixels in slices):
        return False
    counts = np.zeros(_MANY + 1, np.int64)
    for pixels in slices:
        counts += np.bincount(pixels.ravel(), minlength=counts.size)
    return bool(counts[0]) and 1 < int(np.count_nonzero(counts)) <= most + 1


def label_pictures(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Returns the pictures that hold labels.

    These have next to no greys, and the name of each, or that of the folder of all, says it.
    """
    paths = list(paths)
    if _NAMED.search(folder.resolve().name.lower()) and all(map(_has_few_greys, paths)):
        return paths
    return [p for p in paths if _NAMED.search(p.stem.lower()) and _has_few_greys(p)]


def _has_few_greys(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):  # Pillow counts no colours of these
                return np.unique(np.asarray(picture)).size <= _FEW_GREYS
            return picture.getcolors(_FEW_GREYS) is not None
    # Pillow raises whatever the bytes provoke.
    except Exception:
        return False


def are_masks(slices: Sequence[np.ndarray]) -> list[bool]:
    """Returns for each slice whether it holds from 2 to 8 values, as masks do and no CT does.

    Slices of one value may be either: if all others are masks, they are empty ones, or else none.

    Args:
      slices: (H, W) whole numbers each.
    """
    kinds = [np.flatnonzero(np.bincount(pixels.ravel())) for pixels in slices]
    few = [1 < kind.size <= _FEW_GREYS for kind in kinds]
    together = {value for kind in kinds for value in kind[: _FEW_GREYS + 1]}
    return [True] * len(few) if any(few) and len(together) <= _FEW_GREYS else few


def is_grey(path: Path) -> bool:
    """Whether a picture is of one channel, as slices are; one that cannot be opened is not."""
    try:
        with Image.open(path) as picture:
            return picture.mode in ("L", "I", "I;16", "I;16B", "I;16L", "F")
    except Exception:
        return False
