"""One row per kind of bad volume: the error names file and reason, and nothing big is read."""

import gzip
import os
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.data import volume_files
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans import nifti, nifti_labels
from tests.scans.nifti_files import AFFINE, affine_of, ct, forge

LABELS = {0: 0, 1: 1}
MIB = 1 << 20
BIG = (4096, 4096, 64)


def forged(voxels=None, affine=AFFINE, **how):
    return lambda path: forge(path, ct() if voxels is None else voxels, affine, **how)


def dim(*sides):
    return forged(dim=[len(sides), *sides, *[1] * (7 - len(sides))])


def with_value(value, dtype=np.float32):
    voxels = ct().astype(dtype)
    voxels[2, 2, 2] = value
    return forged(voxels)


def content(data):
    return lambda path: path.write_bytes(data)


def cut(to):
    def damage(path):
        forge(path, ct())
        size = path.stat().st_size
        os.truncate(path, to if to > 0 else size + to)

    return damage


def extended(size, **how):
    """A header that announces an extension of `size` bytes."""

    def damage(path):
        forge(path, ct(), **how)
        raw = bytearray(path.read_bytes())
        raw[348] = 1
        raw[352:356] = int(size).to_bytes(4, "little", signed=True)
        path.write_bytes(raw)

    return damage


def endless(path):
    """Few bytes that unpack to many."""
    forge(path, ct(), rest=bytes(17 * MIB))


def qform(**fields):
    return forged(**{"sform_code": 0, "qform_code": 1} | fields)


NAN_AFFINE = AFFINE.copy()
NAN_AFFINE[0, 0] = np.nan
FLAT = AFFINE.copy()
FLAT[:, 2] = FLAT[:, 1]

BAD_IMAGES = {
    "no such file": ("a.nii", lambda path: None, "is no file named .nii or .nii.gz"),
    "a folder": ("a.nii", lambda path: path.mkdir(), "is no file named .nii or .nii.gz"),
    "a pipe": ("a.nii", os.mkfifo, "is no file named .nii or .nii.gz"),
    "another suffix": ("a.img", forged(), "is no file named .nii or .nii.gz"),
    "empty": ("a.nii", content(b""), "does not begin with a NIfTI header"),
    "empty, packed": ("a.nii.gz", content(b""), "does not begin with a NIfTI header"),
    "of nothing, packed": ("a.nii.gz", content(gzip.compress(b"")), "does not begin with a NIf"),
    "packed by another program": ("a.nii.gz", content(b"BZh9" + bytes(900)), "does not begin with"),
    "packed twice": ("a.nii", content(gzip.compress(gzip.compress(bytes(900)))), "does not begin"),
    "a picture": ("a.nii", content(b"\x89PNG\r\n\x1a\n" + bytes(900)), "does not begin with a"),
    "Analyze": ("a.nii", forged(magic=b""), "magic string '' is not valid"),
    "header only": ("a.nii", cut(300), "does not begin with a NIfTI header"),
    "truncated": ("a.nii", cut(-1), "truncated, or of an absurd size: its header claims 592 bytes"),
    "truncated, packed": ("a.nii.gz", cut(-60), "unreadable or truncated: EOFError"),
    "truncated, then packed": (
        "a.nii.gz",
        content(gzip.compress(bytes(9))),
        "does not begin with a NIfTI header",
    ),
    "fewer voxels than claimed, packed": ("a.nii.gz", dim(6, 5, 5), "unreadable or truncated"),
    "without checksum": ("a.nii.gz", cut(-8), "unreadable or truncated: EOFError"),
    "a side of zero": ("a.nii", dim(6, 0, 4), "of shape (6, 0, 4); expected one volume of three"),
    "a negative side": ("a.nii", dim(6, -5, 4), "of shape (6, -5, 4)"),
    "two negative sides": ("a.nii", dim(-6, -5, 4), "of shape (-6, -5, 4)"),
    "two axes": ("a.nii", dim(6, 5), "of shape (6, 5)"),
    "no axes": ("a.nii", dim(), "of shape (0,)"),
    "too many axes": ("a.nii", forged(dim=[99, *[1] * 7]), "unreadable or truncated: HeaderData"),
    "several volumes": ("a.nii", dim(6, 5, 2, 2), "of shape (6, 5, 2, 2)"),
    "no volume of several": ("a.nii", dim(6, 5, 4, 0), "of shape (6, 5, 4, 0)"),
    "an absurd side": ("a.nii", dim(32767, 1, 1), "expected at most 4096 a side"),
    "an absurd size": ("a.nii.gz", dim(4096, 4096, 4096), "and 1,073,741,824 in all"),
    "a size too large for the file": ("a.nii", dim(*BIG), "claims 2,147,484,000 bytes"),
    "a size too large to be packed": ("a.nii.gz", dim(*BIG), "claims 2,147,484,000 bytes"),
    "complex": ("a.nii", forged(ct().astype(np.complex64)), "voxels of type complex64"),
    "colour": ("a.nii", forged(datatype=128, bitpix=24), "expected real numbers"),
    "unknown type": ("a.nii", forged(datatype=999), "data code 999 not recognized"),
    "voxels in the header": ("a.nii", forged(vox_offset=16), "vox offset 16 too low"),
    "voxels beyond the file": ("a.nii", forged(vox_offset=1e6), "claims 1,000,240 bytes"),
    "voxels far beyond": ("a.nii", forged(vox_offset=2**31), "begin at byte 2,147,483,648"),
    "voxels nowhere": ("a.nii", forged(vox_offset=np.nan), "unreadable or truncated: ValueError"),
    "voxels at infinity": ("a.nii", forged(vox_offset=np.inf), "OverflowError"),
    "intercept of NaN": ("a.nii", forged(scl_slope=1, scl_inter=np.nan), "HeaderDataError"),
    "flat sform": ("a.nii", forged(affine=FLAT), "no usable orientation"),
    "sform of NaN": ("a.nii", forged(affine=NAN_AFFINE), "no usable orientation"),
    "sform of zeros": ("a.nii", forged(affine=np.diag([0, 0, 0, 1])), "no usable orientation"),
    "qform of NaN": ("a.nii", qform(qoffset_x=np.nan), "no usable orientation"),
    "no rotation": ("a.nii", qform(quatern_b=3), "no usable orientation"),
    "NaN": ("a.nii", with_value(np.nan), "holds NaN at 1 voxel within what it shows"),
    "infinite": ("a.nii.gz", with_value(-np.inf, np.float64), "holds NaN or infinite values"),
    "infinite once scaled": (
        "a.nii",
        forged(ct() * 1e30, kind=nib.Nifti2Header, scl_slope=1e300),
        "holds NaN or infinite values",
    ),
    "constant": ("a.nii", forged(np.full((3, 3, 3), 7, np.int16)), "every voxel is 7"),
    "all but constant": (
        "a.nii",
        forged(np.linspace(1e-300, 2e-300, 27).reshape(3, 3, 3)),
        "every voxel is 1e-300",
    ),
    "wide": ("a.nii", with_value(70_000, np.int32), "expected a span of at most 65,535"),
    "huge": ("a.nii", forged(ct().astype(np.int64) + 2**60), "values from 1.15292e+18"),
    "huge and wide": ("a.nii", with_value(1e308, np.float64), "to 1e+308; expected a span"),
    "endless": ("a.nii.gz", endless, "over 16,777,216 bytes follow its last voxel"),
}


def refusal(read, path):
    """The message of the error, and the most memory that was taken meanwhile, in bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(nifti.VolumeError) as error:
            read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(str(path))
    return str(error.value), peak


@pytest.mark.parametrize("row", BAD_IMAGES)
def test_bad_image_is_refused_before_anything_big_is_allocated(tmp_path, row):
    name, damage, reason = BAD_IMAGES[row]
    path = tmp_path / name
    damage(path)
    message, peak = refusal(lambda: nifti.read_volume(path), path)
    assert reason in message
    assert peak < MIB


@pytest.mark.parametrize("size", [-8, -(2**31), 0, 7, 2**31 - 1])
@pytest.mark.parametrize("offset", [352, 368])
def test_extensions_are_not_believed(tmp_path, size, offset):
    path = tmp_path / "a.nii"
    extended(size, vox_offset=offset, rest=bytes(16))(path)
    assert nifti.read_volume(path).grid.shape == (6, 5, 4)


@pytest.mark.parametrize("written", range(10, 260, 3))
def test_no_flipped_byte_of_packed_data_passes(tmp_path, written):
    path = forge(tmp_path / "a.nii.gz", ct())
    raw = bytearray(path.read_bytes())
    for i in (written, -written + 9):
        damaged = raw.copy()
        damaged[i] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(nifti.VolumeError, match="a.nii.gz: "):
            nifti.read_volume(path)


def shifted(voxels_apart):
    """The grid moved along its second axis by so many sides of its smallest voxel."""
    return affine_of("LPS", (0.75, 0.75, 5), origin=(0, 0.75 * voxels_apart, 0))


MASK = (ct() > 0).astype(np.uint8)


def labelled(value, dtype=np.float32):
    voxels = MASK.astype(dtype)
    voxels[1, 2, 3] = value
    return forged(voxels)


BAD_LABELS = {
    "another shape": (forged(MASK[:-1]), "of shape (5, 5, 4), but its image"),
    "axes in another order": (forged(MASK.transpose(1, 0, 2)), "of shape (5, 6, 4), but its image"),
    "another place": (forged(MASK, shifted(0.11)), "lies 0.11 voxels away from its image"),
    "another side up": (
        forged(MASK, affine_of("LPI", (0.75, 0.75, 5))),
        "(LPI) lies 40 voxels away from its image",
    ),
    "another spacing": (forged(MASK, affine_of("LPS", (0.8, 0.75, 5))), "lies 0.33 voxels away"),
    "fraction": (labelled(0.5), "the label 0.5 is no whole number"),
    "almost whole": (labelled(1.002), "the label 1.002 is no whole number"),
    "negative": (labelled(-1, np.int16), "holds the labels -1; expected only [0, 1]"),
    "undeclared": (labelled(2, np.uint8), "holds the labels 2; expected only [0, 1]"),
    "undeclared, 255": (labelled(255, np.uint8), "holds the labels 255; expected only [0, 1]"),
    "far too large": (labelled(257, np.int16), "holds the labels 257; expected only [0, 1]"),
    "NaN": (labelled(np.nan), "holds NaN or infinite values"),
    "infinite": (labelled(np.inf, np.float64), "holds NaN or infinite values"),
    "several volumes": (forged(np.stack([MASK, MASK], -1)), "of shape (6, 5, 4, 2)"),
    "truncated": (cut(-1), "truncated"),
}


@pytest.mark.parametrize("row", BAD_LABELS)
def test_bad_labels_are_refused(tmp_path, row):
    damage, reason = BAD_LABELS[row]
    image = nifti.read_volume(forge(tmp_path / "image.nii", ct()))
    path = tmp_path / "mask.nii"
    damage(path)
    message, _ = refusal(lambda: nifti_labels.read_labels(path, LABELS, image), path)
    assert reason in message


def test_labels_within_the_tolerances_pass(tmp_path):
    image = nifti.read_volume(forge(tmp_path / "image.nii", ct()))
    near = MASK + np.float32(0.0009)
    path = forge(tmp_path / "mask.nii", near, shifted(0.09))
    labels = nifti_labels.read_labels(path, LABELS, image)
    np.testing.assert_array_equal(labels, image.grid.to_axial(MASK))


def test_labels_that_do_not_fit_the_image_are_not_written(tmp_path):
    image = forge(tmp_path / "image.nii", ct())
    path = tmp_path / "labels.nii"
    message, _ = refusal(
        lambda: nifti.write_labels(path, np.ones((6, 5, 4), np.uint8), image), path
    )
    assert "labels of axial shape (6, 5, 4) do not fit" in message
    assert not path.exists()


def link(target):
    return lambda folder: (folder / "b.nii").symlink_to(folder / target)


BAD_FOLDERS = {
    "missing": (lambda folder: folder.rmdir(), "scans: no such folder"),
    "empty": (lambda folder: None, "scans: holds no .nii or .nii.gz file"),
    "nothing of use": (
        lambda folder: (folder / "notes.txt").write_text("x"),
        "scans: holds no .nii or .nii.gz file",
    ),
    "one name twice": (
        lambda folder: [forge(folder / f"a{suffix}", ct()) for suffix in (".nii", ".nii.gz")],
        "a.nii.gz: has the name of a.nii; expected one file per volume",
    ),
    "a folder named so": (lambda folder: (folder / "b.nii").mkdir(), "b.nii: not a regular file"),
    "link to nowhere": (link("nothing.nii"), "b.nii: a link that leads nowhere"),
    "link to outside": (link("../secret.nii"), "b.nii: a link to "),
}


@pytest.mark.parametrize("row", BAD_FOLDERS)
def test_bad_folders_are_refused(tmp_path, row):
    damage, reason = BAD_FOLDERS[row]
    folder = tmp_path / "scans"
    folder.mkdir()
    forge(tmp_path / "secret.nii", ct())
    damage(folder)
    with pytest.raises(DatasetLayoutError) as error:
        volume_files.list_volumes(folder, folder)
    assert reason in str(error.value)


def test_volumes_are_listed_by_name_without_being_opened(tmp_path):
    for name in ("b.nii", "a.nii.gz", "C.NII.GZ", ".hidden.nii", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.nii").symlink_to(tmp_path / "b.nii")
    assert sorted(volume_files.list_volumes(tmp_path, tmp_path)) == ["C", "a", "b", "d"]
