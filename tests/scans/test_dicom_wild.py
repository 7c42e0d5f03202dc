"""DICOM headers as hospitals and archives hand them over: what is missing or odd does no harm."""

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cosup_jax.scans import dicom, dicom_headers, dicom_seg, find
from tests.scans.dicom_series import make_images, save
from tests.scans.test_dicom import HU, axial

MASK = (HU > 0).astype(np.uint8)


def write_odd(folder, images, change):
    """Changes images and saves them as they are, however odd."""
    folder.mkdir(parents=True)
    paths = []
    with dicom_headers.lenient():
        for i, image in enumerate(images):
            change(i, image)
            image.save_as(folder / f"I{i}", enforce_file_format=False)
            paths.append(folder / f"I{i}")
    return paths


def raw(image, tag, vr, value):
    """Puts bytes into a data set that pydicom would not let through."""
    image._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)


def emptied(*names):
    def change(i, image):
        for name in names:
            setattr(image, name, "")

    return change


def dropped(*names):
    def change(i, image):
        for name in names:
            delattr(image, name)

    return change


def set_to(**fields):
    def change(i, image):
        for name, value in fields.items():
            setattr(image, name, value(i) if callable(value) else value)

    return change


IDENTIFIERS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
NOTHING = (
    *("Modality", "Manufacturer", "SeriesNumber", "InstanceNumber", "StudyID", "StudyDate"),
    *("StudyTime", "PatientID", "PatientName", "AccessionNumber", "PatientSex", "ImageType"),
    *("ReferringPhysicianName", "PositionReferenceIndicator", "RescaleType", "PatientBirthDate"),
)


def odd_dates(i, image):
    raw(image, 0x00080020, "DA", b"2020-01-01")
    raw(image, 0x00080030, "TM", b"12:00:00")
    raw(image, 0x00100030, "DA", b"19000000")
    raw(image, 0x00100040, "CS", b"male")


def japanese(i, image):
    image.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    image.PatientName = "Yamada^Tarou=山田^太郎"


def chinese(i, image):
    image.SpecificCharacterSet = ["", "ISO 2022 IR 58"]
    raw(image, 0x00100010, "PN", b"Wang=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab=")


def wrong_character_set(i, image):
    image.SpecificCharacterSet = "UTF8"
    raw(image, 0x00100010, "PN", "Müller ".encode())


def undeclared_latin(i, image):
    raw(image, 0x00100010, "PN", "Müller^J ".encode("latin-1"))


# What is done to the images, and why no Segmentation can refer to them; empty where one can.
ODD = {
    "no instance UID": (emptied("SOPInstanceUID"), "5 of 5 images have no SOPInstanceUID"),
    "no frame of reference": (dropped("FrameOfReferenceUID"), "without a FrameOfReferenceUID"),
    "no study": (emptied("StudyInstanceUID"), "without a StudyInstanceUID"),
    "no series": (dropped("SeriesInstanceUID"), "without a SeriesInstanceUID"),
    "no identifiers at all": (dropped(*IDENTIFIERS), "have no SOPInstanceUID"),
    "one instance UID for all": (set_to(SOPInstanceUID="1.2.3"), "5 images have 1 different"),
    "UUID as text": (
        set_to(SOPInstanceUID=lambda i: f"0d7e3c1a-8a55-4e1f-9b0e-00000000000{i}"),
        "SOPInstanceUID of 5 of 5 images is no UID",
    ),
    "UIDs against the rules": (
        set_to(StudyInstanceUID="1.2.0840.ABC.5", SOPInstanceUID=lambda i: f"1.2.3.00{i}"),
        "",
    ),
    "a series UID for each slice": (set_to(SeriesInstanceUID=lambda i: f"1.2.3.{i + 1}"), ""),
    "class only in the file meta": (dropped("SOPClassUID"), ""),
    "class replaced too": (set_to(SOPClassUID="1.9.9"), ""),
    "Japanese": (japanese, ""),
    "an unknown character set": (wrong_character_set, ""),
    "letters of no character set": (undeclared_latin, ""),
    "odd dates": (odd_dates, ""),
    "nothing that is not needed": (dropped(*NOTHING), ""),
    "an empty image type": (set_to(ImageType=None), ""),
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_is_odd_the_voxels_are_the_same(tmp_path, name):
    change, reason = ODD[name]
    series = dicom.read_series(write_odd(tmp_path / "in", make_images(HU), change))
    np.testing.assert_array_equal(axial(series), HU)
    assert series.spacing == (5.0, 0.75, 0.5)
    if reason:
        with pytest.raises(dicom_seg.SegmentationError, match=reason):
            dicom_seg.write(tmp_path / "mask.dcm", MASK, series, "mask")
        assert not (tmp_path / "mask.dcm").exists()
    else:
        dicom_seg.write(tmp_path / "mask.dcm", MASK, series, "mask")
        with dicom_headers.lenient():
            mask = hd.seg.segread(tmp_path / "mask.dcm")
            found = mask.get_pixels_by_source_instance([h.SOPInstanceUID for h in series.headers])
        np.testing.assert_array_equal(found[..., 0], MASK)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (japanese, "Yamada^Tarou=山田^太郎"),
        (chinese, "Wang=王^小东"),
        (wrong_character_set, "Müller"),
        (undeclared_latin, "Müller^J"),
    ],
)
def test_the_name_in_the_mask_is_that_of_the_images(tmp_path, change, expected):
    series = dicom.read_series(write_odd(tmp_path / "in", make_images(HU), change))
    dicom_seg.write(tmp_path / "mask.dcm", MASK, series, "mask")
    assert str(pydicom.dcmread(tmp_path / "mask.dcm").PatientName) == expected


def without_preamble(path, syntax):
    path.write_bytes(path.read_bytes()[132:])


def without_meta(path, syntax):
    content = path.read_bytes()
    path.write_bytes(content[132 + 12 + int.from_bytes(content[140:144], "little") :])


@pytest.mark.parametrize("cut", [without_preamble, without_meta])
@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_files_without_a_preamble_or_meta_are_read(tmp_path, cut, syntax):
    paths = save(tmp_path, make_images(HU, syntax=syntax))
    for path in paths:
        cut(path, syntax)
    np.testing.assert_array_equal(axial(dicom.read_series(paths)), HU)


def test_a_syntax_that_is_not_the_true_one_is_seen_through(tmp_path):
    paths = save(tmp_path, make_images(HU, syntax=uid.ImplicitVRLittleEndian))
    for path in paths:
        content = path.read_bytes()
        true, claimed = b"UI\x12\x001.2.840.10008.1.2\0", b"UI\x14\x001.2.840.10008.1.2.1\0"
        path.write_bytes(content.replace(true, claimed, 1))
    np.testing.assert_array_equal(axial(dicom.read_series(paths)), HU)


def test_the_mask_has_patient_and_study_and_nothing_else_of_the_images(tmp_path):
    hidden = {
        "InstitutionName": "Zyzzyva clinic",
        "StationName": "Zyzzyva station",
        "DeviceSerialNumber": "Zyzzyva serial",
        "ReferringPhysicianName": "Zyzzyva^Doctor",
        "StudyDescription": "Zyzzyva study",
        "SeriesDescription": "Zyzzyva series",
        "AccessionNumber": "Zyzzyva 1",
        "PatientComments": "Zyzzyva comments",
        "PatientAddress": "Zyzzyva road",
        "OperatorsName": "Zyzzyva^Operator",
        "Manufacturer": "Zyzzyva maker",
        "ManufacturerModelName": "Zyzzyva model",
        "ClinicalTrialSubjectID": "Zyzzyva subject",
        "OtherPatientIDs": "Zyzzyva 2",
        "PatientAge": "042Y",
        "ProtocolName": "Zyzzyva protocol",
    }
    series = dicom.read_series(save(tmp_path / "in", make_images(HU, **hidden)))
    for result in ("mask", "probability", "classes"):
        dicom_seg.write(tmp_path / f"{result}.dcm", MASK, series, result)
        content = (tmp_path / f"{result}.dcm").read_bytes()
        assert b"Zyzzyva" not in content
        assert b"042Y" not in content
    mask = pydicom.dcmread(tmp_path / "mask.dcm")
    assert (mask.PatientName, mask.PatientID) == ("Doeringer^Janette", "MRN-4711")
    assert (mask.PatientBirthDate, mask.PatientSex, mask.StudyDate) == ("19700101", "F", "20200315")
    assert mask.StudyInstanceUID == series.headers[0].StudyInstanceUID


def without_magic(path):
    content = path.read_bytes()
    path.write_bytes(bytes(132) + content[132:])


def with_the_magic_alone(path):
    path.write_bytes(path.read_bytes()[128:])


def with_zeros_and_nothing_else_before(path):
    content = path.read_bytes()
    path.write_bytes(bytes(128) + content[144 + int.from_bytes(content[140:144], "little") :])


@pytest.mark.parametrize(
    "cut", [without_magic, with_the_magic_alone, with_zeros_and_nothing_else_before]
)
def test_files_that_begin_oddly_are_found_and_read(tmp_path, cut):
    for path in save(tmp_path / "d", make_images(HU)):
        cut(path)
    (source,), others = find.find_scans([tmp_path / "d"], tmp_path / "out")
    np.testing.assert_array_equal(np.stack(source.read().slices), HU)
    assert not others


def test_a_file_of_millions_of_empty_elements_is_refused(tmp_path):
    paths = save(tmp_path, make_images(HU))
    content = paths[0].read_bytes()
    at = content.index(b"\x20\x00\x0d\x00UI")  # of the study, in the middle of the header
    empty = b"".join(b"\x19\x00" + i.to_bytes(2, "little") + b"LO\0\0" for i in range(60_000))
    paths[0].write_bytes(content[:at] + empty * 20 + content[at:])
    with pytest.raises(dicom.VolumeError, match="a header of more elements than any image has"):
        dicom.read_series(paths[:1])
    assert "set aside: 1 file that cannot be read" in dicom.read_series(paths).notes
