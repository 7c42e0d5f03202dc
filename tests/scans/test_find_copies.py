"""Copies of images count once, however they were passed on; damaged ends of a series are noted."""

import shutil
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from tests.scans.dicom_series import make_images, save
from tests.scans.test_find_discs import WIDE, scans_of, voxels, without_identifiers


@pytest.mark.parametrize("uid_kept", [True, False])
def test_copies_of_images_count_once(tmp_path, uid_kept):
    images = make_images(WIDE) if uid_kept else without_identifiers(make_images(WIDE))
    for path in save(tmp_path / "d", images)[2:5]:
        shutil.copy(path, path.with_name(f"{path.name} (1)"))
    (source,), _ = scans_of(tmp_path / "d")
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert "3 exact copies of its images count once" in source.read().notes


def recompressed(image):
    image.compress(RLELossless, generate_instance_uid=False)


def renamed(image):
    image.SOPInstanceUID = "1.2.3.4"


def redated(image):
    image.SeriesDescription, image.AcquisitionTime, image.InstanceNumber = "copy", "112233", 99


@pytest.mark.parametrize("change", [recompressed, renamed, redated])
def test_copies_that_were_passed_on_count_once_too(tmp_path, change):
    save(tmp_path / "d", make_images(WIDE))
    for path in sorted((tmp_path / "d").iterdir())[2:5]:
        image = pydicom.dcmread(path)
        change(image)
        image.save_as(tmp_path / "d" / f"{path.name}b", enforce_file_format=True)
    (source,), _ = scans_of(tmp_path / "d")
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert [note for note in source.read().notes if note.startswith("3 ") and "count once" in note]


@pytest.mark.parametrize("change", [{"RescaleIntercept": -1000}, {"PixelData": bytes(384)}])
def test_images_of_other_values_are_no_copies_whatever_their_names(tmp_path, change):
    (path, *_) = save(tmp_path / "d", make_images(WIDE))
    image = pydicom.dcmread(path)
    for name, value in change.items():
        setattr(image, name, value)
    image.save_as(tmp_path / "d/copy", enforce_file_format=True)
    (source,), _ = scans_of(tmp_path / "d")
    with pytest.raises(ValueError, match="1 of 9 images lie where another one lies"):
        source.read()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_end_is_noted_since_nothing_else_shows_it(tmp_path, zipped):
    *_, last = save(tmp_path / "d", make_images(WIDE))
    content = b"x" * 600
    given = tmp_path / "d"
    if zipped:
        given = tmp_path / "a.zip"
        with zipfile.ZipFile(given, "w") as file:
            for path in (tmp_path / "d").iterdir():
                file.write(path, f"a/{path.name}" if path != last else "b/last")
        at = given.read_bytes().index(b"b/last")
        content = given.read_bytes()
        given.write_bytes(content[: at + 900] + b"damage" + content[at + 906 :])
    else:
        last.write_bytes(content)
    (source,), _ = scans_of(given)
    np.testing.assert_array_equal(voxels(source), WIDE[:-1])
    assert any("if they were images, the scan lacks them" in note for note in source.read().notes)


def test_blank_images_of_two_kernels_are_no_copies(tmp_path):
    blank = WIDE.copy()
    blank[-1] = -1000
    series = [make_images(blank), make_images(blank + 1)]
    for image in (*series[0], *series[1]):
        image.SeriesInstanceUID, image.SOPInstanceUID = "1.2.3", "1.2.4"
        image.StudyInstanceUID = image.FrameOfReferenceUID = "1.2.5"
    for number, images in enumerate(series):
        for image in images:
            image.ConvolutionKernel = str(number)
        images[-1].PixelData = series[0][-1].PixelData
    save(tmp_path / "d", [*series[0], *series[1]])
    assert [len(source.read().slices) for source in scans_of(tmp_path / "d")[0]] == [8, 8]


@pytest.mark.parametrize("fields", [{}, {"SeriesDescription": "copy"}, {"SeriesNumber": 9}])
@pytest.mark.parametrize("folder", [".", "again"])
def test_a_series_that_was_copied_under_new_names_is_one_scan(tmp_path, folder, fields):
    images = make_images(WIDE)
    save(tmp_path / "d", images)
    for i, image in enumerate(images):
        image.SOPInstanceUID, image.InstanceNumber = f"1.2.3.{i}", 20 + i
        for name, value in fields.items():
            setattr(image, name, value)
    save(tmp_path / "d" / folder, images, [f"copy{i}" for i in range(8)])
    (source,), _ = scans_of(tmp_path / "d")
    np.testing.assert_array_equal(voxels(source), WIDE)
    assert "8 images equal another at their place and count once" in source.read().notes
