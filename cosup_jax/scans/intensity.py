"""Whether values are Hounsfield units: a claim that is held against where air and tissue lie.

The offset of the values from HU is the one at which their histogram looks most like a body's. It is
taken only where it leaves no choice; other values that are no HU are refused, with what reads them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cosup_jax.scans import histogram
from cosup_jax.scans.histogram import AIR, Histogram

# What is added to HU by programs that store no negative numbers.
KNOWN_OFFSETS = (1000, 1024, 32768)
OPTION = "--hu-offset"

_LOW = -500.0  # no chest volume in HU is without air, which is below
_FEWEST = 4096  # voxels; of fewer a histogram tells nothing
_WIDEST = 1 << 17  # between the lowest and the highest value, for a histogram to be made
_DARK = 100  # of 255; no fractions up to here are 8-bit grey
# Fits (see `Histogram.fits`) of CT volumes, crops and phantoms in HU are 6.2 to 7.8, of grey values
# through a window below 4.4, of HU times two below 5.
_LIKE_CT, _UNLIKE_CT = 6.0, 3.5
_SURELY_HU = 6.5  # where there is no air to see
_BETTER = 1.5  # an offset must fit better than none by so much
_SLICE_BETTER = 2.0  # the same for one slice of many
_NEAR = 60  # HU; so near a known offset it is worth naming
_EXACT = 10  # HU that air and soft tissue may be off a known offset
_SOFT = (20, 70)  # HU of the peak of soft tissue
_SMALL_INT = (-128, 127)  # 8-bit grey may be stored so
_MOST_TIMES = 64  # HU are shifted by at most 6 bits
_PERIODS = (1 << 16, 1 << 12)  # by which negative numbers are moved that are stored without sign
_FACTORS = (0.25, 0.5, 2.0, 4.0)  # of a wrong rescale slope
_A_LITTLE_BETTER = 0.3  # is enough for another scale where air or soft tissue are missing
_LUNG_AND_AIR, _TISSUE = (-1100, -800), (-150, 250)  # HU
_CUT_ABOVE = -960.0  # HU; a scale cut off above shows neither air nor lung as they are
_AIR_SEEN = (-1050, -950)  # HU, between which the peak of air is looked for
_AIR_OFF = 15  # HU; further from −1000 the offset is not quite right


class IntensityError(ValueError):
    """Values that are no Hounsfield units; the message says why and what reads them."""


@dataclass(frozen=True)
class Judgement:
    """What the values of a volume are.

    Attributes:
      kind: one of `kinds.INTENSITIES`.
      offset: to be added to the values, after which they are of this kind.
      notes: what the user should know.
      no_density: why means of the values are not given as HU although they serve as such; empty
        where they are.
    """

    kind: str
    offset: float = 0.0
    notes: tuple[str, ...] = ()
    no_density: str = ""


def by_range(lowest: float, highest: float) -> str:
    """Returns `hu`, `grey8` or `unknown` for a volume, by the range of its values alone.

    >>> by_range(-1000, 400), by_range(0, 255), by_range(0, 1)
    ('hu', 'grey8', 'unknown')
    """
    if lowest <= _LOW:
        return "hu"
    return "grey8" if lowest >= 0 and 1 < highest <= 255 else "unknown"


def judge(
    slices: Sequence[np.ndarray],
    slope: float = 1.0,
    intercept: float = 0.0,
    *,
    offset: float | None = None,
    grey: str = "",
) -> Judgement:
    """Judges the values of one scan.

    Args:
      slices: (H, W) real numbers; the value is `stored * slope + intercept`.
      slope: see `slices`.
      intercept: see `slices`.
      offset: what the user says is to be added to the values to make them HU; None: nothing is
        known.
      grey: the kind of pictures that hold no HU, where the files say it; empty: by the range.

    Raises:
      IntensityError: the values cannot be HU, and no offset is sure; the offset does not make them
        HU; some slices have another offset than the rest.
    """
    ends = [
        (float(pixels.min()) * slope + intercept, float(pixels.max()) * slope + intercept)
        for pixels in slices
    ]
    lowest, highest = min(map(min, ends)), max(map(max, ends))
    kind, given = by_range(lowest, highest), 0.0 if offset is None else float(offset)
    claimed = kind == "hu" or offset is not None
    if kind == "grey8" and (highest > _DARK or histogram.are_whole(slices, slope, intercept)):
        return _grey8(offset, grey, highest)
    if highest - lowest > _WIDEST:
        if claimed:
            raise IntensityError(f"values from {lowest:g} to {highest:g}; no CT has such HU")
        return _grey(grey, highest)
    if sum(pixels.size for pixels in slices) < _FEWEST:
        return _hu(offset) if claimed else _grey(grey, highest)
    found = histogram.count(slices, slope, intercept + given, lowest + given, highest + given)
    offsets, fits = found.fits()
    best, as_hu = int(np.argmax(fits)), float(np.interp(0, offsets, fits))
    apart = float(offsets[best])
    better = fits[best] >= max(_LIKE_CT, as_hu + _BETTER)
    if better and found.has_air_and_tissue(apart):
        if offset is not None:
            raise IntensityError(
                f"with {OPTION} {given:g} {_where(found, apart)} would be no Hounsfield units, "
                "which have −1000 and about 40; leave the option out, or correct it"
            )
        return _take_off(found, apart)
    if not claimed and lowest >= 0:
        _refuse_multiples(found)
        _refuse_wrapped(found, highest)
        return _grey(grey, highest)
    if claimed:
        _refuse_scaled(found, as_hu)
    if claimed and as_hu < _UNLIKE_CT:
        _refuse_multiples(found)
        raise IntensityError(
            f"no Hounsfield units{f' with {OPTION} {given:g}' if given else ''}: few values lie "
            "where those of air, lung and tissue do; give the scan as the scanner made it"
        )
    small = _SMALL_INT[0] <= lowest and highest <= _SMALL_INT[1]
    if not claimed and (as_hu < _SURELY_HU or small):
        return _grey(grey, highest)
    _refuse_cut_off(found)
    _check_slices(found, 0)
    return _check_air(found, _hu(offset))


def _hu(offset: float | None) -> Judgement:
    if not offset:
        return Judgement("hu")
    return Judgement("hu", float(offset), (f"{OPTION} {offset:g} was added to the values",))


def _check_air(found: Histogram, judged: Judgement) -> Judgement:
    """Notes air that lies a little beside −1000 HU, as where 1000 was taken off instead of 1024."""
    air = found.peak(*_AIR_SEEN)
    inside = air is not None and _AIR_SEEN[0] + _EXACT < air < _AIR_SEEN[1] - _EXACT
    if air is None or not inside or not found.has_air_and_tissue(0) or abs(air - AIR) <= _AIR_OFF:
        return judged
    note = f"air lies at {air} HU instead of −1000: all values are that much off"
    return replace(judged, notes=(*judged.notes, note), no_density="air does not lie at −1000 HU")


def _refuse_cut_off(found: Histogram) -> None:
    lowest, share = int(np.flatnonzero(found.counts)[0]) + found.lowest, found.cut_off()
    if lowest > _CUT_ABOVE and share >= histogram.LEAST_SHARE:
        raise IntensityError(
            f"values below {lowest} HU were cut off ({100 * share:.0f} % of the voxels lie there): "
            "air and lung cannot be told; give the scan as the scanner made it"
        )


def _refuse_scaled(found: Histogram, as_hu: float) -> None:
    """Refuses HU, with or without an offset, that were stretched or shrunk."""
    least = histogram.LEAST_SHARE
    whole = min(found.share(*_LUNG_AND_AIR), found.share(*_TISSUE)) >= least
    enough = max(_LIKE_CT, as_hu + (_BETTER if whole else _A_LITTLE_BETTER))
    for factor in _FACTORS:
        if _is_ct(found.scaled(1 / factor), enough):
            raise IntensityError(
                f"no Hounsfield units: they look like CT values times {factor:g}, as by a wrong "
                "rescale slope; give the scan as the scanner made it"
            )


def _grey8(offset: float | None, grey: str, highest: float) -> Judgement:
    if offset is not None:
        raise IntensityError(f"8-bit grey values hold no HU; leave {OPTION} {offset:g} out")
    notes = ["8-bit grey values in 16-bit files"] * (grey == "grey16")
    notes += [f"no value above {highest:g}: taken as dark 8-bit grey"] * (highest <= _DARK)
    return Judgement("grey8", notes=tuple(notes))


def _grey(grey: str, highest: float) -> Judgement:
    bits = max(12, int(highest).bit_length())
    if grey and bits > 15:
        return Judgement(grey)
    what = f"{bits} bits in 16-bit files" if grey else "neither Hounsfield units nor 8-bit grey"
    return Judgement("unknown", notes=(f"{what}: taken as grey values",))


def _take_off(found: Histogram, apart: float) -> Judgement:
    """Returns the judgement of HU with an offset near `apart`, where that is sure."""
    air = found.peak(apart - 1100, apart - 900)
    soft = found.peak(apart - 30, apart + 150)
    fitting = [
        known
        for known in KNOWN_OFFSETS
        if air is not None
        and soft is not None
        and abs(air - known - AIR) <= _EXACT
        and _SOFT[0] - _EXACT <= soft - known <= _SOFT[1] + _EXACT
    ]
    if len(fitting) != 1:
        _refuse_reversed(found)
        near = sorted((k for known in KNOWN_OFFSETS for k in (known, -known)), key=_far_from(apart))
        ways = [f"{OPTION} {-k} adds {-k}" for k in near if abs(k - apart) <= _NEAR]
        raise IntensityError(
            f"no Hounsfield units: {_where(found, apart)}, where HU have −1000 and about 40; "
            f"{' (and '.join(ways) + ')' * (len(ways) - 1) or f'{OPTION} N adds N'} to the values, "
            "if that makes them HU"
        )
    known = fitting[0]
    _check_slices(found, known)
    note = (
        f"the values are Hounsfield units + {known}, since air lies at {air} and soft tissue at "
        f"{soft}: {known} was taken off"
    )
    return Judgement("hu", -float(known), (note,), "the offset of the values was found, not given")


def _refuse_reversed(found: Histogram) -> None:
    """Refuses HU with the sign reversed, which an offset would make look like HU."""
    other = found.scaled(-1)
    offsets, fits = other.fits()
    if abs(offsets[int(np.argmax(fits))]) <= _EXACT and fits.max() > found.fits()[1].max():
        raise IntensityError(
            "no Hounsfield units: they look like CT values with the sign reversed; give the scan "
            "as the scanner made it"
        )


def _far_from(place: float) -> Callable[[float], float]:
    return lambda value: abs(value - place)


def _where(found: Histogram, apart: float) -> str:
    """Says where air and soft tissue lie."""
    soft, air = found.peak(apart - 30, apart + 150), found.peak(apart - 1100, apart - 600)
    tissue = f"soft tissue near {round(apart) + 40 if soft is None else soft}"
    return tissue if air is None else f"air or lung near {air} and {tissue}"


def _refuse_multiples(found: Histogram) -> None:
    """Refuses HU, with or without an offset, that were multiplied by a whole number."""
    values = np.flatnonzero(found.counts)
    times = int(np.gcd.reduce(values + found.lowest))
    if not 2 <= times <= _MOST_TIMES:
        return
    lowest = (int(values[0]) + found.lowest) // times
    places = (values + found.lowest) // times - lowest
    counts = np.zeros(-(-(int(places[-1]) + 1) // histogram.BIN) * histogram.BIN, np.int64)
    counts[places] = found.counts[values]
    divided = Histogram(lowest, counts, found.slices)
    if _is_ct(divided):
        raise IntensityError(
            f"no Hounsfield units: CT values times {times}, as 12 bits are shifted in 16; divide "
            f"the values by {times}"
        )


def _refuse_wrapped(found: Histogram, highest: float) -> None:
    """Refuses HU whose negative numbers were stored without their sign."""
    for period in _PERIODS:
        if not period // 2 <= highest < period:
            continue
        if _is_ct(found.unwrapped(period)):
            raise IntensityError(
                f"no Hounsfield units: CT values whose negative numbers lost their sign; take "
                f"{period:,} off what is above {period // 2 - 1:,}"
            )


def _is_ct(found: Histogram, least: float = _LIKE_CT) -> bool:
    """Whether values fit those of a CT so well, with whatever offset."""
    offsets, fits = found.fits()
    best = int(np.argmax(fits))
    return bool(fits[best] >= least) and found.has_air_and_tissue(float(offsets[best]))


def _check_slices(found: Histogram, taken: float) -> None:
    """Refuses a scan in which some slices have another offset than the rest."""
    known = np.array([k for size in KNOWN_OFFSETS for k in (size, -size)])
    others = np.stack([found.fits_of_slices(taken + apart) for apart in known])
    other, enough = others.max(0), found.slices.sum(1) >= _FEWEST / 4
    strange = enough & (other >= _LIKE_CT) & (other - found.fits_of_slices(taken) >= _SLICE_BETTER)
    if strange.any():
        first = int(np.flatnonzero(strange)[0])
        raise IntensityError(
            f"{int(strange.sum())} of {len(strange)} slices (the first is number {first + 1}) look "
            f"as if {known[others[:, first].argmax()]} were added to them, the others do not; "
            "expected one scale in a scan"
        )
