"""PNG, TIFF and JPEG slices into arrays; the only file that opens one.

Pillow is lenient: it drops the low byte of 16-bit colour, turns some files upright and not others,
and reads the first page of many. Whatever would change a grey value silently is refused here, and
nothing is decoded before the size that the header claims has been checked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

MAX_SIDE = 4096
MASK_SUFFIXES = (".png", ".tif", ".tiff")
IMAGE_SUFFIXES = (*MASK_SUFFIXES, ".jpg", ".jpeg")
JPEG_MASK = (
    "a mask cannot be a JPEG, whose compression changes the values around every border; "
    "save it as PNG or TIFF"
)

_FORMATS = ("PNG", "TIFF", "JPEG")
_LOSSY_IN_TIFF = ("jpeg", "tiff_jpeg", "webp")
_GREY_MODES = ("L", "I;16", "I;16L", "I;16B", "I;16N")
_MASK_MODES = (*_GREY_MODES, "P", "1", "RGB")
_IMAGE_MODES = (*_GREY_MODES, "RGB", "RGBA", "LA", "P")
_SLICE_MODES = (*_IMAGE_MODES, "I", "F")
# Of 16 and 32 bits with a sign, and of floating-point numbers; those of the other byte order.
_LITTLE, _BIG = ("I;16S", "I;32S", "F;32F"), ("I;16BS", "I;32BS", "F;32BF")
_OPAQUE = 255
_ORIENTATION_TAG, _UPRIGHT = 0x0112, 1
_PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT_TAG, _WITH_SIGN = 339, 2
_BITS_TAG = 258
_UNDECLARED = 255
_FULL = "cosup_jax full value"


class ImageError(ValueError):
    """A file that is not the 8- or 16-bit grey picture it should be; the message names it."""


def read_grey(path: Path) -> np.ndarray:
    """Reads a CT slice without loss.

    Args:
      path: an 8- or 16-bit grey PNG or TIFF, or an 8-bit grey JPEG. Colours, of a palette too, are
        taken only where red, green and blue are equal, and transparency where there is none.

    Returns:
      (H, W) uint8 or uint16 grey values.

    Raises:
      ImageError: unreadable, truncated, coloured, rotated by a tag, of several pages, of another
        depth, or larger than `MAX_SIDE` a side.
    """
    return _decode(path, _IMAGE_MODES)


def read_slice(path: Path) -> np.ndarray:
    """Reads a CT slice as `read_grey` does, or of a TIFF whose numbers may be HU.

    Returns:
      (H, W) uint8 or uint16, or of such a TIFF int16, int32 or float32, finite.

    Raises:
      ImageError: as `read_grey`.
    """
    return _decode(path, _SLICE_MODES)


def read_codes(path: Path) -> np.ndarray:
    """Reads the stored values of a mask: palette indices, grey values, or 0 and 255 of one bit.

    Args:
      path: a PNG or TIFF, 1-, 8- or 16-bit grey or with a palette.

    Returns:
      (H, W) uint8 or uint16.

    Raises:
      ImageError: as `read_grey`, and for a JPEG whatever its name says.
    """
    return _decode(path, _MASK_MODES)


def read_map(path: Path) -> tuple[np.ndarray, str]:
    """Reads a saved map: grey values, or 0 and 255 of one bit. See `read_grey`.

    Returns:
      (H, W) uint8 or uint16; and what the file says to be the value of a certain infection, as
      `write_map` says it, or nothing.
    """
    said: dict[Any, Any] = {}
    codes = _decode(path, (*_GREY_MODES, "1"), said)
    return codes, str(said.get(_FULL, ""))


def write_map(grey: np.ndarray, file: BinaryIO) -> None:
    """Writes a map (H, W) uint8 as PNG, in which 255 is said to be a certain infection."""
    said = PngImagePlugin.PngInfo()
    said.add_text(_FULL, "255")
    Image.fromarray(grey).save(file, "PNG", pnginfo=said)


def read_labels(path: Path, values: Mapping[int, int]) -> np.ndarray:
    """Reads a mask whose values have been declared.

    Args:
      path: as for `read_codes`.
      values: stored value (0..65535) to class (0..254).

    Returns:
      (H, W) uint8 classes.

    Raises:
      ImageError: as `read_codes`, and for a value that is not declared.
    """
    table = np.full(1 << 16, _UNDECLARED, np.uint8)
    for stored, label in values.items():
        table[stored] = label
    codes = read_codes(path)
    labels = table[codes]
    strange = labels == _UNDECLARED
    if strange.any():
        found, counts = np.unique(codes[strange], return_counts=True)
        shown = ", ".join(f"{v} ({n} px)" for v, n in list(zip(found, counts, strict=True))[:5])
        raise ImageError(
            f"{path}: the mask holds {found.size} undeclared value(s): {shown}; "
            f"expected only {sorted(values)} (mask_values declares what each value means)"
        )
    return labels


def check_same_size(image: np.ndarray, labels: np.ndarray, image_path: Path, path: Path) -> None:
    """Refuses a mask of another size than its image.

    Raises:
      ImageError: naming both files and both sizes.
    """
    if image.shape != labels.shape:
        raise ImageError(
            f"{path}: {_size(labels)} pixels, but its image {image_path} has {_size(image)}; "
            "expected the same width and height"
        )


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"


def _decode(path: Path, modes: tuple[str, ...], said: dict[Any, Any] | None = None) -> np.ndarray:
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            _check_header(picture, path, modes)
            picture.load()
            if said is not None:
                said.update(picture.info)
            grey = _grey(picture, path, keep_codes=modes is _MASK_MODES)
            return _with_sign(grey, path, modes) if _is_signed_byte(picture) else grey
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: {error}; {_size_limit()}") from error
    # Pillow raises nearly every built-in exception on damaged files.
    except Exception as error:
        raise ImageError(
            f"{path}: unreadable or truncated ({type(error).__name__}: {error}); "
            "expected a whole PNG, TIFF or JPEG file"
        ) from error


def _size_limit() -> str:
    return f"expected at most {MAX_SIDE} x {MAX_SIDE} pixels"


def _check_header(picture: Image.Image, path: Path, modes: tuple[str, ...]) -> None:
    if max(picture.size) > MAX_SIDE:
        width, height = picture.size
        raise ImageError(f"{path}: its header claims {width} x {height} pixels; {_size_limit()}")
    is_mask = modes is _MASK_MODES
    lossy = picture.format == "JPEG" or picture.info.get("compression") in _LOSSY_IN_TIFF
    if is_mask and lossy:
        raise ImageError(f"{path}: {JPEG_MASK}")
    if getattr(picture, "n_frames", 1) > 1:
        raise ImageError(f"{path}: holds several pages or frames; expected one slice per file")
    if picture.mode not in modes or (picture.mode in ("I", "F") and not _is_read_right(picture)):
        raise ImageError(f"{path}: pixels of kind {picture.mode!r}; {_wanted(is_mask)}")
    if picture.mode in ("RGB", "RGBA", "LA") and ";16" in _raw_mode(picture):
        raise ImageError(f"{path}: 16-bit colour, which cannot be read whole; {_wanted(is_mask)}")
    if picture.mode.startswith("I;16") and _white_is_zero(picture):
        raise ImageError(f"{path}: 16-bit grey stored with white as 0; expected black as 0")
    turned = picture.getexif().get(_ORIENTATION_TAG, _UPRIGHT)
    if turned != _UPRIGHT:
        raise ImageError(f"{path}: a tag turns it (orientation {turned}); expected it upright")


def _wanted(is_mask: bool) -> str:
    return f"expected 8- or 16-bit grey{' or palette indices' if is_mask else ''}"


def _raw_mode(picture: Image.Image) -> str:
    tiles = getattr(picture, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _is_read_right(picture: Image.Image) -> bool:
    """Whether Pillow reads numbers with a sign right: it swaps packed big-endian bytes."""
    raw, packed = _raw_mode(picture), picture.info.get("compression") != "raw"
    return raw in _LITTLE or (raw in _BIG and not packed)


def _is_signed_byte(picture: Image.Image) -> bool:
    """Whether it has 8 signed bits, which Pillow takes for unsigned ones."""
    formats = getattr(picture, "tag_v2", {}).get(_SAMPLE_FORMAT_TAG, ())
    return picture.mode == "L" and _WITH_SIGN in formats


def _with_sign(codes: np.ndarray, path: Path, modes: tuple[str, ...]) -> np.ndarray:
    """Returns signed bytes, which were read as uint8, as int16 where a slice may have a sign."""
    values = codes.view(np.int8)
    if modes is _SLICE_MODES:
        return values.astype(np.int16)
    if values.min() < 0:
        raise ImageError(
            f"{path}: signed 8-bit pixels down to {values.min()}; {_wanted(modes is _MASK_MODES)}"
            " without a sign"
        )
    return codes


def _white_is_zero(picture: Image.Image) -> bool:
    tags = getattr(picture, "tag_v2", {})
    return tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO


def _grey(picture: Image.Image, path: Path, *, keep_codes: bool) -> np.ndarray:
    if picture.mode == "P" and not keep_codes:
        picture = picture.convert("RGBA")
    array = np.asarray(picture)
    if picture.mode == "1":
        return array.astype(np.uint8) * np.uint8(255)
    if picture.mode in ("RGBA", "LA"):
        if (array[..., -1] != _OPAQUE).any():
            raise ImageError(f"{path}: holds transparent pixels; expected none")
        array = array[..., :-1]
    if array.ndim == 3:
        if (array != array[..., :1]).any():
            raise ImageError(f"{path}: a colour picture; expected grey, or three equal channels")
        array = array[..., 0]
    if picture.mode == "F" and not np.isfinite(array).all():
        raise ImageError(f"{path}: holds NaN or infinite values; expected numbers only")
    if picture.mode in ("I", "F"):
        tags = getattr(picture, "tag_v2", {})
        return array.astype(np.int16) if tags.get(_BITS_TAG) == (16,) else array
    return array.astype(np.uint16 if array.dtype.itemsize > 1 else np.uint8)
