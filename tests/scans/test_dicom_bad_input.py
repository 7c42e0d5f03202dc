"""DICOM files and zips that are damaged, incomplete or hostile: refused, and the reason said."""

import io
import struct
import zipfile

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate

from cosup_jax.scans import (
    codestreams,
    dicom,
    dicom_files,
    dicom_seg,
    dicom_stream,
    dicom_whose,
    find,
    masks,
)
from tests.scans.dicom_series import SECRETS, make_images, save, zipped
from tests.scans.test_dicom import HU, transcode


def refused(paths, match, series=None):
    """Checks that a series is refused for a reason that names no person, date or file."""
    with pytest.raises(dicom.VolumeError, match=match) as caught:
        dicom.read_series(paths, series)
    text = str(caught.value)
    assert not [secret for secret in (*SECRETS, "IM0", "/") if secret in text]


def without(images, *indices):
    return [image for i, image in enumerate(images) if i not in indices]


MANY = np.random.default_rng(1).integers(-1000, 400, (9, 8, 6))

INCOMPLETE = {
    "one image missing": (
        lambda: without(make_images(MANY), 4),
        r"images are missing or unevenly spaced: image 4 and the next of 8 are 10\.00 mm apart, "
        r"most others 5\.00 mm \(1 such gaps\)",
    ),
    "two phases in one series": (
        lambda: of_one_series(make_images(MANY) + make_images(MANY + 1)),
        "9 of 18 images lie where another one lies; .*nothing in their headers parts them",
    ),
    "turned images": (
        lambda: of_one_series(
            make_images(MANY)[1:] + make_images(MANY[:1], directions=((0, 1, 0), (1, 0, 0)))
        ),
        "1 of 9 images are turned|8 of 9 images are turned",
    ),
    "an image out of line": (
        lambda: changed(4, ImagePositionPatient=[200, -120, -280]),
        r"an image lies .* mm beside the line",
    ),
    "two pixel spacings": (lambda: changed(4, PixelSpacing=[1.5, 0.5]), "pixel spacings from"),
    "another size": (lambda: changed(8, Rows=16), "8 × 6|6 × 16 pixels|6 × 8"),
    "no position": (lambda: changed(2, ImagePositionPatient=None), "ImagePositionPatient"),
    "no direction": (lambda: changed(2, ImageOrientationPatient=[1, 0]), "ImageOrientationPatient"),
    "no two directions": (
        lambda: make_images(MANY, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        "no two perpendicular directions",
    ),
    "no thickness": (
        lambda: make_images(MANY[:1], SliceThickness=None),
        "a single image without SliceThickness",
    ),
}


def of_one_series(images):
    for image in images:
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, name, images[0][name].value)
    return images


def changed(index, **fields):
    images = make_images(MANY)
    for name, value in fields.items():
        setattr(images[index], name, value)
    return images


@pytest.mark.parametrize("name", INCOMPLETE)
def test_series_that_are_not_one_whole_volume(tmp_path, name):
    images, reason = INCOMPLETE[name]
    refused(save(tmp_path, images()), reason)


CLAIMS = {
    "absurd size": ({"Rows": 65_000, "Columns": 65_000}, "claims 65000 × 65000 pixels"),
    "no pixels": ({"Rows": 0}, "claims 6 × 0 pixels"),
    "more than is there": ({"Rows": 4000, "Columns": 4000}, "truncated: 96 bytes of pixels"),
    "colour": ({"PhotometricInterpretation": "RGB"}, "expected 1, MONO"),
    "many frames": ({"NumberOfFrames": 9}, "9 frames in one file without the functional groups"),
    "32 bits": ({"BitsAllocated": 32}, "expected 8 or 16"),
    "no bits": ({"BitsStored": 0}, "expected 8 or 16"),
    "a slope of 0": ({"RescaleSlope": 0}, "rescale slope 0"),
    "a slope beyond all HU": ({"RescaleSlope": 1000}, "no CT has such HU"),
    "a slope in letters": ({"RescaleSlope": "NaN"}, "rescale slope nan"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_headers_that_claim_what_cannot_be(tmp_path, name):
    fields, reason = CLAIMS[name]
    with pydicom.config.disable_value_validation():
        paths = save(tmp_path, make_images(MANY, **fields))
    refused(paths, rf"(DICOM file \d: |its header ).*{reason}")


def test_a_truncated_file_is_named_by_its_number(tmp_path):
    paths = save(tmp_path, make_images(HU))
    paths[2].write_bytes(paths[2].read_bytes()[:-50])
    number = sorted(paths).index(paths[2]) + 1
    refused(paths, rf"DICOM file {number}: (truncated|unreadable or damaged)")


@pytest.mark.parametrize("length", [3, 140, 200, 400, 700])
def test_files_cut_anywhere_are_refused(tmp_path, length):
    path = save(tmp_path, make_images(HU[:1]))[0]
    path.write_bytes(path.read_bytes()[:length])
    refused([path], "DICOM file 1|no CT images|without a usable")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_goes_beyond_an_error_that_says_so(damaged, data):
    """Bytes are changed anywhere; what can still be read can still be written, or is refused."""
    paths, whole, folder = damaged
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    paths[0].write_bytes(content)
    said = ""
    try:
        series = dicom.read_series(paths)
        frames = np.ascontiguousarray(series.stored.transpose(2, 1, 0) > 0).astype(np.uint8)
        dicom_seg.write(folder / "mask.dcm", frames, series, "mask")
    except dicom.VolumeError as error:
        said = str(error)
    assert not [secret for secret in SECRETS if secret in said]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    paths = save(folder / "in", make_images(HU[:2]))
    return paths, paths[0].read_bytes(), folder


def test_other_objects_are_named(tmp_path):
    image = make_images(HU[:1])[0]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = uid.EnhancedMRImageStorage
    refused(save(tmp_path, [image]), "no CT images; found 1 Enhanced MR Image Storage")


def deflated(hu, **fields):
    images = make_images(hu, **fields)
    for image in images:
        image.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    return images


def test_deflated_files_are_read(tmp_path):
    series = dicom.read_series(save(tmp_path, deflated(HU)))
    np.testing.assert_array_equal(series.grid.to_axial(series.stored), HU)


def test_deflated_files_that_swell_are_refused_before_they_do(tmp_path, monkeypatch):
    paths = save(tmp_path, deflated(np.zeros((1, 512, 512))))
    monkeypatch.setattr(dicom_stream, "MAX_FILE_BYTES", 1 << 16)
    assert paths[0].stat().st_size * 16 < 1 << 16
    refused(paths, "cannot be read .*deflated from over 65,536 bytes")


@pytest.mark.parametrize(("damage", "reason"), [(-40, "cut off"), (600, "damaged|cut off")])
def test_damaged_deflated_files_are_refused(tmp_path, damage, reason):
    (path,) = save(tmp_path, deflated(HU[:1]))
    content = bytearray(path.read_bytes())
    if damage > 0:
        content[damage] ^= 0xFF
    path.write_bytes(content if damage > 0 else content[:damage])
    refused([path], f"deflated, and ({reason})|unreadable or damaged|without a usable")


def compressed(tmp_path, syntax):
    plain = save(tmp_path / "plain", make_images(HU[:1]))[0]
    transcode(plain, tmp_path / "compressed.dcm", syntax)
    return pydicom.dcmread(tmp_path / "compressed.dcm")


def test_a_stream_of_another_size_than_its_header_is_not_decoded(tmp_path, monkeypatch):
    """A JPEG 2000 stream that claims 60,000 × 60,000 pixels, in a header of 12 × 16."""
    image = compressed(tmp_path, "JPEG2000Lossless")
    stream = bytearray(pydicom.encaps.get_frame(image.PixelData, 0, number_of_frames=1))
    stream[8:16] = struct.pack(">II", 60_000, 60_000)
    image.PixelData = encapsulate([bytes(stream)])
    paths = save(tmp_path / "hostile", [image])
    monkeypatch.setattr(pydicom.Dataset, "pixel_array", property(lambda _: pytest.fail("decoded")))
    refused(paths, r"its JPEG 2000 stream claims 60000 × 60000 pixels of 1 samples")


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless"])
def test_jpeg_streams_are_held_against_the_header_too(tmp_path, syntax):
    image = compressed(tmp_path, syntax)
    image.Rows = image.Columns = 4096
    paths = save(tmp_path / "hostile", [image])
    refused(paths, r"its JPEG stream claims 12 × 16 pixels of 1 samples; its header 4096 × 4096")


@pytest.mark.parametrize("family", [codestreams.JPEG, codestreams.JPEG_2000])
@pytest.mark.parametrize(
    "stream", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\x00\x00", b"\xff\x4f\xff\x51", b"GIF"]
)
def test_what_is_no_stream_is_refused(family, stream):
    with pytest.raises(dicom.VolumeError, match="its pixels|no frame header"):
        codestreams.check(stream, family, (16, 12), 384)


def test_a_stream_longer_than_any_frame_is_refused():
    with pytest.raises(dicom.VolumeError, match="compressed bytes for a frame of 384"):
        codestreams.check(bytes(100_000), codestreams.RLE, (16, 12), 384)


def test_members_of_a_zip_cannot_lead_out_of_it(tmp_path):
    """Their names are read by nobody: nothing is ever unpacked."""
    inner = tmp_path / "inner"
    inner.mkdir()
    names = ["../../evil.dcm", "/tmp/evil.dcm", "..\\evil.dcm", "a/../../evil.dcm", "C:\\evil.dcm"]
    with zipfile.ZipFile(inner / "a.zip", "w") as file:
        for name, image in zip(names, make_images(HU), strict=True):
            stream = io.BytesIO()
            image.save_as(stream, enforce_file_format=True)
            file.writestr(name, stream.getvalue())
    before = sorted(tmp_path.rglob("*"))
    (source,), _ = find.find_scans([inner / "a.zip"], tmp_path)
    np.testing.assert_array_equal(np.stack(source.read().slices), HU)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_that_swells_is_refused_before_a_byte_is_read(tmp_path, monkeypatch):
    bomb = zipped(tmp_path / "a.zip", a=bytes(dicom_stream.MAX_FILE_BYTES + 1))
    assert bomb.stat().st_size < 1e5
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *a, **k: pytest.fail("read"))
    refused([bomb], r"file 1 of the zip: 67,108,865 bytes; expected one slice a file")


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_TOTAL_BYTES"])
def test_a_zip_of_too_many_or_too_much_is_refused(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(dicom_files, limit, 3)
    path = zipped(tmp_path / "a.zip", a=b"1", b=b"2", c=b"3", d=b"4")
    refused([path], "4 files of 4 bytes; expected at most")


def test_a_zip_whose_directory_lies_about_sizes_is_refused(tmp_path):
    """The stated size bounds what is read, and the checksum tells that there was more."""
    path = zipped(tmp_path / "a.zip", a=bytes(100_000))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = content.find(signature) + offset
        content[at : at + 4] = struct.pack("<I", 200)
    path.write_bytes(content)
    refused([path], "unreadable|no CT images")


@pytest.mark.parametrize("damage", ["cut", "encrypted", "lzma", "no zip"])
def test_zips_that_cannot_be_read_are_refused(tmp_path, damage):
    path = zipped(tmp_path / "a.zip", a=bytes(1000))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-30]
    elif damage == "encrypted":
        content[content.find(b"PK\x01\x02") + 8] |= 1
    elif damage == "lzma":
        content[content.find(b"PK\x01\x02") + 10] = zipfile.ZIP_LZMA
    else:
        content = bytearray(b"hello")
    path.write_bytes(content)
    refused([path], "the zip is damaged|is encrypted|is compressed by method 14")


def test_sequences_within_sequences_end_no_program(tmp_path):
    (path,) = save(tmp_path, make_images(HU[:1]))
    content = path.read_bytes()
    begin = b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    end = b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
    at = content.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[:at] + 2000 * begin + 2000 * end + content[at:])
    for read in (dicom_whose.read, masks.read, lambda path: dicom.read_series([path])):
        with pytest.raises(dicom.VolumeError, match="damaged"):
            read(path)
