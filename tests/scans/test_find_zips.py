"""Zips: the NIfTI volumes and DICOM series in them, and what lies beside these."""

import re

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.scans import dicom_files, dicom_stream
from tests.scans.dicom_series import make_images, save, zipped
from tests.scans.nifti_files import ct, forge
from tests.scans.test_find_discs import WIDE, label_map, scans_of, voxels


def test_nifti_in_a_zip_is_read_and_never_named(tmp_path):
    forge(tmp_path / "x.nii.gz", ct())
    label_map(tmp_path / "y.nii.gz")
    content = {f"__MACOSX/._{name}": b"\0\5\x16\7" for name in "xy"}
    content |= {"Doeringer^Janette/ct.nii.gz": (tmp_path / "x.nii.gz").read_bytes()}
    content |= {"Doeringer^Janette/seg.nii.gz": (tmp_path / "y.nii.gz").read_bytes()}
    (source,), others = scans_of(zipped(tmp_path / "a.zip", **content))
    assert (source.kind, source.name) == ("nifti", "a")
    assert "1 label map in a zip" in str(others)
    scan = source.read()
    np.testing.assert_array_equal(np.stack(scan.slices), ct().transpose(2, 1, 0))
    (tmp_path / "out").mkdir()
    scan.save(tmp_path / "out", "mask", [np.uint8(pixels > 0) for pixels in scan.slices])
    same = nib.load(tmp_path / "out/mask.nii.gz").affine
    np.testing.assert_array_equal(same, nib.load(tmp_path / "x.nii.gz").affine)
    bad = zipped(tmp_path / "b.zip", **{"Doeringer/ct.nii": b"nothing" * 99})
    (source,), _ = scans_of(bad)
    with pytest.raises(ValueError, match=r"b\.zip, the NIfTI file in it") as caught:
        source.read()
    assert "Doeringer" not in str(caught.value)
    assert "cosup-" not in str(caught.value)


@pytest.fixture
def with_a_mask(tmp_path, monkeypatch):
    """Makes a zip of a CT, a mask that packs over 16 times, and more."""
    monkeypatch.setattr(dicom_stream, "MAX_FILE_BYTES", 2000)
    packed = forge(tmp_path / "x.nii.gz", ct()).read_bytes()
    mask = forge(tmp_path / "y.nii", np.zeros((40, 40, 20), np.uint8)).read_bytes()

    def make(**more):
        return zipped(tmp_path / "a.zip", **{"ct.nii.gz": packed, "Doeringer.nii": mask}, **more)

    return make


def test_an_unpacked_mask_in_a_zip_blocks_no_ct(with_a_mask):
    (source,), others = scans_of(with_a_mask())
    np.testing.assert_array_equal(voxels(source), ct().transpose(2, 1, 0))
    assert source.digest() == source.digest() != ""
    assert str(others) == "set aside: 1 label map in a zip"


@pytest.mark.parametrize("start", [b"a mask of another kind", bytes(128) + b"DICM"])
def test_what_swells_in_a_zip_is_set_aside_unless_it_may_be_a_slice(with_a_mask, start):
    (source,), others = scans_of(with_a_mask(**{"Janette.mha": start + bytes(99_000)}))
    if start.endswith(b"DICM"):
        assert re.fullmatch(r"file 2 of the zip: 99,132 bytes; expected one .*", source.fault)
    else:
        np.testing.assert_array_equal(voxels(source), ct().transpose(2, 1, 0))
        assert "1 file in a zip that is too large to be a scan" in str(others)


def test_a_volume_larger_than_any_is_set_aside_or_named_where_it_is_alone(
    with_a_mask, monkeypatch, tmp_path
):
    monkeypatch.setattr(dicom_files, "MAX_FRAMES_BYTES", 30_000)
    (source,), others = scans_of(with_a_mask())
    assert source.read().intensity == "hu"
    assert "1 file in a zip that is too large to be a scan" in str(others)
    (source,), _ = scans_of(zipped(tmp_path / "b.zip", **{"Doeringer.nii": bytes(30_001)}))
    assert source.fault == "file 1 of the zip: 30,001 bytes; expected a volume of at most 30,000"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.png", "a zip of pictures; unpack"), ("a.zip", "a zip of archives; unpack"), ("a.txt", "")],
)
def test_other_zips_get_one_sentence(tmp_path, name, reason):
    (source,), _ = scans_of(zipped(tmp_path / "x.zip", **{f"Doeringer/{name}": b"x" * 300}))
    assert source.fault.startswith(reason)
    assert "those of NIfTI or DICOM files are read" in source.fault
    assert "Doeringer" not in source.fault


def test_a_damaged_member_is_not_named(tmp_path):
    images = save(tmp_path / "d", make_images(WIDE))
    members = {f"Doeringer^Janette/{path.name}": path.read_bytes() for path in images}
    path = zipped(tmp_path / "a.zip", **members)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(content)
    found, others = scans_of(path)
    said = str(others)
    for source in found:
        try:
            said += "".join(source.read().notes)
        except ValueError as error:
            said += str(error)
    assert "Doeringer" not in said
    assert "cannot be read" in said or "unreadable" in said
