"""DICOM series: any order, direction and compression into HU; results as Segmentation objects."""

import zipfile

import gdcm
import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import uid

from cosup_jax.scans import dicom, dicom_seg, find
from tests.scans.dicom_series import make_images, save

HU = np.random.default_rng(0).integers(-1000, 400, (5, 16, 12))


def axial(series):
    return series.grid.to_axial(series.stored)


def transcode(source, target, syntax):
    """Rewrites an image in another transfer syntax (GDCM)."""
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(source))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def test_slices_are_sorted_by_place_and_are_in_hu(tmp_path):
    found = dicom.read_series(save(tmp_path, make_images(HU)))
    np.testing.assert_array_equal(axial(found), HU)
    assert found.stored.dtype == np.int16
    assert found.grid.orientation == "LPS"
    assert found.spacing == (5.0, 0.75, 0.5)
    assert found.notes == ()
    assert [h.InstanceNumber for h in found.headers] == [1, 2, 3, 4, 5]


def test_numbers_that_contradict_the_places_are_not_believed(tmp_path):
    images = make_images(HU)
    for image, number in zip(images, (3, 1, 5, 2, 4), strict=True):
        image.InstanceNumber = number
    np.testing.assert_array_equal(axial(dicom.read_series(save(tmp_path, images))), HU)


# Each is the same block in the body: how its slices are cut, their spacing, the directions of
# columns and rows, and the ends of the body's axes (x, y, z) at which the first voxel lies.
STORED = {
    "face down": (HU[:, ::-1, ::-1], (2, 0.75, 0.5), ((-1, 0, 0), (0, -1, 0)), (1, 1, 0)),
    "feet first": (HU[::-1, :, ::-1], (2, 0.75, 0.5), ((-1, 0, 0), (0, 1, 0)), (1, 0, 1)),
    "coronal": (HU.transpose(1, 0, 2)[:, ::-1], (0.75, 2, 0.5), ((1, 0, 0), (0, 0, -1)), (0, 0, 1)),
    "sagittal": (
        HU.transpose(2, 0, 1)[::-1, ::-1],
        (0.5, 2, 0.75),
        ((0, 1, 0), (0, 0, -1)),
        (1, 0, 1),
    ),
}


@pytest.mark.parametrize("name", STORED)
def test_whatever_the_stored_direction_the_view_is_the_same(tmp_path, name):
    hu, spacing, directions, ends = STORED[name]
    origin = np.array([-100.0, -120.0, -300.0]) + np.multiply(ends, (0.5 * 11, 0.75 * 15, 2 * 4))
    images = make_images(hu, spacing, directions=directions, origin=origin)
    found = dicom.read_series(save(tmp_path, images))
    np.testing.assert_array_equal(axial(found), HU)
    assert found.spacing == pytest.approx((2, 0.75, 0.5))


def test_slices_stored_from_the_head_down_are_turned(tmp_path):
    images = make_images(HU[::-1], step=(0, 0, -5.0))
    np.testing.assert_array_equal(axial(dicom.read_series(save(tmp_path, images))), HU)


@pytest.mark.parametrize(
    "syntax",
    [
        *("RLELossless", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless"),
        *("JPEG2000Lossless", "ExplicitVRBigEndian", "ImplicitVRLittleEndian"),
    ],
)
def test_transfer_syntaxes_without_loss(tmp_path, syntax):
    plain = save(tmp_path / "plain", make_images(HU))
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "other" / path.name for path in plain]
    for source, target in zip(plain, paths, strict=True):
        transcode(source, target, syntax)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID != uid.ExplicitVRLittleEndian
    found = dicom.read_series(paths)
    np.testing.assert_array_equal(axial(found), HU)
    assert found.notes == ()


def test_loss_is_said(tmp_path):
    plain = save(tmp_path / "plain", make_images(HU))
    (tmp_path / "lossy").mkdir()
    paths = [tmp_path / "lossy" / path.name for path in plain]
    for source, target in zip(plain, paths, strict=True):
        transcode(source, target, "JPEGLSNearLossless")
    assert dicom.read_series(paths).notes == ("5 of 5 images are compressed with loss",)


@pytest.mark.parametrize(("slope", "intercept"), [(2.0, -1024.0), (1.0, 0.0), (0.5, -1000.0)])
def test_rescale_gives_hu(tmp_path, slope, intercept):
    even = HU // 2 * 2
    paths = save(tmp_path, make_images(even, slope=slope, intercept=intercept))
    np.testing.assert_array_equal(axial(dicom.read_series(paths)), even)


def test_slices_may_differ_in_their_rescale(tmp_path):
    images = make_images(HU[:2]) + make_images(HU[2:], intercept=0.0)
    for i, image in enumerate(images):
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, name, images[0][name].value)
        image.ImagePositionPatient = [0, 0, 5 * i]
    np.testing.assert_array_equal(axial(dicom.read_series(save(tmp_path, images))), HU)


def test_a_gantry_tilt_is_said_and_does_not_change_the_volume(tmp_path):
    images = make_images(HU, step=(0, 1.0, 5.0))
    found = dicom.read_series(save(tmp_path, images))
    assert found.notes == (
        "gantry tilt of 11.3°: slices are used as they are, reformats are sheared",
    )
    assert found.spacing == pytest.approx((5.0, 0.75, 0.5))
    np.testing.assert_array_equal(axial(found), HU)


def test_what_is_no_image_is_set_aside_and_counted(tmp_path):
    images = make_images(HU)
    localizer, report = make_images(HU[:2])
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = uid.BasicTextSRStorage
    paths = save(tmp_path, [*images, localizer, report])
    (tmp_path / "ZZ").write_bytes(b"not an image")
    found = dicom.read_series([*paths, tmp_path / "ZZ"])
    kinds = found.notes[0].removeprefix("set aside: ").split(", ")
    assert sorted(kinds) == ["1 Basic Text SR Storage", "1 localizer", "1 not DICOM"]
    np.testing.assert_array_equal(axial(found), HU)


def test_of_several_series_one_can_be_chosen(tmp_path):
    paths = save(tmp_path / "a", make_images(HU)) + save(
        tmp_path / "b", make_images(HU[::-1], series=4)
    )
    with pytest.raises(dicom.VolumeError, match=r"several series: 3 \(5 images\); 4 \(5 images\)"):
        dicom.read_series(paths)
    found = dicom.read_series(paths, 4)
    np.testing.assert_array_equal(axial(found), HU[::-1])
    assert found.notes == ("other series left out: 1",)
    with pytest.raises(dicom.VolumeError, match="0 series 7; there are: 3 "):
        dicom.read_series(paths, 7)


def test_a_single_image_has_the_thickness_of_its_slice(tmp_path):
    found = dicom.read_series(save(tmp_path, make_images(HU[:1])))
    assert found.spacing == (5.0, 0.75, 0.5)
    assert "a single image" in found.notes[0]


def test_a_zip_is_read_as_its_folder_is(tmp_path):
    paths = save(tmp_path / "folder", make_images(HU))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"deep/er/{path.name}")
    (folder,), _ = find.find_scans([tmp_path / "folder"], tmp_path)
    (zipped,), _ = find.find_scans([tmp_path / "a.zip"], tmp_path)
    assert zipped.digest() == folder.digest()
    np.testing.assert_array_equal(np.stack(zipped.read().slices), HU)


@pytest.mark.parametrize("order", ["LPS", "turned"])
def test_results_are_segmentations_of_the_same_images(tmp_path, order):
    turn = {"LPS": {}, "turned": {"directions": ((-1, 0, 0), (0, 1, 0))}}[order]
    paths = save(tmp_path / "in", make_images(HU, **turn))
    source = find.Source(tmp_path / "in", "dicom", tuple(paths))
    scan = source.read()
    grey = [np.clip(pixels // 4 + 250, 0, 255).astype(np.uint8) for pixels in scan.slices]
    scan.save(tmp_path, "mask", [(pixels > 0).astype(np.uint8) for pixels in scan.slices])
    scan.save(tmp_path, "probability", grey)

    images = [pydicom.dcmread(path) for path in paths]
    names = [image.SOPInstanceUID for image in images]
    hu = np.stack([image.pixel_array - 1024 for image in images])
    mask = hd.seg.segread(tmp_path / "mask.dcm")
    assert mask.SegmentationType == "BINARY"
    found = mask.get_pixels_by_source_instance(names, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(found[..., 0], hu > 0)
    probability = hd.seg.segread(tmp_path / "probability.dcm")
    assert probability.SegmentationType == "FRACTIONAL"
    found = probability.get_pixels_by_source_instance(names, assert_missing_frames_are_empty=True)
    np.testing.assert_allclose(found[..., 0] * 255, np.clip(hu // 4 + 250, 0, 255), atol=1e-3)
    assert (mask.PatientName, mask.PatientID) == ("Doeringer^Janette", "MRN-4711")
    assert mask.StudyInstanceUID == images[0].StudyInstanceUID
    assert mask.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert mask.SeriesInstanceUID != images[0].SeriesInstanceUID


@pytest.mark.parametrize("how", ["dropped", "empty"])
def test_images_whose_patient_was_hidden_can_be_segmented(tmp_path, how):
    images = make_images(HU)
    for image in images:
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
            setattr(image, name, None)
        for name in ("StudyTime", "StudyID", "AccessionNumber", "SliceThickness", "RescaleType"):
            setattr(image, name, None)
        if how == "dropped":
            for element in [e for e in image if not e.value and e.keyword != "PixelData"]:
                del image[element.tag]
    series = dicom.read_series(save(tmp_path / "in", images))
    np.testing.assert_array_equal(axial(series), HU)
    dicom_seg.write(tmp_path / "mask.dcm", (HU > 0).astype(np.uint8), series, "mask")
    seg = hd.seg.segread(tmp_path / "mask.dcm")
    assert not seg.PatientID
    found = seg.get_pixels_by_source_instance([image.SOPInstanceUID for image in images])
    np.testing.assert_array_equal(found[..., 0], HU > 0)


@pytest.mark.parametrize("odd", [b"19,80", b"thick", b"4\\4.0", b"-4.00", b"NaN  ", b"0.000"])
def test_a_thickness_that_is_none_harms_nothing(tmp_path, odd):
    for path in save(tmp_path / "in", make_images(HU, SliceThickness="12.34")):
        content = path.read_bytes()
        assert content.count(b"12.34 ") == 1
        path.write_bytes(content.replace(b"12.34 ", odd + b" "))
    series = dicom.read_series([*(tmp_path / "in").iterdir()])
    assert not series.notes
    dicom_seg.write(tmp_path / "mask.dcm", (HU > 0).astype(np.uint8), series, "mask")
    seg = hd.seg.segread(tmp_path / "mask.dcm")
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == 5  # as far as the planes lie apart


def test_an_empty_mask_can_be_written(tmp_path):
    series = dicom.read_series(save(tmp_path / "in", make_images(HU)))
    dicom_seg.write(tmp_path / "mask.dcm", np.zeros(HU.shape, np.uint8), series, "mask")
    assert not hd.seg.segread(tmp_path / "mask.dcm").pixel_array.any()


def test_the_same_result_has_the_same_identifiers(tmp_path):
    series = dicom.read_series(save(tmp_path / "in", make_images(HU)))
    for name in ("a.dcm", "b.dcm"):
        dicom_seg.write(tmp_path / name, (HU > 0).astype(np.uint8), series, "mask")
    dicom_seg.write(tmp_path / "c.dcm", (HU > 9).astype(np.uint8), series, "mask")
    a, b, c = (
        pydicom.dcmread(tmp_path / name).SOPInstanceUID for name in ("a.dcm", "b.dcm", "c.dcm")
    )
    assert a == b != c
