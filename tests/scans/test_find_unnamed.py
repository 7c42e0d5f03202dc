"""Images that lack the identifier of a series belong to it where they complete its stack."""

import numpy as np
import pytest

from cosup_jax.prediction import cohort
from cosup_jax.scans import find
from cosup_jax.scans.nifti import VolumeError
from tests.scans.dicom_series import make_images, save
from tests.scans.enhanced import make_enhanced

HU = np.random.default_rng(5).integers(-1000, 400, (10, 16, 12))


def scans_of(folder):
    return find.find_scans([folder], folder / "out")


def series(lacking, **fields):
    """A series of which some images lack its identifier, and have other fields."""
    images = make_images(HU)
    for i in lacking:
        images[i].SeriesInstanceUID = ""
        for name, value in fields.items():
            setattr(images[i], name, value)
    return images


PLACES = {
    "one inside": (4,),
    "the last": (9,),
    "the first three": (0, 1, 2),
    "every second": range(0, 10, 2),
    "all but two": range(2, 10),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("study", ["kept", "lost too"])
def test_the_scan_is_whole(tmp_path, name, study):
    more = {} if study == "kept" else {"StudyInstanceUID": "", "FrameOfReferenceUID": ""}
    save(tmp_path, series(PLACES[name], **more))
    (source,), others = scans_of(tmp_path)
    scan = source.read()
    np.testing.assert_array_equal(np.stack(scan.slices), HU)
    assert f"{len(PLACES[name])} of 10 images have no SeriesInstanceUID" in scan.notes[0]
    assert not others


OTHERS = {
    "another patient": {"PatientID": "another"},
    "another study": {"StudyInstanceUID": "1.2.3"},
    "another series by its number": {"SeriesNumber": 9},
    "numbers that do not go on": {"InstanceNumber": 1},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_may_be_of_another_scan_is_not_joined(tmp_path, name):
    save(tmp_path, series(range(5, 10), **OTHERS[name]))
    scans, _ = scans_of(tmp_path)
    assert [len(source.read().slices) for source in scans] == [5, 5]


def test_what_lies_in_another_folder_is_not_joined(tmp_path):
    images = series(range(5, 10))
    save(tmp_path / "a", images[:5])
    save(tmp_path / "b", images[5:])
    scans, _ = scans_of(tmp_path)
    assert [len(source.read().slices) for source in scans] == [5, 5]


def stranger(images, **fields):
    """One more image of the same series."""
    (more,) = make_images(HU[:1], InstanceNumber=99, **fields)
    for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(more, name, getattr(images[0], name))
    return [*images, more]


STRANGERS = {
    "without a place": {"ImagePositionPatient": None},
    "without anything that places it": {
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
    },
    "of another matrix": {"Rows": 12, "Columns": 16},
    "of other pixels, elsewhere": {
        "PixelSpacing": [2, 2],
        "ImagePositionPatient": [-100, -120, 500],
    },
}


@pytest.mark.parametrize("name", STRANGERS)
def test_an_image_unlike_the_others_of_its_series_blocks_none(tmp_path, name):
    save(tmp_path, stranger(make_images(HU), **STRANGERS[name]))
    (source,), others = scans_of(tmp_path)
    scan = source.read()
    np.testing.assert_array_equal(np.stack(scan.slices), HU)
    assert "set aside: 1 image unlike the others of its series" in scan.notes
    assert len(others) == 1


def test_it_blocks_none_beside_copies_either(tmp_path):
    images = make_images(HU)
    save(tmp_path, [*stranger(images, ImagePositionPatient=None), images[3], images[4]])
    (source,), _ = scans_of(tmp_path)
    scan = source.read()
    np.testing.assert_array_equal(np.stack(scan.slices), HU)
    assert "2 exact copies of its images count once" in scan.notes


def test_a_slice_that_has_lost_its_place_is_missing(tmp_path):
    images = make_images(HU)
    del images[4].ImagePositionPatient
    save(tmp_path, images)
    (source,), _ = scans_of(tmp_path)
    with pytest.raises(VolumeError, match="1 of 10 images without a usable ImagePositionPatient"):
        source.read()


def test_enhanced_files_of_which_each_is_whole_are_two_scans(tmp_path):
    for i, hu in enumerate((HU, np.concatenate([HU[:1], HU[:0:-1]]))):
        made = make_enhanced(make_images(hu))
        for name in IDENTIFIERS:
            setattr(made, name, "")
        made.save_as(tmp_path / f"{i}", enforce_file_format=True)
    scans, _ = scans_of(tmp_path)
    read = [np.stack(source.read().slices) for source in scans]
    assert sorted(int(voxels[1, 0, 0]) for voxels in read) == sorted([HU[1, 0, 0], HU[9, 0, 0]])
    assert [voxels.shape for voxels in read] == [HU.shape] * 2


@pytest.mark.parametrize("same", [0, 4, 9])
def test_a_slice_that_two_stacks_share_is_in_both(tmp_path, same):
    other = np.random.default_rng(6).integers(-1000, 400, HU.shape)
    other[same] = HU[same]
    first, second = make_images(HU), make_images(other)
    for one, two in zip(first, second, strict=True):
        for name in IDENTIFIERS:
            setattr(two, name, getattr(one, name))
    save(tmp_path / "a", first)
    save(tmp_path / "b", second)
    a, b = scans_of(tmp_path)[0]
    np.testing.assert_array_equal(np.stack(a.read().slices), HU)
    np.testing.assert_array_equal(np.stack(b.read().slices), other)


IDENTIFIERS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
TWO = {
    "numbers": {"SeriesNumber": 4},
    "patients": {"PatientID": "two"},
    "matrices": {"Rows": 12, "Columns": 16},
}


@pytest.mark.parametrize("uid", ["", "1.2.3"])
@pytest.mark.parametrize("name", TWO)
def test_two_series_in_one_folder_are_two_scans_in_two_places(tmp_path, uid, name):
    images = [*make_images(HU), *make_images(HU[::-1], **TWO[name])]
    for image in images:
        for word in IDENTIFIERS:
            setattr(image, word, uid)
    save(tmp_path, images)
    scans, others = scans_of(tmp_path)
    assert [source.stack.fault for source in scans] == ["", ""]
    assert not others
    assert len({cohort.place_of(source) for source in scans}) == 2
    again, _ = scans_of(tmp_path)
    assert [source.part for source in again] == [source.part for source in scans]


@pytest.mark.parametrize("spelled", ["ab  7", " AB 7", "aB 7 "])
def test_one_patient_who_is_spelled_in_two_ways_is_one(tmp_path, spelled):
    images = make_images(HU, PatientID="AB 7")
    for image in images[::2]:
        image.PatientID = spelled
    save(tmp_path, images)
    (source,), _ = scans_of(tmp_path)
    scan = source.read()
    np.testing.assert_array_equal(np.stack(scan.slices), HU)
    assert not scan.notes
