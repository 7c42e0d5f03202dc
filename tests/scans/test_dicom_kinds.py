"""What lies in a study as images of CT and is no scan: projections, renderings, bolus tracking."""

import numpy as np
import pytest

from cosup_jax.scans.source import ScanError
from tests.scans.dicom_series import make_images, save
from tests.scans.enhanced import make_enhanced
from tests.scans.test_find_discs import WIDE, scans_of, voxels

MIP = "8 projection or rendering of a volume (such as MIP)"
TRACKING = "image of a place that is taken several times (as bolus tracking)"


def of_study(first, *others, series=True):
    """Gives images the identifiers of the first ones, and another SeriesNumber to each list."""
    for number, images in enumerate(others, 11):
        for image in images:
            for name in ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID")[
                : 2 + series
            ]:
                setattr(image, name, first[0][name].value)
            image.SeriesNumber = number
    return [image for images in (first, *others) for image in images]


def tracking(count, height=-280.0):
    """One slice, taken again and again."""
    noise = np.random.default_rng(0).integers(0, 9, (count, *WIDE.shape[1:]))
    images = make_images(WIDE[4] + noise, origin=(-100.0, -120.0, height), step=(0, 0, 0))
    for i, image in enumerate(images):
        image.AcquisitionNumber, image.AcquisitionTime = i + 2, f"1015{i:02}"
    return images


@pytest.mark.parametrize(
    "image_type",
    [
        ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"],
        ["DERIVED", "SECONDARY", "MINIP"],
        ["DERIVED", "SECONDARY", "PROJECTION IMAGE"],
        ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 VRT"],
        ["DERIVED", "SECONDARY", "REFORMATTED", "MAX_IP"],
        ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"],
    ],
)
def test_projections_are_no_scan(tmp_path, image_type):
    """Of the brightest of several slices nothing measured is true."""
    brightest = make_images(np.maximum(WIDE, WIDE[::-1]), ImageType=image_type)
    first = make_images(WIDE)
    of_study(first, brightest, series=False)
    save(tmp_path / "mip", brightest)
    with pytest.raises(ScanError, match=r"no CT images; found 8 projection"):
        scans_of(tmp_path)[0][0].read()
    save(tmp_path / "ct", first)
    (source,), aside = scans_of(tmp_path)
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert MIP in str(aside)
    assert f"set aside: {MIP}" in source.read().notes


@pytest.mark.parametrize(
    "image_type", ["AVERAGE", "MPR", "CT_SOM5 SPI DUAL", "MIPLEVEL", "CT_MIPO"]
)
def test_means_and_planes_of_a_volume_are_scans(tmp_path, image_type):
    save(tmp_path / "d", make_images(WIDE, ImageType=["DERIVED", "SECONDARY", image_type]))
    (source,), aside = scans_of(tmp_path)
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert not aside


@pytest.mark.parametrize("technique", ["MAX_IP", "MIN_IP", "VOLUME_RENDER", "MPR", "NONE"])
def test_enhanced_ct_says_it_in_an_attribute_of_its_own(tmp_path, technique):
    (tmp_path / "d").mkdir()
    made = make_enhanced(make_images(WIDE), VolumeBasedCalculationTechnique=technique)
    made.save_as(tmp_path / "d/one", enforce_file_format=True)
    (source,), _ = scans_of(tmp_path)
    if technique in ("MPR", "NONE"):
        np.testing.assert_array_equal(voxels(source), WIDE)
        return
    with pytest.raises(ScanError, match=r"no CT images; found 1 projection"):
        source.read()


@pytest.mark.parametrize(
    ("description", "said"), [("Lung 10.0 MIP", True), ("minip", True), ("maximum breath", False)]
)
def test_a_projection_by_its_description_alone_is_said(tmp_path, description, said):
    save(tmp_path / "d", make_images(WIDE, SeriesDescription=description))
    (source,), _ = scans_of(tmp_path)
    notes = source.read().notes
    assert any("its description names a projection" in note for note in notes) == said


def test_colour_pictures_of_a_study_fail_no_call(tmp_path):
    coloured = make_images(WIDE, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    save(tmp_path / "a", make_images(WIDE))
    save(tmp_path / "b", coloured)
    (source,), aside = scans_of(tmp_path)
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert "8 colour picture" in str(aside)


@pytest.mark.parametrize("count", [3, 12, 60])
@pytest.mark.parametrize("identifier", ["its own", "that of the scan"])
def test_bolus_tracking_is_set_aside(tmp_path, count, identifier):
    """A scan with contrast agent has a series of one place; some tools give all one identifier."""
    shared = identifier == "that of the scan"
    save(tmp_path / "d", of_study(make_images(WIDE), tracking(count), series=shared))
    (source,), aside = scans_of(tmp_path)
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert f"{count} {TRACKING}" in str(aside)
    assert f"set aside: {count} {TRACKING}" in source.read().notes


def test_a_whole_study_under_one_identifier_is_its_scans(tmp_path):
    sharp = make_images(WIDE[::-1])
    localizer = make_images(WIDE[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save(tmp_path / "d", of_study(make_images(WIDE), sharp, tracking(6), localizer))
    found, aside = scans_of(tmp_path)
    assert [voxels(source).shape for source in found] == [WIDE.shape] * 2
    assert f"1 localizer, 6 {TRACKING}" in str(aside)


@pytest.mark.parametrize("case", ["alone", "many", "a slice again"])
def test_what_may_be_slices_of_a_scan_is_not_set_aside(tmp_path, case):
    """Positions may be lost, and a slice that was taken again is one of two that may be meant."""
    first = make_images(WIDE)
    images = {
        "alone": lambda: tracking(6),
        "many": lambda: of_study(first, tracking(61), series=False),
        "a slice again": lambda: of_study(first, tracking(1)),
    }[case]()
    save(tmp_path / "d", images)
    found, aside = scans_of(tmp_path)
    assert any("lie where another one lies" in (source.stack.fault or "") for source in found)
    assert TRACKING not in str(aside)
