"""One DICOM file as a stream: where it begins, how much of it may be read, how it is inflated."""

import io
import struct
import zlib
from typing import Any

from cosup_jax.scans.nifti import MAX_VOXELS, VolumeError

MAX_FILE_BYTES = 1 << 26  # a slice of 4096 × 4096 voxels of 16 bits, and as much again
MAX_FRAMES_BYTES = 2 * MAX_VOXELS + MAX_FILE_BYTES  # of a file with many slices

_PREAMBLE, _MAGIC = 128, b"DICM"
START = _PREAMBLE + len(_MAGIC) + 8  # bytes that tell what a file is
# Without a preamble a file begins with one of these groups: file meta, or the data set itself.
_FIRST_GROUPS = (0x0002, 0x0008)
_LAST_FIRST_ELEMENT = 0x0060
_MAX_SWELL = 16  # a file of many slices is no more than this many times larger than in the zip


class Budget:
    """How many pieces of one file may still be read, so that one of millions of elements ends."""

    def __init__(self, reads: int) -> None:
        self._left = reads

    def allow(self, reads: int) -> None:
        """Adds to what may be read."""
        self._left += reads

    def spend(self) -> None:
        """Counts one piece.

        Raises:
          VolumeError: none is left.
        """
        self._left -= 1
        if self._left < 0:
            raise VolumeError("a header of more elements than any image has")


class Bounded(io.BufferedReader):
    """A file that is read in pieces, of which only so many may be read."""

    name = ""  # pydicom keeps it

    def __init__(self, raw: Any, budget: Budget) -> None:
        super().__init__(raw)
        self._budget = budget

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns at most `size` bytes, and spends one piece of the budget."""
        self._budget.spend()
        return super().read(size)


def begins_like(start: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `start` may be DICOM.

    That is the magic word behind a preamble, or, without one, a first element of a group in which
    DICOM files begin, with a type in two letters or a length that fits the file. The word alone may
    be lost too.
    """
    return begins_at(start, size) is not None


def begins_at(start: bytes, size: int) -> int | None:
    """Returns at which byte of a file that begins with `start` pydicom is to begin, or None.

    Args:
      start: the first `START` bytes.
      size: of the file; None is returned where it is no DICOM.
    """
    if start[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC or _is_first(start, size):
        return 0
    if start[: len(_MAGIC)] == _MAGIC and _is_first(start[len(_MAGIC) :], size):
        return len(_MAGIC)
    for begin in (_PREAMBLE, _PREAMBLE + len(_MAGIC)):
        element = start[begin:]
        if _is_first(element, size) and element[4:6].isalpha():
            return begin
    return None


def _is_first(element: bytes, size: int) -> bool:
    if len(element) < 8:
        return False
    for group, number in (struct.unpack_from(form, element) for form in ("<HH", ">HH")):
        if group in _FIRST_GROUPS and number <= _LAST_FIRST_ELEMENT:
            named = element[4:6].isalpha() and element[4:6].isupper()
            return named or int.from_bytes(element[4:8], "little") <= size - 8
    return False


def inflated(file: Bounded, size: int, budget: Budget) -> Bounded:
    """Returns the rest of a deflated file as it was before.

    Args:
      file: where its deflated part begins.
      size: of the file in bytes.
      budget: of pieces that may be read of it.

    Raises:
      VolumeError: damaged, or of more bytes than a file can have.
    """
    most = most_bytes(size)
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpack.decompress(file.read(), most)
    except zlib.error as error:
        raise VolumeError("deflated, and damaged") from error
    if not unpack.eof:
        cut = not unpack.unconsumed_tail
        raise VolumeError("deflated, and cut off" if cut else f"deflated from over {most:,} bytes")
    return Bounded(io.BytesIO(content), budget)


def most_bytes(packed: int) -> int:
    """Returns how many bytes may become of so many packed ones."""
    return min(MAX_FRAMES_BYTES, max(MAX_FILE_BYTES, _MAX_SWELL * packed))
