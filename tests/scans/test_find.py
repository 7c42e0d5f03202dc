"""What users hand over: which scans are in it, what they are called, and how they are read."""

import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cosup_jax import phantom
from cosup_jax.scans import dicom_files, find, images, nifti
from cosup_jax.scans.names import clean_name
from tests.scans.dicom_series import make_images, save
from tests.scans.nifti_files import ct, forge
from tests.scans.test_images import tiff


def picture(path, value=0, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)
    return path


def names(found):
    return [(source.kind, source.name) for source in found]


def test_a_folder_of_everything(tmp_path):
    root = tmp_path / "in"
    forge(root_of(root) / "b.nii.gz", ct())
    forge(root / "a.nii", ct())
    (root / "a.zip").write_bytes(b"")
    (root / "table.csv").write_text("")
    picture(root / "slices" / "one.png")
    picture(root / "slices" / "two.jpg")
    save(root / "deep" / "Doeringer^Janette", make_images(ct().transpose(2, 1, 0)))
    picture(root / ".hidden" / "x.png")
    picture(root / "out" / "mask" / "x.png")
    (root / "link").symlink_to(root / "slices")
    found, others = find.find_scans([root], root / "out")
    assert names(found) == [
        ("nifti", "a"),
        ("nifti", "b"),
        ("dicom", ""),
        ("dicom", ""),
        ("slices", "slices"),
    ]
    assert others.counts == {"link to a folder": 1, "file of another kind": 1}
    assert str(others).endswith(f"(the first is {root / 'link'})")


def test_the_index_of_a_disc_is_no_scan(tmp_path):
    save(tmp_path, make_images(ct().transpose(2, 1, 0)[:1]), ["DICOMDIR"])
    save(tmp_path / "DICOM" / "ST1", make_images(ct().transpose(2, 1, 0)))
    (source,), others = find.find_scans([tmp_path], tmp_path / "out")
    assert source.path == tmp_path / "DICOM" / "ST1"
    assert str(others) == "set aside: 1 index of a disc"


def root_of(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("kind", ["nifti", "slices", "dicom"])
def test_a_file_alone_is_a_scan(tmp_path, kind):
    path = {
        "nifti": lambda: forge(tmp_path / "x.nii", ct()),
        "slices": lambda: picture(tmp_path / "x.png"),
        "dicom": lambda: save(tmp_path, make_images(ct().transpose(2, 1, 0)[:1]), ["x"])[0],
    }[kind]()
    (source,), others = find.find_scans([path], tmp_path / "out")
    assert names([source]) == [(kind, "" if kind == "dicom" else "x")]
    assert source.read().slices[0].ndim == 2
    assert not others


def test_cases_in_one_folder_are_scans_of_their_own(tmp_path):
    for name in ("p1_10", "p1_9", "p2_1"):
        picture(tmp_path / f"{name}.png")
    first, second = find.find_scans([tmp_path], tmp_path / "out")[0]
    assert (first.name, second.name) == ("p1", "p2")
    assert [path.stem for path in first.files] == ["p1_9", "p1_10"]


@pytest.mark.parametrize(
    "stems",
    [
        ("s8", "s9", "s10", "s11"),
        ("pos-60", "pos-5", "pos0", "pos5", "pos55"),
        ("-10.5", "-9.75", "+9.75", "+10.5"),
        ("z0", "z0.625", "z1.25", "z1.875", "z2.5", "z10"),
        ("z_0.0", "z_0.625", "z_5.0", "z_10.0"),
        ("case-001", "case-002", "case-010"),
        ("case-1", "case-2", "case-10"),
        ("2020-03-09", "2020-03-15"),
        ("1.2.840.1", "1.2.840.2", "1.2.840.9", "1.2.840.10"),
        ("ct5 1", "ct-2 5", "ct-2 10"),
        ("a2", "a10.5", "b1"),
    ],
)
def test_slices_lie_in_the_order_of_the_numbers_in_their_names(tmp_path, stems):
    for stem in reversed(stems):
        picture(tmp_path / "study" / f"{stem}.png")
    (source,), _ = find.find_scans([tmp_path / "study"], tmp_path / "out")
    assert tuple(path.stem for path in source.files) == stems


@pytest.mark.parametrize("stems", [("p1_1", "p1_2"), ("p1_1", "p2_1", "other")])
def test_without_several_named_cases_a_folder_is_one_scan(tmp_path, stems):
    for stem in stems:
        picture(tmp_path / "study" / f"{stem}.png")
    (source,), _ = find.find_scans([tmp_path / "study"], tmp_path / "out")
    assert source.name == "study"
    assert len(source.files) == len(stems)


def test_names_in_one_place_are_never_shared(tmp_path):
    """Those of several places may be; a folder of results tells them apart."""
    for case in ("a b", "a+b", "c"):
        for i in range(2):
            picture(tmp_path / f"{case}_{i}.png")
    found, _ = find.find_scans([tmp_path], tmp_path / "out")
    again, _ = find.find_scans([tmp_path], tmp_path / "out")
    assert ("slices", "c") in names(found)
    assert len({*names(found)}) == 3
    assert names(found) == names(again)


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_names_are_safe_whatever_they_are_made_of(text):
    name = clean_name(text)
    assert re.fullmatch(r"\w[\w.-]*", name)
    assert len(name) <= 80
    assert clean_name(name) == name


def pipe(path):
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "nowhere", "nowhere: no such file or folder"),
        (lambda folder: folder, "no scan in it; expected NIfTI files"),
        (lambda folder: pipe(folder / "pipe"), "pipe: a pipe or device; expected a file or folder"),
    ],
)
def test_where_there_is_nothing_it_is_said(tmp_path, make, reason):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(find.ScanError, match=reason):
        find.find_scans([make(tmp_path)], tmp_path / "out")


def refuse(*arguments):
    """Permissions would not stop the tests' user where that is the administrator."""
    raise PermissionError(13, "Permission denied", "secret")


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.png")
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(find.ScanError, match="secret: cannot be read"):
        find.find_scans([tmp_path / "in"], tmp_path / "out")


def test_a_file_that_may_not_be_read_is_noted_and_stops_nothing(tmp_path, monkeypatch):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "secret").write_bytes(b"")
    monkeypatch.setattr(dicom_files, "looks_like", refuse)
    found, others = find.find_scans([tmp_path / "in"], tmp_path / "out")
    assert names(found) == [("slices", "in")]
    assert "1 file or folder that cannot be read" in str(others)


def test_a_digest_follows_the_content(tmp_path):
    def digest(value, name):
        (source,), _ = find.find_scans([picture(tmp_path / "x" / name, value)], tmp_path / "out")
        return source.digest()

    assert digest(1, "a.png") == digest(1, "a.png") != digest(2, "a.png")


def test_slices_are_read_as_they_are_and_results_get_their_names_and_sizes(tmp_path):
    picture(tmp_path / "in" / "a.png", 7, (6, 5))
    picture(tmp_path / "in" / "b.jpg", 9, (4, 8))
    (source,), _ = find.find_scans([tmp_path / "in"], tmp_path)
    scan = source.read()
    assert (scan.intensity, scan.spacing) == ("grey8", None)
    assert [pixels.shape for pixels in scan.slices] == [(6, 5), (4, 8)]
    assert [float(scan.values(i)[0, 0]) for i in range(2)] == [7, 9]
    scan.save(tmp_path, "mask", [np.eye(6, 5, dtype=np.uint8), np.zeros((4, 8), np.uint8)])
    np.testing.assert_array_equal(images.read_grey(tmp_path / "mask" / "a.png"), np.eye(6, 5) * 255)
    assert images.read_grey(tmp_path / "mask" / "b.png").shape == (4, 8)


def test_signed_tiffs_may_hold_hu_and_all_of_a_scan_have_a_sign(tmp_path):
    chest = phantom.draw_volume(5, size=64, slices=3).image.astype(np.int16)
    for i, pixels in enumerate(chest):
        (tmp_path / f"s{i}.tif").write_bytes(tiff(pixels, kind="i2"))
    (source,), _ = find.find_scans([tmp_path], tmp_path / "out")
    scan = source.read()
    assert (scan.intensity, scan.intercept, scan.notes) == ("hu", 0, ())
    np.testing.assert_array_equal(np.stack(scan.slices), chest)
    (tmp_path / "s1.tif").write_bytes(tiff(chest[1] + 1024))
    with pytest.raises(find.ScanError, match=r"s1\.tif: 16 and 16 signed bits among the slices"):
        source.read()


@pytest.mark.parametrize("kind", ["i4", "f4"])
def test_tiffs_of_32_bits_may_hold_hu(tmp_path, kind):
    chest = phantom.draw_volume(5, size=64, slices=3).image.astype(kind)
    for i, pixels in enumerate(chest):
        (tmp_path / f"s{i}.tif").write_bytes(tiff(pixels, kind=kind, order=">"))
    (source,), _ = find.find_scans([tmp_path], tmp_path / "out")
    scan = source.read()
    assert (scan.intensity, scan.intercept, scan.notes) == ("hu", 0, ())
    np.testing.assert_array_equal(np.stack(scan.slices), chest)


@pytest.mark.parametrize("ends", [(-(2**31), 2**31 - 1), (0, 1)])
def test_masks_of_32_bits_are_known_whatever_their_values(tmp_path, ends):
    for i in range(3):
        pixels = np.array(ends, np.int32)[np.eye(16, dtype=int)]
        (tmp_path / f"s{i}.tif").write_bytes(tiff(pixels, kind="i4"))
    (source,), _ = find.find_scans([tmp_path], tmp_path / "out")
    with pytest.raises(find.ScanError, match="the slices hold few values, as masks do"):
        source.read()


def test_slices_of_one_name_are_refused(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.jpg")
    (source,), _ = find.find_scans([tmp_path], tmp_path / "out")
    with pytest.raises(find.ScanError, match="another slice is called a too"):
        source.read()


def test_volumes_are_read_in_the_axial_view_and_probabilities_keep_their_scale(tmp_path):
    path = forge(tmp_path / "x.nii", ct())
    (source,), _ = find.find_scans([path], tmp_path / "out")
    scan = source.read()
    assert scan.intensity == "hu"
    assert scan.spacing == (5, 0.75, 0.75)
    np.testing.assert_array_equal(np.stack(scan.slices), ct().transpose(2, 1, 0))
    grey = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    scan.save(tmp_path, "probability", list(grey))
    back = nifti.read_volume(tmp_path / "probability.nii.gz")
    values = back.stored.astype(float) * back.slope + back.intercept
    np.testing.assert_allclose(back.grid.to_axial(values), grey / 255, atol=1e-4)


def test_a_volume_of_unknown_unit_is_noted(tmp_path):
    path = forge(tmp_path / "x.nii", ct() + 1024)
    (source,), _ = find.find_scans([path], tmp_path / "out")
    scan = source.read()
    assert scan.intensity == "unknown"
    assert scan.notes == ("neither Hounsfield units nor 8-bit grey: taken as grey values",)
