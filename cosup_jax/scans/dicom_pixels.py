"""The pixels of one CT image: claims of its header held against the file, and values in HU."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import get_decoder, pixel_array

from cosup_jax.scans import codestreams, dicom_headers, rescale
from cosup_jax.scans.histogram import AIR
from cosup_jax.scans.intensity import IntensityError
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.rescale import Rescale

_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_LOSSLESS = (
    *(uid.RLELossless, uid.JPEGLossless, uid.JPEGLosslessSV1),
    *(uid.JPEGLSLossless, uid.JPEG2000Lossless),
)
_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000)
_FAMILIES = {
    uid.RLELossless: codestreams.RLE,
    uid.JPEG2000Lossless: codestreams.JPEG_2000,
    uid.JPEG2000: codestreams.JPEG_2000,
}
_INVERTED = "MONOCHROME1"
# The kinds of pixels that the standard names; an unknown one is not repeated in a message.
_KINDS = (
    *(_INVERTED, "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"),
    *("YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420"),
)
_TOO_MANY_SET = 0.1  # of the pixels; fewer have bits of an overlay that no header declares


class Read(NamedTuple):
    """The values of one image.

    Attributes:
      values: (rows, columns) int16 in HU.
      scale: how its header makes HU.
      lossy: whether compression has changed them.
      inverted: whether they are meant to be shown with 0 as white.
      shifted: whether the numbers were stored in the upper bits.
      undecided: whether they are so small that only other images of the series tell.
      measured: whether what the header calls padding are values like their neighbours.
    """

    values: np.ndarray
    scale: Rescale
    lossy: bool = False
    inverted: bool = False
    shifted: bool = False
    undecided: bool = False
    measured: bool = False


def notes(images: Sequence[Read]) -> list[str]:
    """Returns what the user should know of the pixels of a series."""
    texts = {
        "are compressed with loss": sum(image.lossy for image in images),
        "are meant to be shown with white as 0 (MONOCHROME1), which changes no value": sum(
            image.inverted for image in images
        ),
        "store their numbers in the upper bits (HighBit); they were shifted down": sum(
            image.shifted for image in images
        ),
        "call values padding (PixelPaddingValue) that are as common as their neighbours; they were "
        "taken as measured": sum(image.measured for image in images),
    }
    return [f"{count} of {len(images)} images {text}" for text, count in texts.items() if count]


def check(image: pydicom.Dataset, rows: int, columns: int, frame: int | None) -> None:
    """Refuses pixels that are none of a CT, or not those that the header claims.

    Args:
      image: a file.
      rows: as its header claims.
      columns: the same.
      frame: the one that is asked for, or None of a file of one slice.

    Raises:
      VolumeError: saying what is wrong.
    """
    _complete(image)
    frames = int(image.get("NumberOfFrames") or 1)
    kind, samples = image.get("PhotometricInterpretation"), image.get("SamplesPerPixel")
    if frames != 1 and frame is None:
        raise VolumeError(
            f"{frames} frames in one file without the functional groups of an enhanced CT, which "
            "alone say where each of them lies"
        )
    # By the standard the rescale gives HU of either kind; they differ in how they are shown.
    if kind not in (_INVERTED, "MONOCHROME2") or samples != 1:
        shown = kind if kind in _KINDS else "of an unknown kind"
        raise VolumeError(
            f"samples and kind of its pixels are ({samples}, {shown}); expected 1, MONOCHROME2"
        )
    if image.BitsAllocated not in (8, 16) or not 0 < image.BitsStored <= image.BitsAllocated:
        raise VolumeError(
            f"{image.BitsStored} of {image.BitsAllocated} bits a pixel; expected 8 or 16"
        )
    bytes_claimed = rows * columns * image.BitsAllocated // 8
    syntax = image.file_meta.TransferSyntaxUID
    if syntax in _NATIVE:
        if len(image.PixelData) < bytes_claimed * frames:
            raise VolumeError(
                f"truncated: {len(image.PixelData):,} bytes of pixels; its header claims "
                f"{bytes_claimed * frames:,}"
            )
        # A byte makes the length even, and zeros may fill a block.
        if any(image.PixelData[bytes_claimed * frames + 1 :]):
            raise VolumeError(
                f"{len(image.PixelData):,} bytes of pixels, but its header claims "
                f"{bytes_claimed * frames:,}: rows, columns or bits are others"
            )
        return
    if syntax not in (*_LOSSLESS, *_LOSSY):
        known = uid.UID(syntax).name
        shown = repr(known) if known != syntax else "that nobody knows"
        raise VolumeError(f"of transfer syntax {shown}, which is not read")
    if not get_decoder(syntax).is_available:
        raise VolumeError(
            f"compressed as {syntax.name!r}, for which there is no decoder here; install one "
            "with: pip install 'cosup-jax[dicom]'"
        )
    family = _FAMILIES.get(syntax, codestreams.JPEG)
    stream = pydicom.encaps.get_frame(image.PixelData, frame or 0, number_of_frames=frames)
    codestreams.check(stream, family, (rows, columns), bytes_claimed)


def _complete(image: pydicom.Dataset) -> None:
    """Fills in what a header lacks where one value alone can be meant, and refuses the rest."""
    for name in ("BitsAllocated", "PixelRepresentation"):
        if image.get(name) is None:
            raise VolumeError(f"without {name}, which alone says what its pixels are")
    bits = image.get("BitsStored") or image.BitsAllocated
    meant = {"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1, "BitsStored": bits}
    for name, value in (meant | {"HighBit": bits - 1}).items():
        if image.get(name) in (None, ""):
            setattr(image, name, value)


def hounsfield(
    header: pydicom.Dataset,
    file: pydicom.Dataset,
    frame: int | None,
    offset: float | None = None,
    upper: bool | None = None,
) -> Read:
    """Returns the values of a frame that `check` has let pass.

    Args:
      header: of the frame; of a file of one slice that of the file.
      file: with its pixels.
      frame: as for `check`.
      offset: what the user says is to be added.
      upper: whether those that are undecided lie in the upper bits, or None if nobody knows yet.

    Raises:
      VolumeError: they are no HU, or not where the header says.
    """
    pixels = pixel_array(file, index=frame)
    try:
        scale = rescale.read(header)
        raw = _raw(file, frame, pixels.shape, scale.signed)
        shifted, undecided = False, False
        if raw is not None:
            low, undecided = _lowest_bit(raw, file, scale, upper)
            shifted = low > 0
            if shifted:
                pixels = (raw >> low).astype(pixels.dtype)
            elif not undecided:
                _check_bits(pixels, raw, file, scale)
        if shifted or not scale.needs_all_bits:
            raw = None
        known = scale.cut_to(pixels) if raw is None else scale
        measured = rescale.padding_is_measured(pixels if raw is None else raw, known)
        values = rescale.hounsfield(pixels, known, raw=raw, offset=offset, padded=not measured)
    except IntensityError as error:
        raise VolumeError(str(error)) from error
    inverted = file.get("PhotometricInterpretation") == _INVERTED
    return Read(values, scale, _is_lossy(header, file), inverted, shifted, undecided, measured)


def _is_lossy(header: pydicom.Dataset, file: pydicom.Dataset) -> bool:
    """Whether compression has changed the values, now or before they were unpacked again."""
    said = dicom_headers.text(header, "LossyImageCompression")
    # JPEG 2000 of this syntax may be without loss.
    may_be = said == "00" and file.file_meta.TransferSyntaxUID == uid.JPEG2000
    return said == "01" or (file.file_meta.TransferSyntaxUID in _LOSSY and not may_be)


def _raw(
    file: pydicom.Dataset, frame: int | None, shape: tuple[int, ...], signed: bool
) -> np.ndarray | None:
    """Returns pixels with all their allocated bits; None of compressions that keep other bits."""
    syntax = file.file_meta.TransferSyntaxUID
    if syntax == uid.RLELossless:
        return pixel_array(file, index=frame, correct_unused_bits=False)
    if syntax not in _NATIVE:
        return None
    size = int(file.BitsAllocated) // 8
    kind = np.dtype(f"{'>' if syntax == _NATIVE[-1] else '<'}{'i' if signed else 'u'}{size}")
    count = int(np.prod(shape))
    start = (frame or 0) * count * size
    return np.frombuffer(file.PixelData, kind, count, start).reshape(shape)


def _lowest_bit(
    raw: np.ndarray, file: pydicom.Dataset, scale: Rescale, upper: bool | None
) -> tuple[int, bool]:
    """Returns in which bit the numbers begin, and whether that is undecided (see `Read`)."""
    allocated, stored = scale.bits
    high = dicom_headers.numbers(file, "HighBit")
    low = int(high[0]) + 1 - stored if high else 0
    if not 0 < low <= allocated - stored:
        return 0, False
    bits = _unsigned(raw, allocated)
    free = ((1 << low) - 1) & ~_overlays(file)
    if not free or (bits & free).any():
        return 0, False
    if upper or bits.max() >> stored:
        return low, False
    return 0, upper is None


def _unsigned(raw: np.ndarray, allocated: int) -> np.ndarray:
    return raw.astype(np.int64) & ((1 << allocated) - 1)


def _check_bits(pixels: np.ndarray, raw: np.ndarray, file: pydicom.Dataset, scale: Rescale) -> None:
    """Refuses numbers that lie neither where the header says nor at the bottom."""
    allocated, stored = scale.bits
    if stored == allocated:
        return
    bits = _unsigned(raw, allocated)
    overlays = _overlays(file) >> stored
    above = (bits >> stored) & ~overlays
    if scale.signed and not above.any() and scale.intercept <= AIR:
        wrapped = np.unique(pixels[pixels < 0])
        # Bone comes next to the largest signed number, air next to 0; a single value is padding.
        bone = np.count_nonzero(wrapped < -(1 << stored) // 4)
        if wrapped.size > 1 and 2 * bone > wrapped.size:
            raise VolumeError(
                f"signed by its PixelRepresentation, but the numbers from {1 << (stored - 1):,} on "
                f"look unsigned: as negative ones they would lie down to "
                f"{wrapped[0] * scale.slope + scale.intercept:g} HU"
            )
    # Of a negative number all bits above may be set, or none.
    odd = (above != 0) & (above != (1 << (allocated - stored)) - 1 & ~overlays)
    if scale.padding is not None:
        first, last = scale.ends
        odd &= (raw < first) | (raw > last)
    if odd.mean() > _TOO_MANY_SET:
        raise VolumeError(
            f"BitsStored is {stored}, but {100 * odd.mean():.0f} % of its pixels have bits set "
            "above, and no overlay is declared there"
        )


def _overlays(file: pydicom.Dataset) -> int:
    """Returns the bits of a stored number in which the header declares overlays, all others 0."""
    found = 0
    for tag in dicom_headers.OVERLAY_BITS:
        if tag in file and isinstance(file[tag].value, int) and 0 <= file[tag].value < 16:
            found |= 1 << file[tag].value
    return found
