"""From stored numbers to HU: scale, unit and padding, as headers have them."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset

from cosup_jax.scans import rescale
from cosup_jax.scans.intensity import IntensityError


def header(**fields):
    made = Dataset()
    made.BitsAllocated, made.BitsStored, made.PixelRepresentation = 16, 16, 0
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def hounsfield(stored, *, raw=None, offset=None, **fields):
    image = rescale.read(header(**fields))
    return rescale.hounsfield(np.asarray(stored), image, raw=raw, offset=offset).tolist()


def padded(vr, value, limit=None, **fields):
    made = header(**fields)
    made.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        made.add_new("PixelPaddingRangeLimit", vr, limit)
    return rescale.read(made)


def test_slope_intercept_and_what_the_user_adds():
    assert hounsfield([[0, 1024]], RescaleSlope=1, RescaleIntercept=-1024) == [[-1024, 0]]
    assert hounsfield([[3, 4]], RescaleSlope=0.5, RescaleIntercept=0) == [[2, 2]]
    assert hounsfield([[0, 1024]], offset=-1000) == [[-1000, 24]]
    assert hounsfield([[7]]) == [[7]]
    assert hounsfield([[7]], RescaleSlope="", RescaleIntercept="") == [[7]]


@pytest.mark.parametrize(
    ("vr", "value", "signed", "stored"),
    [
        ("US", 63536, 0, 63536),
        ("SS", -2000, 0, 63536),
        ("US", 63536, 1, -2000),
        ("SS", -2000, 1, -2000),
        ("US", 30000, 0, 30000),
        ("US", 0, 0, 0),
        ("UN", b"\x30\xf8", 1, -2000),
    ],
)
def test_padding_of_any_value_and_sign_is_air(vr, value, signed, stored):
    image = padded(vr, value, PixelRepresentation=signed, RescaleIntercept=-1024, RescaleSlope=1)
    found = rescale.hounsfield(np.array([[stored, 1064]]), image)
    assert found.tolist() == [[-1000, 40]]


@pytest.mark.parametrize("ends", [(3000, 4000), (4000, 3000)])
def test_padding_may_be_a_range_either_way_round(ends):
    found = rescale.hounsfield(np.array([[2999, 3000, 3500, 4000, 4001]]), padded("US", *ends))
    assert found.tolist() == [[2999, -1000, -1000, -1000, 4001]]


def test_a_signed_range_below_zero():
    image = padded("SS", -2000, -1025, PixelRepresentation=1)
    found = rescale.hounsfield(np.array([[-2001, -2000, -1025, -1024]]), image)
    assert found.tolist() == [[-2001, -1000, -1000, -1024]]


def test_padding_beyond_the_bits_stored_is_looked_for_in_all_bits():
    """Of 63536 twelve bits are left as 2096, which may be bone as well."""
    image = padded("US", 63536, BitsStored=12)
    assert image.needs_all_bits
    assert not padded("US", 63536).needs_all_bits
    stored, raw = np.array([[2096, 2096, 40]]), np.array([[63536, 2096, 40]])
    assert rescale.hounsfield(stored, image, raw=raw).tolist() == [[-1000, 2096, 40]]


@pytest.mark.parametrize("unit", ["MGML", "Z_EFF", "ED", "EDW", "OD", "PCT", "mgml "])
def test_other_units_are_refused_by_name_whatever_is_added(unit):
    for offset in (None, 0):
        with pytest.raises(IntensityError, match=f"RescaleType {unit.strip().upper()}"):
            hounsfield([[1]], RescaleType=unit, offset=offset)


@pytest.mark.parametrize("unit", ["HU", "hu ", "US", "", None, "HU_MOD", "Hounsfield Units"])
def test_units_that_may_be_hu_are_read(unit):
    assert hounsfield([[1]], RescaleType=unit) == [[1]]


def test_an_unknown_unit_is_refused_without_repeating_it_and_read_if_the_user_says_so():
    with pytest.raises(IntensityError, match="an unknown RescaleType; --hu-offset 0") as error:
        hounsfield([[1]], RescaleType="DOE^JANE")
    assert "DOE" not in str(error.value)
    assert hounsfield([[1]], RescaleType="DOE^JANE", offset=0) == [[1]]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"RescaleSlope": 0}, "rescale slope 0"),
        ({"ModalityLUTSequence": [Dataset()]}, "Modality LUT"),
    ],
)
def test_a_scale_that_is_none_is_refused(fields, reason):
    with pytest.raises(IntensityError, match=reason):
        rescale.read(header(**fields))


def test_values_that_no_ct_has_are_refused_with_the_option():
    with pytest.raises(IntensityError, match="no CT has such HU .--hu-offset N"):
        hounsfield([[32768 - 1000, 32768 + 40]])
    assert hounsfield([[32768 - 1000, 32768 + 40]], offset=-32768) == [[-1000, 40]]


def test_what_differs_between_images_is_noted_and_units_may_not():
    first = rescale.Rescale(intercept=-1024)
    other = rescale.Rescale(slope=2, padding=(0, 0), bits=(16, 12), signed=True)
    assert rescale.differences([first, first]) == []
    notes = rescale.differences([first, first, other])
    assert notes[0] == "rescale slope differs between the images: 1 in 2, 2 in 1"
    assert [note.split(" differs")[0] for note in notes] == [
        *("rescale slope", "rescale intercept", "padding value", "bits stored", "sign"),
    ]
    with pytest.raises(IntensityError, match="2 different units"):
        rescale.differences([first, rescale.Rescale(unit="MGML")])
    assert rescale.differences([first, replace(first, unit="US"), replace(first, unit="")]) == []
    assert "HU_MOD" in rescale.no_density([rescale.Rescale(unit="HU_MOD")])
    assert rescale.no_density([first]) == ""
