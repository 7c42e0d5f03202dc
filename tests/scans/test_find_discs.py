"""Discs, archives and data sets: one scan for each CT series, and one line on everything else."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from cosup_jax.scans import dicom_headers, find
from tests.scans.dicom_series import make_images, save
from tests.scans.nifti_files import ct, forge
from tests.scans.test_dicom import HU

WIDE = np.random.default_rng(5).integers(-1000, 400, (8, 16, 12))


def scans_of(*inputs, out="/nowhere", **options):
    return find.find_scans(inputs, find.Path(out), **options)


def spread(root, images, folders):
    """Saves images into several folders in turn."""
    for i, image in enumerate(images):
        save(root / folders[i * len(folders) // len(images)], [image], [f"I{i:03}"])


def without_identifiers(images):
    for image in images:
        for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            setattr(image, name, "")
        image.FrameOfReferenceUID = image.PatientID = image.PatientName = ""
    return images


def voxels(source):
    return np.stack(source.read().slices)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("given", ["one input", "each folder"])
def test_one_series_over_several_folders_is_one_scan(tmp_path, named, given):
    images = make_images(WIDE)
    spread(tmp_path / "d", images if named else without_identifiers(images), ["a", "b/c", "b/d"])
    inputs = [tmp_path / "d"] if given == "one input" else [tmp_path / "d/a", tmp_path / "d/b"]
    (source,), others = scans_of(*inputs)
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert not others
    assert any("3 folders make one stack" in note for note in source.read().notes) != named


def test_two_patients_without_identifiers_in_a_folder_each_stay_two(tmp_path):
    save(tmp_path / "d/p1", without_identifiers(make_images(WIDE)))
    save(tmp_path / "d/p2", without_identifiers(make_images(WIDE[::-1])))
    # One lies where the other ends: only the numbers of the images say that they are not one.
    third = make_images(WIDE, origin=(-100.0, -120.0, -260.0))
    save(tmp_path / "d/p3", without_identifiers(third))
    found, _ = scans_of(tmp_path / "d")
    assert [source.path.name for source in found] == ["p1", "p2", "p3"]
    assert len({source.digest() for source in found}) == 3


APART = {
    "PatientID": "patients",
    "StudyInstanceUID": "studies",
    "FrameOfReferenceUID": "frames of reference",
}


@pytest.mark.parametrize("what", APART)
def test_a_series_is_never_joined_over_patients_studies_or_frames(tmp_path, what):
    images = make_images(WIDE)
    for image in images[4:]:
        setattr(image, what, "1.2.3")
    save(tmp_path / "d", images)
    found, _ = scans_of(tmp_path / "d")
    assert [len(source.read().slices) for source in found] == [4, 4]
    said = f"its series has images of several {APART[what]}, each of which is a scan of its own"
    assert [source.read().notes[:1] for source in found] == [(said,)] * 2


@pytest.mark.parametrize("by", ["ConvolutionKernel", "AcquisitionNumber", "folder", "number"])
def test_two_stacks_at_the_same_places_are_two_scans(tmp_path, by):
    first, second = make_images(WIDE), make_images(WIDE[::-1])
    for i, image in enumerate(second):
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, name, first[0][name].value)
        if by == "number":
            image.InstanceNumber = 9 + i
    if by in ("ConvolutionKernel", "AcquisitionNumber"):
        for number, images in enumerate((first, second), 1):
            for image in images:
                setattr(image, by, str(number))
    save(tmp_path / "d/a", first)
    save(tmp_path / ("d/b" if by == "folder" else "d/a"), second, [f"J{i}" for i in range(8)])
    found, _ = scans_of(tmp_path / "d")
    assert sorted(voxels(s).tolist() for s in found) == sorted([WIDE.tolist(), WIDE[::-1].tolist()])
    assert len({source.part for source in found}) == 2
    assert all("one of 2 stacks of its series" in source.read().notes for source in found)


def of_one_series(images, others):
    for image in others:
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, name, images[0][name].value)
    return [*images, *others]


def test_reformats_across_each_other_are_scans_however_many_images_they_have(tmp_path):
    coronal = np.random.default_rng(6).integers(-1000, 400, (30, 8, 12))
    ways = {"directions": ((1, 0, 0), (0, 0, -1)), "origin": (-100, -120, -265)}
    images = of_one_series(make_images(WIDE), make_images(coronal, (0.75, 5.0, 0.5), **ways))
    save(tmp_path / "d", images)
    found, _ = scans_of(tmp_path / "d")
    expected = {8: WIDE, 30: coronal}
    assert sorted(len(source.files) for source in found) == [8, 30]
    for source in found:
        scan, frames = source.read(), expected[len(source.files)]
        np.testing.assert_array_equal(scan.slices, scan.grid.to_axial(frames.transpose(2, 1, 0)))


@pytest.mark.parametrize(
    ("fields", "hu", "named"),
    [
        ({"AcquisitionNumber": 2}, WIDE[:4] + 1, "; AcquisitionNumber would part them into 2"),
        ({}, np.pad(WIDE[:4], ((0, 0), (2, 2), (0, 0))), "Rows, Columns or PixelSpacing would"),
    ],
)
def test_stacks_too_unequal_to_be_sure_of_are_refused_by_what_parts_them(
    tmp_path, fields, hu, named
):
    whole = make_images(np.concatenate([WIDE, WIDE]), AcquisitionNumber=1)
    images = of_one_series(whole, make_images(hu, **fields))
    save(tmp_path / "d", images, [f"I{i}" for i in range(20)])
    (source,), _ = scans_of(tmp_path / "d")
    with pytest.raises(ValueError, match=named) as caught:
        source.read()
    assert "2 stacks of 4 to 16 images, which are too unequal" in str(caught.value)


def disc(root):
    """A disc with a CT series, and everything that lies on discs."""
    images = make_images(WIDE)
    study = images[0].StudyInstanceUID
    spread(root, images, ["DICOM/A", "DICOM/B"])
    (root / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    localizer, capture, scout, page = make_images(HU[:4])
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = (
        uid.SecondaryCaptureImageStorage
    )
    scout.SeriesInstanceUID = "1.2.3"
    page.SeriesInstanceUID = "1.2.4"
    del page.ImagePositionPatient, page.ImageOrientationPatient
    for image in (localizer, capture, scout, page):
        image.StudyInstanceUID = study
    save(root / "DICOM/C", [localizer, capture, scout, page])
    (root / "DICOM/A/broken.dcm").write_bytes(
        bytes(128) + b"DICM" + b"\2\0\0\0UL\4\0" + b"\xff" * 9
    )
    Image.new("RGB", (60, 40), (200, 30, 30)).save(root / "DICOM/logo.png")
    (root / "HTML").mkdir()
    Image.fromarray(np.arange(99, dtype=np.uint8).reshape(9, 11)).save(root / "HTML/preview.jpg")
    (root / "AUTORUN.INF").write_text("[autorun]")
    return root


def test_a_disc_is_one_scan_and_one_line(tmp_path):
    (source,), others = scans_of(disc(tmp_path / "disc"))
    scan = source.read()
    np.testing.assert_array_equal(np.stack(scan.slices), WIDE)
    said = str(others)
    assert said.count("\n") == 0
    for text in ("1 localizer", "Secondary Capture", "index of a disc", "2 picture beside scans"):
        assert text in said
    (note,) = (note for note in scan.notes if note.startswith("set aside"))
    for text in ("1 localizer", "1 image of a series of one or two", "1 CT image without a place"):
        assert text in note


@pytest.mark.parametrize("broken", ["no frame of reference", "unknown syntax", "no matrix"])
def test_a_broken_neighbour_blocks_no_series(tmp_path, broken):
    (odd,) = make_images(HU[:1], series=9)
    if broken == "no frame of reference":
        del odd.FrameOfReferenceUID
    if broken == "no matrix":
        del odd.Rows
    paths = save(tmp_path / "d", make_images(WIDE)) + save(tmp_path / "d", [odd], ["odd.dcm"])
    if broken == "unknown syntax":
        content = paths[-1].read_bytes()
        known, unknown = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"
        paths[-1].write_bytes(content.replace(known, unknown, 1))
    (source,), others = scans_of(tmp_path / "d")
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert "1 image of a series of one or two" in str(others)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"PixelSpacing": [683594, 683594]}, 6),
        ({"PixelSpacing": [1e-200, 1]}, 6),
        ({"SliceThickness": 1e8}, 1),
        ({"step": (0, 0, 2e5)}, 6),
    ],
)
def test_a_series_of_absurd_geometry_is_one_scan_that_failed(tmp_path, fields, count):
    save(tmp_path / "d/good", make_images(WIDE))
    save(tmp_path / "d/odd", make_images(WIDE[:count], series=9, **fields))
    good, odd = scans_of(tmp_path / "d")[0]
    np.testing.assert_array_equal(voxels(good), WIDE)
    with pytest.raises(ValueError, match="the headers place the images nowhere: the affine makes"):
        odd.read()


def test_a_whole_folder_that_cannot_be_read_is_a_scan_that_failed(tmp_path):
    save(tmp_path / "d/good", make_images(WIDE))
    for path in save(tmp_path / "d/bad", make_images(WIDE)):
        path.write_bytes(path.read_bytes()[:136])
    found, _ = scans_of(tmp_path / "d")
    assert [bool(source.fault) for source in found] == [True, False]


def test_series_are_chosen_by_number_description_or_uid(tmp_path):
    save(tmp_path / "d", make_images(WIDE, series=4, SeriesDescription="Lung 1.0 B60"))
    second = make_images(WIDE[::-1], series=5, SeriesDescription="Soft 1.0 B30")
    save(tmp_path / "d", second, [f"J{i}" for i in range(8)])
    for wanted in ("5", "soft", "Soft 1.0 B30", second[0].SeriesInstanceUID[:-2]):
        (source,), others = scans_of(tmp_path / "d", series=wanted)
        np.testing.assert_array_equal(voxels(source), WIDE[::-1])
        assert "1 DICOM series not chosen" in str(others)
        assert "other series left out: 1" in source.read().notes
    (source,), others = scans_of(tmp_path / "d", series="7")
    assert source.fault == "no series 7; there are: 4 (8 images); 5 (8 images)"
    for text in ("'Lung 1.0 B60'", second[0].SeriesInstanceUID):
        assert text in str(others)
        assert text not in source.fault


def test_images_with_a_study_each_are_refused_in_one_row(tmp_path):
    images = make_images(WIDE)
    for i, image in enumerate(images):
        image.SeriesInstanceUID = image.StudyInstanceUID = f"1.2.3.{i + 1}"
    save(tmp_path / "d", images)
    (source,), _ = scans_of(tmp_path / "d")
    with pytest.raises(ValueError, match="each of 8 images .* nothing says that they are one scan"):
        source.read()


@pytest.mark.parametrize("kind", ["dicom", "slices"])
def test_files_given_one_by_one_are_one_scan(tmp_path, kind):
    if kind == "dicom":
        paths = save(tmp_path / "d", make_images(WIDE))
    else:
        paths = [tmp_path / f"s{i}.png" for i in range(4)]
        for path in paths:
            Image.fromarray(np.arange(99, dtype=np.uint8).reshape(9, 11)).save(path)
    (source,), others = scans_of(*paths)
    assert len(source.read().slices) == len(paths)
    assert not others


def label_map(path, seed=0, kind=np.uint8):
    labels = np.random.default_rng(seed).integers(0, 3, ct().shape).astype(kind)
    nib.save(nib.Nifti1Image(labels, np.diag([-0.75, -0.75, 5, 1])), path)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_label_maps_beside_a_ct_are_set_aside(tmp_path, kind):
    forge(tmp_path / "case_ct.nii.gz", ct())
    label_map(tmp_path / "case_lungs.nii.gz", kind=kind)
    label_map(tmp_path / "case_seg.nii", kind=kind)
    (tmp_path / "masks").mkdir()
    label_map(tmp_path / "masks" / "case.nii.gz", kind=kind)
    (source,), others = scans_of(tmp_path)
    assert source.name == "case_ct"
    assert str(others) == "set aside: 3 label map"


def test_a_label_map_that_is_asked_for_or_alone_is_taken(tmp_path):
    label_map(tmp_path / "seg.nii")
    assert len(scans_of(tmp_path)[0]) == 1
    forge(tmp_path / "ct.nii", ct())
    assert len(scans_of(tmp_path / "seg.nii", tmp_path / "ct.nii")[0]) == 2


def test_an_unknown_kind_of_pixels_is_not_repeated(tmp_path):
    with dicom_headers.lenient():
        images = make_images(WIDE, PhotometricInterpretation="Doeringer")
        save(tmp_path / "d", images)
    (source,), _ = scans_of(tmp_path / "d")
    with pytest.raises(ValueError, match="of an unknown kind") as caught:
        source.read()
    assert "Doeringer" not in str(caught.value)


@pytest.mark.parametrize("given", ["DICOMDIR", "."])
def test_the_index_of_a_disc_alone_says_what_to_give(tmp_path, given):
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(find.ScanError, match=r"index of a disc .* give the folder in which these"):
        scans_of(tmp_path / given)
