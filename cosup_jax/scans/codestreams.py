"""What a compressed picture says of its own size, read before a decoder allocates for it.

A decoder believes the compressed stream, not the DICOM header around it.
"""

import struct

from cosup_jax.scans.nifti import VolumeError

RLE, JPEG, JPEG_2000 = "RLE", "JPEG", "JPEG 2000"

_START_JPEG, _START_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Start of frame, of JPEG (without the markers DHT, JPG and DAC in between) and of JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
# Compressed, a picture may be this many times larger than raw, and this many bytes more; so RLE,
# which makes at most 128 bytes of two, is bounded as well.
_MAX_SWELL, _SLACK = 2, 1 << 16


def check(stream: bytes, family: str, size: tuple[int, int], claimed: int) -> None:
    """Refuses a stream that is not of the size its DICOM header claims.

    Args:
      stream: one compressed frame.
      family: `RLE`, `JPEG` (JPEG-LS too) or `JPEG_2000`.
      size: (rows, columns) of the header.
      claimed: bytes of the raw frame.

    Raises:
      VolumeError: another size, more bytes than any frame of it can need, or no such stream.
    """
    if len(stream) > _MAX_SWELL * claimed + _SLACK:
        raise VolumeError(f"{len(stream):,} compressed bytes for a frame of {claimed:,}")
    if family == RLE:
        return
    try:
        found = _jpeg_2000(stream) if family == JPEG_2000 else _jpeg(stream)
    except (struct.error, IndexError) as error:
        raise VolumeError(f"its pixels are no whole {family} stream") from error
    if found != (*size, 1):
        rows, columns, samples = found
        raise VolumeError(
            f"its {family} stream claims {columns} × {rows} pixels of {samples} samples; its "
            f"header {size[1]} × {size[0]} of 1"
        )


def _jpeg(stream: bytes) -> tuple[int, int, int]:
    """Returns rows, columns and samples of the first frame header."""
    if not stream.startswith(_START_JPEG):
        raise VolumeError("its pixels do not begin as a JPEG stream")
    at = len(_START_JPEG)
    while True:
        if stream[at] != 0xFF:
            raise VolumeError("its JPEG stream has no frame header")
        marker = stream[at + 1]
        if marker in _FRAMES:
            return struct.unpack_from(">HHB", stream, at + 5)
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + struct.unpack_from(">H", stream, at + 2)[0]


def _jpeg_2000(stream: bytes) -> tuple[int, int, int]:
    """Returns rows, columns and components of the size marker, which comes first."""
    if not stream.startswith(_START_2000):
        raise VolumeError("its pixels do not begin as a JPEG 2000 stream")
    right, bottom, left, top = struct.unpack_from(">IIII", stream, 8)
    components = struct.unpack_from(">H", stream, 40)[0]
    return bottom - top, right - left, components
