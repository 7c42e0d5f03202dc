"""Nothing that names somebody leaves a DICOM, whatever is asked for and whatever goes wrong."""

import gzip
import zipfile

import numpy as np
import pydicom
import pytest

from tests.prediction.scan_files import folders, process
from tests.scans.dicom_series import make_images, save

PLANTED = {
    "PatientName": "Zzyzx^Quorlia",
    "PatientID": "PID-90210-X",
    "PatientBirthDate": "19431127",
    "InstitutionName": "Klinikum Wolkenkuckuck",
    "AccessionNumber": "ACC-55512",
    "ReferringPhysicianName": "Drfeelgood^Otto",
    "PatientAddress": "Nirgendwoallee 17",
    "StudyDescription": "STUDYDESC-Quux",
    "SeriesDescription": "SERDESC-Plugh",
    "PatientComments": "COMMENT-frobnicate",
    "StationName": "STATION-frotz",
    "OperatorsName": "Opperman^Olga",
    "ProtocolName": "PROTO-gnusto",
    "StudyDate": "20191224",
    "DeviceSerialNumber": "DEV-778899",
    "ImageComments": "IMGCOM-blorb",
}
FOLDER, FILE = "FOLDERNAME-Zzyzx", "FILENAME-Quorlia"


pytestmark = pytest.mark.usefixtures("fake")


@pytest.fixture
def planted():
    hu = np.random.default_rng(0).integers(-1000, -900, (4, 16, 12))
    hu[2:, :6, 6:] = 100
    return make_images(hu, **PLANTED)


def words(images):
    found = {FOLDER, FILE, "Zzyzx", "Quorlia"}
    for text in PLANTED.values():
        found |= {text, *text.split("^")}
    for image in images:
        found |= {str(image.SOPInstanceUID), str(image.StudyInstanceUID)}
        found |= {str(image.SeriesInstanceUID), str(image.FrameOfReferenceUID)}
    return found


def leaks(out, secrets, but=()):
    """Which of the secrets stand in names or contents below a folder."""
    found = []
    for path in out.rglob("*"):
        data = path.read_bytes() if path.is_file() and path.name not in but else b""
        data = gzip.decompress(data) if path.suffix == ".gz" and data else data
        text = str(path.relative_to(out)).encode() + data
        found += [
            (path.name, secret)
            for secret in secrets
            if secret.encode() in text or secret.encode("utf-16-le") in text
        ]
    return found


def folder_of(images, tmp_path):
    return save(tmp_path / "in" / FOLDER, images, [f"{FILE}-{i}" for i in range(len(images))])


@pytest.mark.parametrize("form", ["nifti", "dicom-seg", "both"])
def test_results_hold_no_identifier_but_for_the_segmentation(tmp_path, planted, form):
    folder_of(planted, tmp_path)
    out = tmp_path / "out"
    (row,) = process([tmp_path / "in"], out, format=form, report=True, probability=True)
    assert row["status"] == "done"
    assert leaks(out, words(planted), but=("mask.dcm", "probability.dcm")) == []
    assert bool(list(out.rglob("*.dcm"))) == (form != "nifti")
    # The Segmentation has patient and study, and the identifiers of its images; nothing else.
    wanted = {"PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber"}
    kept = {text for name, text in PLANTED.items() if name in wanted}
    for path in out.rglob("*.dcm"):
        text = str(pydicom.dcmread(path))
        assert "Quorlia" in text
        assert not [text_ for text_ in {*PLANTED.values()} - kept if text_.split("^")[0] in text]


def cut(paths):
    paths[2].write_bytes(paths[2].read_bytes()[:900])


def of_other_size(paths):
    image = pydicom.dcmread(paths[1])
    image.Rows = 99
    image.save_as(paths[1])


def with_a_name(keyword):
    def spoil(paths):
        for path in paths:
            image = pydicom.dcmread(path)
            tag = pydicom.datadict.tag_for_keyword(keyword)
            image[tag] = pydicom.DataElement(tag, "LO", "Zzyzx^Quorlia")
            with pydicom.config.disable_value_validation():
                image.save_as(path)

    return spoil


DAMAGE = {
    "cut": cut,
    "other size": of_other_size,
    **{
        keyword: with_a_name(keyword)
        for keyword in (
            *("PhotometricInterpretation", "RescaleSlope", "RescaleType", "ImagePositionPatient"),
            *("PixelSpacing", "SeriesNumber", "Modality", "BitsStored", "ImageType"),
        )
    },
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("damage", DAMAGE)
def test_nor_do_reasons_and_notes_of_damaged_files(tmp_path, planted, damage):
    DAMAGE[damage](folder_of(planted, tmp_path))
    out = tmp_path / "out"
    process([tmp_path / "in"], out, format="nifti", report=True)
    assert folders(out)
    assert leaks(out, words(planted)) == []


ENTRY = b"PK\x01\x02\x14\x03\x14\0\0"  # of the index of a zip; the last byte says how it is kept
ZIPS = {
    "good": lambda data: data,
    "a wrong checksum": lambda data: data.replace(b"Quorlia", b"quorlia", 1),
    "other local names": lambda data: data.replace(FILE.encode(), FILE.upper().encode(), 1),
    "encrypted": lambda data: data.replace(
        b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14\0\1"
    ),
    "cut": lambda data: data[: len(data) // 2],
}


@pytest.mark.parametrize("damage", ZIPS)
def test_nor_do_those_of_damaged_zips(tmp_path, planted, damage):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in folder_of(planted, tmp_path):
            archive.write(path, f"{FOLDER}/{path.name}")
    (tmp_path / FOLDER).mkdir()
    spoilt = tmp_path / FOLDER / f"{FILE}.zip"
    spoilt.write_bytes(ZIPS[damage]((tmp_path / "x.zip").read_bytes()))
    out = tmp_path / "out"
    (row,) = process([spoilt], out, format="nifti", report=True)
    assert row["status"] == "failed" or ("cannot be read" in row["notes"]) == (damage != "good")
    assert leaks(out, words(planted)) == []
