"""What an image claims of its pixels, its scale and its place: filled in, checked or refused."""

import numpy as np
import pytest

from cosup_jax import metrics
from cosup_jax.scans import masks
from cosup_jax.scans.find import Source
from cosup_jax.scans.nifti import VolumeError
from tests.scans.dicom_series import make_images, save

SHAPE, SPACING = (5, 16, 12), (4.0, 0.75, 0.5)
HU = np.random.default_rng(3).integers(-1000, 900, SHAPE)
ML = 4.0 * 0.75 * 0.5


def read(folder, images):
    return Source(folder, "dicom", tuple(save(folder, images))).read()


def without(*names):
    images = make_images(HU, SPACING)
    for image in images:
        for name in names:
            delattr(image, name)
    return images


DIRECTIONS = {
    "a little long": [1.004, 0, 0, 0, 1.004, 0],
    "a little short": [0.996, 0, 0, 0, 0.996, 0],
    "not quite perpendicular": [1, 0.009, 0, 0, 1, 0],
    "turned, of two digits": [0.71, 0.71, 0, -0.71, 0.71, 0],
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_directions_that_were_rounded_stretch_no_voxel(tmp_path, name):
    scan = read(tmp_path, make_images(HU, SPACING, ImageOrientationPatient=DIRECTIONS[name]))
    assert np.prod(scan.spacing) == pytest.approx(ML, rel=1e-4)
    assert abs(np.linalg.det(scan.grid.affine[:3, :3])) == pytest.approx(ML, rel=1e-4)
    assert scan.notes == ()


KNOWN = ("PhotometricInterpretation", "SamplesPerPixel", "BitsStored", "HighBit")


@pytest.mark.parametrize("names", [*((name,) for name in KNOWN), KNOWN])
def test_what_can_be_meant_in_one_way_need_not_be_there(tmp_path, names):
    np.testing.assert_array_equal(np.stack(read(tmp_path, without(*names)).slices), HU)


@pytest.mark.parametrize("name", ["BitsAllocated", "PixelRepresentation"])
def test_what_must_be_there_is_named(tmp_path, name):
    with pytest.raises(VolumeError, match=f"without {name}"):
        read(tmp_path, without(name))


@pytest.mark.parametrize(
    "claim",
    [{"Rows": 8}, {"Rows": 15}, {"Columns": 11}, {"BitsAllocated": 8, "BitsStored": 8}],
)
def test_more_pixels_than_the_header_claims_are_none_of_it(tmp_path, claim):
    with pytest.raises(VolumeError, match="bytes of pixels, but its header claims"):
        read(tmp_path, make_images(HU, SPACING, **claim))


@pytest.mark.parametrize("rest", [b"\0", b"\0" * 200])
def test_zeros_behind_the_pixels_are_no_pixels(tmp_path, rest):
    images = make_images(HU, SPACING)
    for image in images:
        image.PixelData += rest
    np.testing.assert_array_equal(np.stack(read(tmp_path, images).slices), HU)


@pytest.mark.parametrize(
    ("name", "scale"),
    [("RescaleSlope", {"slope": 0.5}), ("RescaleIntercept", {}), ("RescaleSlope", {"slope": 2.0})],
)
@pytest.mark.parametrize("lacking", [(2,), (1, 3), (0, 1, 2, 3)])
def test_a_scale_that_some_images_lack_is_not_guessed(tmp_path, name, scale, lacking):
    images = make_images(2 * HU, SPACING, **scale)
    for i in lacking:
        setattr(images[i], name, None)
    with pytest.raises(VolumeError, match=f"{len(lacking)} of 5 images have no {name}"):
        read(tmp_path, images)


def test_a_scale_that_is_the_same_as_none_may_lack(tmp_path):
    images = make_images(HU, SPACING)
    for image in images[::2]:
        del image.RescaleSlope
    scan = read(tmp_path, images)
    np.testing.assert_array_equal(np.stack(scan.slices), HU)
    assert scan.notes == ()


def twelve_bits(dense, intercept=-1024.0):
    """Images that call themselves signed, whose numbers of 12 bits are stored without a sign."""
    hu = HU.clip(-1000, 900)
    hu[:, 4:8, 4:8] = dense
    fields = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}
    images = make_images(hu, SPACING, intercept=intercept, **fields)
    for image in images:
        image.PixelData = (np.frombuffer(image.PixelData, "<u2") & 0xFFF).astype("<u2").tobytes()
    return hu, images


def test_unsigned_numbers_that_are_called_signed_are_refused(tmp_path):
    _, images = twelve_bits(np.arange(1500, 1516).reshape(4, 4))
    with pytest.raises(VolumeError, match="numbers from 2,048 on look unsigned"):
        read(tmp_path, images)


def test_air_a_little_below_all_is_no_bone(tmp_path):
    hu, images = twelve_bits(np.arange(-1040, -1024).reshape(4, 4))
    np.testing.assert_array_equal(np.stack(read(tmp_path, images).slices), hu)


def test_signed_numbers_without_sign_extension_are_read(tmp_path):
    hu, images = twelve_bits(np.arange(1500, 1516).reshape(4, 4), intercept=0.0)
    np.testing.assert_array_equal(np.stack(read(tmp_path, images).slices), hu)


@pytest.mark.parametrize(
    ("spacing", "known"),
    [((4, 5e-5, 5e-5), False), ((4, 200, 200), False), ((150, 1, 1), False), ((4, 0.02, 9), True)],
)
def test_voxels_that_no_scan_has_are_of_unknown_size(tmp_path, spacing, known):
    scan = read(tmp_path, make_images(HU, spacing))
    assert (scan.spacing is not None) == known
    assert ("no scan has such" in scan.unknown.get("size", "")) != known


MANY = np.random.default_rng(3).integers(-1000, 400, (21, 12, 10))


def with_one_digit(apart):
    """A series of slices so many mm apart, whose positions were rounded."""
    images = make_images(MANY, (apart, 1, 1))
    for image in images:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, round(float(z), 1)]
    return images


@pytest.mark.parametrize("apart", [0.625, 0.75, 0.45, 1.25, 2.5])
def test_places_with_one_digit_are_even_all_the_same(tmp_path, apart):
    images = with_one_digit(apart)
    scan = read(tmp_path / "whole", images)
    np.testing.assert_array_equal(np.stack(scan.slices), MANY)
    assert scan.spacing == pytest.approx((apart, 1, 1), abs=0.1 / 20)
    with pytest.raises(VolumeError, match="images are missing or unevenly spaced"):
        read(tmp_path / "missing", images[:9] + images[10:])


@pytest.mark.parametrize("marked", [[7, 8], [5, 6, 7, 8], [2, 3, 18, 19], [*range(21)]])
@pytest.mark.parametrize("apart", [0.625, 0.75, 1.25])
def test_a_mask_of_places_with_one_digit_has_the_volume_of_its_scan(tmp_path, apart, marked):
    scan = read(tmp_path / "in", with_one_digit(apart))
    mask = np.zeros(MANY.shape, np.uint8)
    mask[marked, 2:5, 3:6] = 1
    scan.save(tmp_path, "mask", list(mask))
    drawn = masks.read_infection(tmp_path / "mask.dcm")
    volume = metrics.lesion_volume(drawn.classes, drawn.grid.spacing)
    assert volume == pytest.approx(len(marked) * 9 * scan.spacing[0] / 1000)
    assert volume == pytest.approx(len(marked) * 9 * apart / 1000, rel=0.01)
    np.testing.assert_array_equal(drawn.on(scan.grid)[0], mask)


@pytest.mark.parametrize(
    ("thickness", "noted"), [(4.0, 0), (3.0, 0), (6.0, 0), (2.0, 1), (None, 0)]
)
def test_what_lies_between_thin_slices_is_noted(tmp_path, thickness, noted):
    scan = read(tmp_path, make_images(HU, SPACING, SliceThickness=thickness))
    assert sum("slices of 2 mm lie 4 mm apart" in note for note in scan.notes) == noted
    assert scan.spacing == pytest.approx(SPACING)


@pytest.mark.parametrize("said", ["00", "01", ""])
def test_what_was_compressed_with_loss_stays_so_when_it_is_unpacked(tmp_path, said):
    scan = read(tmp_path, make_images(HU, SPACING, LossyImageCompression=said))
    assert scan.notes == (("5 of 5 images are compressed with loss",) if said == "01" else ())
