"""From the numbers that a CT image stores to HU, as its header has it: scale, unit and padding."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosup_jax.scans.histogram import AIR
from cosup_jax.scans.intensity import OPTION, IntensityError

_INT16 = np.iinfo(np.int16)
# RescaleType (PS3.3 C.11.1.1.2). Of an unspecified unit the values have to tell.
_UNSAID = ("", "US")
_HU_UNITS, _MODIFIED = (*_UNSAID, "HU"), "HU_MOD"
_IN_WORDS = ("HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS")
_LIKE_AIR = -900.0  # HU
_NEAR = 3  # values on each side of the padding
_SCALE = {"RescaleSlope": "slope", "RescaleIntercept": "intercept"}
_LEAST_EDGES = 0.005  # of the pixels
_STANDS_OUT = 4  # times as common as any of these, it is padding
_OTHER_UNITS = {
    "MGML": "mg/mL of a material",
    "Z_EFF": "effective atomic numbers",
    "ED": "electron densities",
    "EDW": "electron densities relative to water",
    "OD": "optical densities",
    "PCT": "percentages",
}


@dataclass(frozen=True)
class Rescale:
    """What a header says of the numbers that it stores.

    Attributes:
      slope: HU of one step.
      intercept: HU of a stored 0.
      unit: RescaleType, in capitals; `HU` where it says that in words.
      padding: the first and last stored number that is no measurement, as written; None: there is
        none.
      bits: allocated and stored.
      signed: whether stored numbers may be negative.
      missing: which of slope and intercept the header lacks; they are then as above.
    """

    slope: float = 1.0
    intercept: float = 0.0
    unit: str = "HU"
    padding: tuple[int, int] | None = None
    bits: tuple[int, int] = (16, 16)
    signed: bool = False
    missing: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[int, int]:
        """The first and last number that is padding, with the sign of the stored numbers."""
        first, last = sorted(
            _as_stored(v, self.bits[0], self.signed) for v in self.padding or (0,) * 2
        )
        return first, last

    @property
    def needs_all_bits(self) -> bool:
        """Whether the padding has bits that the numbers have not."""
        half = 1 << (self.bits[1] - 1)
        low, high = (-half, half) if self.signed else (0, 2 * half)
        return self.padding is not None and not low <= self.ends[0] <= self.ends[1] < high

    def cut_to(self, numbers: np.ndarray) -> "Rescale":
        """Returns it with the padding cut to the bits stored, where that is what numbers hold.

        Compressions keep no other bits: of 63536 in 12 bits 2096 is left. Fewer of these than fill
        the edges of a picture are bone.
        """
        if not self.needs_all_bits or _share(numbers, *self.ends):
            return self
        ends = [_as_stored(end, self.bits[1], self.signed) for end in self.padding or ()]
        cut = replace(self, padding=(ends[0], ends[1]))
        return cut if _share(numbers, *cut.ends) >= _LEAST_EDGES else self


def read(header: Any) -> Rescale:
    """Reads a CT image's header, or the part of an enhanced one that has these attributes.

    Args:
      header: a data set.

    Raises:
      IntensityError: slope or intercept is no number, or a table stands in their place.
    """
    if header.get("ModalityLUTSequence"):
        raise IntensityError("a table (Modality LUT) instead of a rescale slope; it is not read")
    slope, intercept = _number(header, "RescaleSlope", 1), _number(header, "RescaleIntercept", 0)
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise IntensityError(f"rescale slope {slope} and intercept {intercept}; expected numbers")
    padding = _whole(header, "PixelPaddingValue")
    limit = _whole(header, "PixelPaddingRangeLimit")
    unit = str(header.get("RescaleType") or "").strip().upper()
    return Rescale(
        slope=slope,
        intercept=intercept,
        unit="HU" if unit in _IN_WORDS else unit,
        padding=None if padding is None else (padding, padding if limit is None else limit),
        bits=(int(header.get("BitsAllocated", 16)), int(header.get("BitsStored", 16))),
        signed=bool(header.get("PixelRepresentation", 0)),
        missing=tuple(name for name in _SCALE if header.get(name) in (None, "")),
    )


def hounsfield(
    stored: np.ndarray,
    rescale: Rescale,
    *,
    raw: np.ndarray | None = None,
    offset: float | None = None,
    padded: bool = True,
) -> np.ndarray:
    """Returns int16 HU of one image; padding is air, and fractions of a HU are rounded.

    Args:
      stored: (rows, columns) whole numbers.
      rescale: from `read`.
      raw: the same with all allocated bits, where the padding needs them.
      offset: what the user says is to be added.
      padded: whether what is called padding is no measurement, see `padding_is_measured`.

    Raises:
      IntensityError: a unit that is not HU, or values that no CT has.
    """
    _check_unit(rescale.unit, offset)
    values = np.rint(stored * rescale.slope + (rescale.intercept + (offset or 0)))
    if padded and rescale.padding is not None:
        numbers = stored if raw is None else raw
        first, last = rescale.ends
        values[(numbers >= first) & (numbers <= last)] = AIR
    lowest, highest = float(values.min()), float(values.max())
    if lowest < _INT16.min or highest > _INT16.max:
        raise IntensityError(
            f"values from {lowest:g} to {highest:g}; no CT has such HU ({OPTION} N adds N to them)"
        )
    return values.astype(np.int16)


def padding_is_measured(numbers: np.ndarray, rescale: Rescale) -> bool:
    """Whether what a header calls padding is as common as what lies next to it.

    That cannot be padding, which no measurement may have: the header was taken over from another
    image. Of a range it is so where no value in it makes up half of what is there: whatever fills
    the edges of a picture is one value. Values of air are air either way, and those that no CT has
    are no measurement.

    Args:
      numbers: as stored, with all bits that the padding needs.
      rescale: from `read`.
    """
    first, last = rescale.ends
    if rescale.padding is None:
        return False
    if first != last:
        inside = numbers[(numbers >= first) & (numbers <= last)]
        hu = inside * rescale.slope + rescale.intercept
        inside = inside[(hu > _LIKE_AIR) & (hu <= _INT16.max)]
        most = np.unique(inside, return_counts=True)[1].max(initial=0)
        return bool(2 * most < inside.size)
    if first * rescale.slope + rescale.intercept <= _LIKE_AIR:
        return False
    near = [int(np.count_nonzero(numbers == first + step)) for step in range(-_NEAR, _NEAR + 1)]
    here = near.pop(_NEAR)
    return 0 < here <= _STANDS_OUT * max(near)


def differences(images: Sequence[Rescale]) -> list[str]:
    """Returns a note for each part of the headers in which images of one series differ.

    Raises:
      IntensityError: they differ in their unit; some lack what the others have.
    """
    if len(units := {image.unit for image in images} - {*_UNSAID}) > 1:
        raise IntensityError(
            f"images of {len(units)} different units (RescaleType) in one series; expected one"
        )
    for name, field in _SCALE.items():
        missing = sum(name in image.missing for image in images)
        if missing and len({getattr(image, field) for image in images}) > 1:
            raise IntensityError(
                f"{missing} of {len(images)} images have no {name}, and the others have one that "
                "is not the same as none; nothing says what theirs is"
            )
    parts: dict[str, Callable[[Rescale], Any]] = {
        "rescale slope": lambda image: f"{image.slope:g}",
        "rescale intercept": lambda image: f"{image.intercept:g}",
        "padding value": lambda image: image.padding and "…".join(map(str, image.padding)),
        "bits stored": lambda image: image.bits[1],
        "sign": lambda image: "signed" if image.signed else "unsigned",
    }
    notes = []
    for name, of in parts.items():
        values = [of(image) for image in images]
        kinds = list(dict.fromkeys(values))
        if len(kinds) > 1:
            shown = ", ".join(f"{kind or 'none'} in {values.count(kind)}" for kind in kinds[:4])
            notes.append(f"{name} differs between the images: {shown}")
    return notes


def no_density(images: Sequence[Rescale]) -> str:
    """Returns why means of the values are no HU; empty where they are."""
    modified = any(image.unit == _MODIFIED for image in images)
    return "modified Hounsfield units (RescaleType HU_MOD)" if modified else ""


def _check_unit(unit: str, offset: float | None) -> None:
    if unit in _OTHER_UNITS:
        raise IntensityError(f"RescaleType {unit}: {_OTHER_UNITS[unit]}, no Hounsfield units")
    # What stands there may be anything, a name too, so it is not repeated.
    if unit not in (*_HU_UNITS, _MODIFIED) and offset is None:
        raise IntensityError(
            f"an unknown RescaleType; {OPTION} 0 reads the values as Hounsfield units"
        )


def _share(numbers: np.ndarray, first: int, last: int) -> float:
    return float(((numbers >= first) & (numbers <= last)).mean())


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value %= 1 << bits
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _number(header: Any, attribute: str, default: float) -> float:
    value = header.get(attribute)
    try:
        return default if value is None or value == "" else float(value)
    except (TypeError, ValueError) as error:
        raise IntensityError(f"{attribute} is no number") from error


def _whole(header: Any, attribute: str) -> int | None:
    """Returns a padding value; bytes are what a file without types holds (implicit VR, or UN)."""
    value = header.get(attribute)
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little") if len(value) >= 2 else None
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise IntensityError(f"{attribute} is no whole number") from error
