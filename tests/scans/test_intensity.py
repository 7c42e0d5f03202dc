"""Values that are HU, that are HU with an offset, and that are none, told by what is in them."""

import numpy as np
import pytest

from cosup_jax import phantom
from cosup_jax.scans.intensity import IntensityError, by_range, judge

SEED, SIZE, SLICES = 5, 64, 10


@pytest.fixture(scope="module")
def hu():
    """A chest of known HU, (Z, H, W) int32; air is cut off at -1024."""
    return phantom.draw_volume(SEED, size=SIZE, slices=SLICES).image.astype(np.int32)


def circle(hu, fill):
    """The volume with a fill value outside of the scanner's field."""
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] - (SIZE - 1) / 2
    return np.where(np.hypot(y, x) > SIZE / 2, fill, hu)


def noisy(hu, deviation):
    return hu + np.random.default_rng(0).normal(0, deviation, hu.shape)


TRUE_HU = {
    "as it is": lambda hu: hu,
    "fractions": lambda hu: hu * np.float32(0.999),
    "padded with -2000": lambda hu: circle(hu, -2000),
    "padded with -3024": lambda hu: circle(hu, -3024),
    "padded with 0": lambda hu: circle(hu, 0),
    "cropped to the lungs": lambda hu: hu[:, 16:48, 10:54],
    "cropped inside a lung": lambda hu: hu[:, 24:40, 12:44],
    "the lower third": lambda hu: hu[:3],
    "low dose": lambda hu: noisy(hu, 120),
    "contrast": lambda hu: np.where((hu > 35) & (hu < 60), hu + 150, hu),
    "cut off at -1000 and 400": lambda hu: np.clip(hu, -1000, 400),
    "without noise": lambda hu: np.where(hu > -300, 40, np.where(hu > -950, -850, -1000)),
    "upside down": lambda hu: hu[::-1, ::-1],
    "of 30 voxels": lambda hu: hu[:3, :5, :2],
}


@pytest.mark.parametrize("name", TRUE_HU)
def test_hounsfield_units_are_taken_as_they_are(hu, name):
    values = TRUE_HU[name](hu)
    if values.min() > -500:
        values = values - values.min() - 1000
    found = judge(list(values))
    assert (found.kind, found.offset, found.notes, found.no_density) == ("hu", 0, (), "")


SURE = {
    "1024": (lambda hu: hu + 1024, 1024),
    "1000": (lambda hu: hu + 1000, 1000),
    "32768": (lambda hu: hu + 32768, 32768),
    "1024 in unsigned 16 bits": (lambda hu: (hu + 1024).astype(np.uint16), 1024),
    "padded with -2000": (lambda hu: circle(hu + 1024, -2000), 1024),
    "padded with what would be air": (lambda hu: circle(hu + 1024, -1000), 1024),
    "padded with 0 below 1000": (lambda hu: circle(hu + 32768, 0), 32768),
    "cropped": (lambda hu: hu[:, 8:56, 4:60] + 1024, 1024),
}


@pytest.mark.parametrize("name", SURE)
def test_an_offset_that_leaves_no_choice_is_taken_off_and_said(hu, name):
    change, offset = SURE[name]
    found = judge(list(change(hu)))
    assert (found.kind, found.offset) == ("hu", -offset)
    assert f"Hounsfield units + {offset}" in found.notes[0]
    assert found.no_density


REFUSED = {
    "rescaled twice": (lambda hu: hu - 1024, "--hu-offset 1024"),
    "rescaled twice, air padded": (lambda hu: circle(hu - 1024, -1000), "--hu-offset 1024"),
    "air cut off at the lowest value": (lambda hu: np.maximum(hu + 1000, 0), "--hu-offset -1000"),
    "an offset that nobody adds": (lambda hu: hu + 1500, "--hu-offset N"),
    "between two offsets": (lambda hu: hu + 1013, "--hu-offset -1024"),
    "12 bits shifted in 16": (lambda hu: np.maximum(hu + 1024, 0) * 16, "times 16"),
    "tenths": (lambda hu: hu * 10, "times 10"),
    "some slices with an offset": (
        lambda hu: hu + 1024 * (np.arange(SLICES) > 6)[:, None, None],
        "3 of 10 slices",
    ),
    "cut off above air": (lambda hu: np.maximum(hu, -600), "below -600 HU were cut off"),
    "cut off at a window of tissue": (lambda hu: np.clip(hu, -160, 240), "below -160 HU were cut"),
    "twice the slope": (lambda hu: (hu + 1024) * 2 - 1024, "CT values times 2, as by a wrong"),
    "half the slope": (lambda hu: (hu + 1024) // 2 - 1024, "CT values times 0.5"),
    "four times the slope": (lambda hu: (hu + 1024) * 4 - 1024, "CT values times 4"),
    "halves": (lambda hu: hu // 2, "CT values times 0.5"),
    "far too wide": (lambda hu: hu * 7.3, "few values lie where"),
    "beyond 16 bits": (lambda hu: hu * 70_001, "no CT has such HU"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_hu_is_refused_with_what_reads_it(hu, name):
    change, reason = REFUSED[name]
    with pytest.raises(IntensityError, match=reason):
        judge(list(change(hu)))


def test_an_offset_that_is_given_is_added_and_means_are_hu(hu):
    for values, offset in ((hu + 1013, -1013), (hu - 1024, 1024), (np.clip(hu, -999, 0), 0)):
        found = judge(list(values), offset=offset)
        assert (found.kind, found.offset, found.no_density) == ("hu", offset, "")
        assert found.notes == ((f"--hu-offset {offset} was added to the values",) if offset else ())


@pytest.mark.parametrize("offset", [-1024, 1000, 32768])
def test_an_offset_that_makes_hu_wrong_is_refused(hu, offset):
    with pytest.raises(IntensityError, match=f"with --hu-offset {offset} .*leave the option out"):
        judge(list(hu), offset=offset)


@pytest.mark.parametrize(("off", "noted"), [(24, True), (-24, True), (10, False)])
def test_air_a_little_beside_its_place_is_noted_and_no_mean_is_given(hu, off, noted):
    found = judge(list(hu + off))
    assert found.kind == "hu"
    assert (
        any("instead of −1000" in note for note in found.notes) == bool(found.no_density) == noted
    )


def test_an_offset_of_eight_bit_grey_is_refused():
    with pytest.raises(IntensityError, match="hold no HU"):
        judge([np.arange(256, dtype=np.uint8).reshape(16, 16)], offset=-1024)


def window(hu, top):
    return np.rint(np.clip((hu + 1350) / 1500, 0, 1) * top)


def test_grey_values_through_a_window_are_no_hu_and_no_offset(hu):
    assert judge(list(window(hu, 255))).kind == "grey8"
    for values in (window(hu, 4095), window(hu, 1), (hu - hu.mean()) / hu.std()):
        found = judge(list(values))
        assert found.kind == "unknown"
        assert found.notes == ("neither Hounsfield units nor 8-bit grey: taken as grey values",)


def test_pictures_of_16_bits_may_hold_fewer(hu):
    kinds = {}
    for top in (255, 1023, 4095, 8191, 16383, 32767, 32768, 65535):
        found = judge(list(window(hu, top).astype(np.uint16)), grey="grey16")
        kinds[top] = found.kind, *(note.split(" in ")[0] for note in found.notes)
    assert kinds == {
        255: ("grey8", "8-bit grey values"),
        1023: ("unknown", "12 bits"),
        4095: ("unknown", "12 bits"),
        8191: ("unknown", "13 bits"),
        16383: ("unknown", "14 bits"),
        32767: ("unknown", "15 bits"),
        32768: ("grey16",),
        65535: ("grey16",),
    }


@pytest.mark.parametrize(
    ("top", "whole", "kind", "noted"),
    [
        (255, True, "grey8", ""),
        (254.6, False, "grey8", ""),
        (60, True, "grey8", "no value above 60: taken as dark 8-bit grey"),
        (60, False, "unknown", "neither Hounsfield units nor 8-bit grey: taken as grey values"),
        (1.001, False, "unknown", "neither Hounsfield units nor 8-bit grey: taken as grey values"),
    ],
)
def test_8_bit_grey_is_whole_or_wide(hu, top, whole, kind, noted):
    share = np.clip((hu + 1350) / 1500, 0, 1) * top
    found = judge(list(np.rint(share).astype(np.int16) if whole else share.astype(np.float32)))
    assert (found.kind, "".join(found.notes)) == (kind, noted)


def test_fractions_that_are_stored_as_whole_numbers_are_fractions(hu):
    """As volumes of fractions are kept, in steps of 1/65,535 of their range."""
    stored = (window(hu, 65535) - 32768).astype(np.int16)
    step = 1.001 / 65535
    assert judge(list(stored), step, 32768 * step).kind == "unknown"


def test_a_picture_of_no_air_is_hu_only_if_it_looks_like_tissue(hu):
    tissue = np.where(hu < -160, 40, hu)
    assert judge(list(tissue)).kind == "hu"
    assert judge(list(np.clip(hu, -100, 100))).kind == "unknown"  # 8-bit grey with a sign


@pytest.mark.parametrize(
    ("lowest", "highest", "kind"),
    [(-500, 0, "hu"), (-499, 400, "unknown"), (0, 255, "grey8"), (0, 1, "unknown")],
)
def test_of_a_few_voxels_the_range_tells(lowest, highest, kind):
    assert by_range(lowest, highest) == kind
    assert judge([np.array([[lowest, highest]])]).kind == kind


@pytest.mark.parametrize("period", [1 << 16, 1 << 12])
def test_negative_numbers_that_lost_their_sign_are_seen(hu, period):
    with pytest.raises(IntensityError, match="lost their sign"):
        judge(list(hu % period))


@pytest.mark.parametrize("shift", [0, 1])
def test_a_reversed_sign_is_no_offset(hu, shift):
    with pytest.raises(IntensityError, match="sign reversed"):
        judge(list(shift - hu))


def test_grey_of_16_bits_has_no_sign_to_lose(hu):
    grey = np.interp(hu, (-1350, 150), (0, 65535)).astype(np.uint16)
    assert judge(list(grey), grey="grey16").kind == "grey16"
