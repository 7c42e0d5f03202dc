"""Masks and label maps among scans: they lie beside a CT in many data sets, and are none.

A label map holds few whole numbers from 0 on, or up to 255 that come in runs, which no CT does, in
whatever unit. Files are read piece by piece, and no further than it takes to know.
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
_FEW, _MANY = 32, 255  # values of any label map, and of one whose values come in runs
_RUNS = 0.8  # of voxels with the next one's value; of a CT in 8 bits, smoothed ones too, to 0.7
_CLIPPED = 2  # commonest values that may be those of a CT's background, and come in runs there too
_FEW_GREYS = 8
_SOFT = 0.05  # of a mask that was scaled or smoothed is neither of its two values
_ONE = 1 + 1e-4  # as rounded where the file scales it
_NAMED = re.compile(
    r"(^|[^a-z])([a-z]*segs?|segmentation|segmentations|mask|masks|label|[a-z]*labels|gt|lesion|lesions|"
    r"infection|infections|lung|lungs|lung_?mask)([^a-z]|$)"
)
_NAMED_MAP = re.compile(r"(^|[^a-z])(probs?|probability|probabilities|heatmap|softmax)([^a-z]|$)")


class _Values:
    """The whole numbers up to 255 of a volume, and how often the next voxel in a row is equal."""

    def __init__(self) -> None:
        self.counts, self._pairs, self._equal = np.zeros((3, _MANY + 1), np.int64)

    def add(self, rows: np.ndarray) -> None:
        """Counts uint8 rows of voxels, along the last axis."""
        here, equal = rows[..., :-1], rows[..., :-1] == rows[..., 1:]
        for counts, values in (
            (self.counts, rows),
            (self._pairs, here),
            (self._equal, here[equal]),
        ):
            counts += np.bincount(values.ravel(), minlength=_MANY + 1)

    def may_be_labels(self, *, named: bool) -> bool:
        """Whether they are few, or come in runs, which no CT's noise has.

        Args:
          named: the name says that they are labels; else two values that a window may have clipped
            a CT to, and 0, are no evidence.
        """
        if np.count_nonzero(self.counts) <= _FEW + 1:
            return True
        pairs = self._pairs[1:]
        asked = np.argsort(pairs)[: None if named else -_CLIPPED]
        return bool(self._equal[1:][asked].sum() > _RUNS * pairs[asked].sum())


def is_label_volume(file: IO[bytes], name: str) -> bool:
    """Whether a NIfTI file holds labels, or probabilities by its name; a damaged one does not.

    Args:
      file: its content, compressed or not.
      name: of the file.
    """
    try:
        start = file.read(2)
        file.seek(0)
        if start == GZIP:
            with igzip.open(file) as stream:
                return _holds_labels(cast(BufferedIOBase, stream), name.lower())
        return _holds_labels(cast(BufferedIOBase, file), name.lower())
    except (*DAMAGE, KeyError):  # the last for voxels of a type that nobody knows
        return False


def _holds_labels(stream: BufferedIOBase, name: str) -> bool:
    first = stream.read(4)
    size = int.from_bytes(first, "little")
    size = size if size in _HEADERS else int.from_bytes(first, "big")
    if size not in _HEADERS:
        return False
    header = _HEADERS[size](first + stream.read(size - 4), check=False)
    slope, intercept = header.get_slope_inter()
    offset, kind = int(header.get_data_offset()), header.get_data_dtype()
    left = int(np.prod(header.get_data_shape(), dtype=np.float64))
    if kind.kind not in "iuf" or not size <= offset < _MAX_START:
        return False
    if not 0 < left <= MAX_VOXELS:
        return False
    stream.read(offset - size)
    scaled = slope not in (None, 1.0) or intercept not in (None, 0.0)
    named, is_map = bool(_NAMED.search(name)) and not scaled, bool(_NAMED_MAP.search(name))
    seen = _Values()
    while left:
        piece = stream.read(min(left, _PIECE) * kind.itemsize)
        values = np.frombuffer(piece, kind, len(piece) // kind.itemsize)
        if not values.size:
            return False
        left -= values.size
        if is_map:
            shares = values * (slope or 1.0) + (intercept or 0.0)
            if not ((shares >= 0) & (shares <= _ONE)).all():
                return False
            continue
        if not (values >= 0).all() or values.max() > _MANY:
            return False
        whole = values.astype(np.uint8)
        if kind.kind == "f" and (whole != values).any():
            return False
        seen.add(whole)
        if not seen.may_be_labels(named=named):
            return False
    return True


def are_labels(slices: Sequence[np.ndarray]) -> bool:
    """Whether slices hold labels: 0 and others of the whole numbers to 255, few or in runs.

    Args:
      slices: (H, W) whole numbers each.
    """
    if any(pixels.min() < 0 or pixels.max() > _MANY for pixels in slices):
        return False
    seen = _Values()
    for pixels in slices:
        seen.add(pixels.astype(np.uint8))
    several = bool(seen.counts[0]) and bool(seen.counts[1:].any())
    return several and seen.may_be_labels(named=False)


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
    """Returns for each slice whether it is like a mask.

    That is from 2 to 8 values, or two that fill it but for soft borders. Slices of one value may be
    empty masks: they are, where all others are masks.

    Args:
      slices: (H, W) real numbers each.
    """
    alike, flat = [], []
    for pixels in slices:
        if pixels.dtype.itemsize > 2:  # as many bins as there are numbers would not fit
            counts = np.unique(pixels, return_counts=True)[1]
        else:
            counts = np.bincount(pixels.ravel().astype(np.int64) - pixels.min())
        counts = np.sort(counts[counts > 0])
        rest = counts[:-2].sum()
        soft = len(counts) > 1 and rest < min(_SOFT * pixels.size, counts[-2])
        flat.append(len(counts) == 1)
        alike.append(bool(soft) or 1 < len(counts) <= _FEW_GREYS)
    only = any(alike) and all(a or b for a, b in zip(alike, flat, strict=True))
    return [True] * len(alike) if only else alike


def is_grey(path: Path) -> bool:
    """Whether a picture is of one channel, as slices are; one that cannot be opened is not."""
    try:
        with Image.open(path) as picture:
            return picture.mode in ("L", "I", "I;16", "I;16B", "I;16L", "F")
    except Exception:
        return False
