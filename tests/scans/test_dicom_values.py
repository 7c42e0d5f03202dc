"""What a DICOM series stores becomes HU, or its reason: padding, units, and what differs in it."""

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless

from cosup_jax import phantom
from cosup_jax.scans.find import Source
from cosup_jax.scans.intensity import IntensityError
from cosup_jax.scans.nifti import VolumeError
from tests.scans.dicom_series import make_images, save
from tests.scans.enhanced import make_enhanced


@pytest.fixture(scope="module")
def chest():
    return phantom.draw_volume(5, size=48, slices=6)


def read(folder, images, **how):
    source = Source(folder, "dicom", tuple(save(folder, images)))
    return source.read(**how)


def corners(hu):
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] - (hu.shape[1] - 1) / 2
    return np.hypot(y, x) > hu.shape[1] / 2


def padded(chest, value, *, signed=0, bits=16, vr="US", limit=None):
    """Stored HU + 1024, the corners being padding that the header names."""
    images = make_images(chest.image, chest.spacing, BitsStored=bits, PixelRepresentation=signed)
    for image, hu in zip(images, chest.image, strict=True):
        stored = np.where(corners(chest.image), value, hu.astype(int) + 1024)
        image.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
        image.HighBit = bits - 1
        image.add_new("PixelPaddingValue", vr, value)
        if limit is not None:
            image.add_new("PixelPaddingRangeLimit", vr, limit)
    return images


PADDINGS = {
    "the bits of -2000, unsigned": {"value": 63536},
    "in the middle of bone": {"value": 3000},
    "below all, signed": {"value": -2000, "signed": 1, "vr": "SS"},
    "beyond the 12 bits stored": {"value": 63536, "bits": 12},
    "a range above bone": {"value": 3000, "limit": 4000},
    "a range below air": {"value": -2000, "limit": -1200, "signed": 1, "vr": "SS"},
    "a range beyond the 12 bits stored": {"value": 63536, "limit": 65000, "bits": 12},
}


def test_a_range_that_no_ct_has_is_padding_whatever_values_are_in_it(tmp_path, chest):
    images = padded(chest, 62000, limit=65535)
    for image in images:
        stored = np.frombuffer(image.PixelData, "<u2").reshape(48, 48)
        spread = np.where(stored == 62000, 62000 + np.arange(48, dtype=np.uint16), stored)
        image.PixelData = spread.tobytes()
    scan = read(tmp_path, images)
    expected = np.where(corners(chest.image), -1000, chest.image)
    np.testing.assert_array_equal(np.stack(scan.slices), expected)


def packed(images):
    """Compresses images by RLE, which keeps all bits that are allocated."""
    for image in images:
        image.compress(RLELossless, generate_instance_uid=False)
    return images


def cut(images):
    """Compresses images by JPEG-LS, of whose numbers the bits stored alone are kept."""
    for image in images:
        kept = np.frombuffer(image.PixelData, "<u2") & ((1 << image.BitsStored) - 1)
        if not image.PixelRepresentation:
            image.PixelData = kept.tobytes()
        image.compress(JPEGLSLossless, generate_instance_uid=False)
    return images


@pytest.mark.parametrize("change", [list, packed, cut])
@pytest.mark.parametrize("name", PADDINGS)
def test_padding_is_air_whatever_its_value(tmp_path, chest, name, change):
    scan = read(tmp_path, change(padded(chest, **PADDINGS[name])))
    outside = corners(chest.image)
    expected = np.where(outside, -1000, chest.image)
    np.testing.assert_array_equal(np.stack(scan.true_slices()), expected)
    assert (scan.intensity, scan.unknown) == ("hu", {})


def test_bone_is_no_padding_whose_bits_were_cut(tmp_path, chest):
    """2096 is what is left of 63536, and the number of 1072 HU."""
    hu = chest.image.copy()
    hu[:, 5, 5] = 1072
    images = make_images(hu, chest.spacing, BitsStored=12, HighBit=11, PixelRepresentation=0)
    for image in images:
        image.add_new("PixelPaddingValue", "US", 63536)
    scan = read(tmp_path, cut(images))
    np.testing.assert_array_equal(np.stack(scan.true_slices()), hu)
    assert scan.notes == ()


def stored(images, change, **fields):
    """Changes the numbers that images store, and their headers."""
    for image in images:
        numbers = np.frombuffer(image.PixelData, "<i2").astype(int)
        image.PixelData = change(numbers).astype("<u2").tobytes()
        for name, value in ({"PixelRepresentation": 0} | fields).items():
            setattr(image, name, value)
    return images


INVERTED = {"PhotometricInterpretation": "MONOCHROME1"}
AS_THEY_ARE = {
    "white as 0, which is a matter of display": (lambda n: n, INVERTED, "MONOCHROME1"),
    "white as 0, the slope being negative": (
        lambda n: 4095 - n,
        INVERTED | {"RescaleSlope": -1, "RescaleIntercept": 3071},
        "MONOCHROME1",
    ),
    "in the upper 12 bits": (lambda n: n << 4, {"BitsStored": 12, "HighBit": 15}, "HighBit"),
    "HighBit that is wrong": (lambda n: n, {"BitsStored": 12, "HighBit": 15}, ""),
    "padding that is soft tissue": (lambda n: n, {"PixelPaddingValue": 1064}, "as measured"),
    "a range of padding up to tissue": (
        lambda n: n,
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 1024},
        "as measured",
    ),
    "a range of padding over all, its sign lost": (
        lambda n: n,
        {"PixelPaddingValue": 63536, "PixelPaddingRangeLimit": 0},
        "as measured",
    ),
    "a range of padding within lung": (
        lambda n: n,
        {"PixelPaddingValue": 204, "PixelPaddingRangeLimit": 0},
        "as measured",
    ),
}


@pytest.mark.parametrize("also", [list, packed])
@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_odd_claims_about_pixels_change_no_value(tmp_path, chest, name, also):
    change, fields, note = AS_THEY_ARE[name]
    scan = read(tmp_path, also(stored(make_images(chest.image, chest.spacing), change, **fields)))
    np.testing.assert_array_equal(np.stack(scan.true_slices()), chest.image)
    assert not note or any("6 of 6 images" in said and note in said for said in scan.notes)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("enhanced", [False, True])
def test_images_of_small_numbers_lie_in_the_bits_of_the_others(tmp_path, chest, signed, enhanced):
    """Such an image alone could as well hold numbers 16 times as large in the lower bits."""
    hu = chest.image.copy()
    hu[0] = np.random.default_rng(0).integers(*((1, 99) if signed else (-1023, -925)), hu[0].shape)
    fields = {"BitsStored": 12, "HighBit": 15, "PixelRepresentation": signed}
    images = make_images(hu, chest.spacing, intercept=0.0 if signed else -1024.0)
    images = stored(images, lambda n: n << 4, **fields)
    scan = read(tmp_path, [make_enhanced(images)] if enhanced else images)
    np.testing.assert_array_equal(np.stack(scan.true_slices()), hu)
    assert any(said.startswith("6 of 6 images store their numbers in the") for said in scan.notes)


@pytest.mark.parametrize("also", [list, packed])
@pytest.mark.parametrize(
    ("bit", "high"), [(0, 15), (3, 15), (12, 11), (15, 11)], ids=lambda value: f"{value}"
)
def test_overlays_in_bits_that_numbers_leave_change_no_value(tmp_path, chest, bit, high, also):
    fields = {"BitsStored": 12, "HighBit": high}
    drawn = np.arange(chest.image[0].size) % 3 == 0
    images = stored(
        make_images(chest.image, chest.spacing),
        lambda n: n << (high - 11) | drawn << bit,
        **fields,
    )
    for image in images:
        image.add_new(0x60000100, "US", 16)
        image.add_new(0x60000102, "US", bit)
    scan = read(tmp_path, also(images))
    np.testing.assert_array_equal(np.stack(scan.true_slices()), chest.image)


NOT_HU = {
    "inverted": (lambda n: 4095 - n, INVERTED, "no Hounsfield units"),
    "inverted grey of 8 bits": (
        lambda n: np.clip((n - 24) // 8, 0, 255),
        INVERTED | {"RescaleIntercept": 0},
        "white is 0: they may be inverted",
    ),
    "more bits than are said": (lambda n: n, {"BitsStored": 10, "HighBit": 9}, "BitsStored is 10"),
    "a wrong slope": (lambda n: n, {"RescaleSlope": 2}, "CT values times 2"),
}


@pytest.mark.parametrize("name", NOT_HU)
def test_pixels_that_cannot_be_hu_are_refused(tmp_path, chest, name):
    change, fields, reason = NOT_HU[name]
    with pytest.raises((IntensityError, VolumeError), match=reason):
        read(tmp_path, stored(make_images(chest.image, chest.spacing), change, **fields))


def test_what_differs_between_images_is_noted(tmp_path, chest):
    images = make_images(chest.image, chest.spacing)
    other = make_images(chest.image, chest.spacing, intercept=-1000.0, PixelPaddingValue=0)
    for name in ("PixelData", "RescaleIntercept"):
        images[2][name] = other[2][name]
    scan = read(tmp_path, images)
    assert "rescale intercept differs between the images: -1024 in 5, -1000 in 1" in scan.notes
    np.testing.assert_array_equal(np.stack(scan.true_slices()), chest.image)


def test_an_image_whose_intercept_was_lost_is_seen(tmp_path, chest):
    images = make_images(chest.image, chest.spacing)
    images[2].RescaleIntercept = 0
    with pytest.raises(IntensityError, match="1 of 6 slices .* as if 1024 were added"):
        read(tmp_path, images)


def test_maps_are_known_by_their_unit(tmp_path, chest):
    images = make_images(chest.image, chest.spacing, RescaleType="MGML")
    with pytest.raises(VolumeError, match="RescaleType MGML: mg/mL of a material"):
        read(tmp_path, images)
    images = make_images(chest.image, chest.spacing)
    images[3].RescaleType = "HU_MOD"
    with pytest.raises(VolumeError, match="2 different units"):
        read(tmp_path / "mixed", images)
    scan = read(tmp_path / "all", make_images(chest.image, chest.spacing, RescaleType="HU_MOD"))
    assert "HU_MOD" in scan.unknown["density"]


@pytest.mark.parametrize("lost", [-1024, -32768])
def test_an_offset_may_be_given(tmp_path, chest, lost):
    """An intercept that was lost, or one that 16 bits with a sign do not hold."""
    images = make_images(chest.image, chest.spacing, PixelRepresentation=0)
    for image, hu in zip(images, chest.image, strict=True):
        image.PixelData = (hu.astype(int) - lost).astype("<u2").tobytes()
        image.RescaleIntercept = 0
    scan = read(tmp_path, images, hu_offset=lost)
    np.testing.assert_array_equal(np.stack(scan.true_slices()), chest.image)
    assert scan.notes == (f"--hu-offset {lost} was added to the values",)
    assert scan.unknown == {}


def test_an_intercept_that_was_lost_is_found_by_the_values(tmp_path, chest):
    images = make_images(chest.image, chest.spacing, RescaleIntercept=0, RescaleType="")
    scan = read(tmp_path, images)
    np.testing.assert_array_equal(np.stack(scan.true_slices()), chest.image)
    assert "Hounsfield units + 1024" in scan.notes[0]
    assert scan.unknown.keys() == {"density"}
