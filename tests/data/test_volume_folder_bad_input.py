"""Volumes of one's own that that are refused: the message names the case, and what was expected."""

import shutil

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.splits import PatientOverlapError
from cosup_jax.scans.nifti import VolumeError
from tests.data.test_volume_folder import built
from tests.dummy import volume_folder as dummy
from tests.dummy import volumes
from tests.scans import dicom_series


def plain(change, options="", mask_values=None):
    """A plain folder, to which `change` is done."""

    def make(root):
        dummy.write(root)
        change(root)
        return root

    return make, options, mask_values


def nnunet(labels=None, change=lambda root: None, options="", **fields):
    def make(root):
        dummy.write_nnunet(root, labels, **fields)
        change(root)
        return root

    return make, options, None


def decathlon(**fields):
    def make(root):
        dummy.write_decathlon(root, **fields)
        return root

    return make, "", None


def table(old, new, change=lambda root: None):
    def make(root):
        path = dummy.write_table(root)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        change(root)
        return path

    return make, "", None


def moved(by):
    def change(root):
        path = root / "masks/ann.nii.gz"
        affine = nib.load(path).affine
        affine[0, 3] += by
        dummy.regrid(path, path, affine)

    return change


def save_mask(case, array, kind="masks"):
    return lambda root: volumes.save(root / kind / f"{case}.nii.gz", array, "LAS")


def splits(*rounds):
    return lambda root: dummy.write_json(root / "splits_final.json", rounds)


def link_outside(root):
    outside = volumes.save(root.parent / "outside.nii.gz", dummy.mask_of("ann"), "LAS")
    (root / "masks/ann.nii.gz").unlink()
    (root / "masks/ann.nii.gz").symlink_to(outside)


def four_axes(root):
    path = root / "images/ann.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.stack([image.dataobj] * 2, -1), image.affine), path)


def segmentation_of_another_series(root):
    other = root.parent / "other"
    dicom_series.save(other, dicom_series.make_images(dummy.drawn("bob").image, (4.0, 0.75, 0.5)))
    dummy.write_segmentation(root / "bob.dcm", other, dummy.mask_of("bob"))


def one_slice(root):
    for path in sorted((root / "bob").iterdir())[1:]:
        path.unlink()


def cut_off(root):
    (root / "bob.dcm").write_bytes((root / "bob.dcm").read_bytes()[:900])


def results(change, *, named=True):
    def make(root):
        dummy.write_results(root, root.parent / "scans", named=named, digests=False)
        change(root)
        return root

    return make, "", None


FRACTIONS = dummy.mask_of("ann") * np.float32(0.5)
BAD = {
    "no layout": ((lambda r: r.mkdir() or r, "", None), "has none of the layouts that are known"),
    "nothing there": ((lambda r: r / "no", "", None), "neither a folder nor a CSV file"),
    "two layouts": (
        plain(lambda r: (r / "dataset.json").write_text("{}")),
        "has nnU-Net or Decathlon (dataset.json) and a plain folder (images/) of the layouts",
    ),
    "mask without image": (
        plain(lambda r: (r / "images/ann.nii.gz").unlink()),
        "masks/ann.nii.gz: no image of this name",
    ),
    "two masks of a name": (
        plain(lambda r: (r / "masks/ann.dcm").touch()),
        "masks/ann.nii.gz: has the name of ann.dcm",
    ),
    "mask moved by a third of a voxel": (
        plain(moved(0.5)),
        "case 'ann': {}/masks/ann.nii.gz: drawn on 32 × 32 × 3 voxels of 1.5 × 1.5 × 8 mm, but its "
        "image has 32 × 32 × 3 voxels of 1.5 × 1.5 × 8 mm, 0.33 voxels away",
    ),
    "mask of another shape": (
        plain(lambda r: dummy.regrid(*[r / "masks/ann.nii.gz"] * 2, pick=np.s_[..., :2])),
        "case 'ann': {}/masks/ann.nii.gz: drawn on 32 × 32 × 2 voxels",
    ),
    "undeclared label": (
        plain(save_mask("ann", dummy.mask_of("ann") * np.uint8(7))),
        "case 'ann': {}/masks/ann.nii.gz: holds the labels 7; expected only [0, 1, 255] "
        "(mask_values declares what each value means)",
    ),
    "label that is a fraction": (
        plain(save_mask("bob", FRACTIONS)),
        "case 'bob': {}/masks/bob.nii.gz: the label 0.5 is no whole number",
    ),
    "lungs of other values": (
        plain(save_mask("cyd", dummy.mask_of("cyd") * np.uint8(5), "lungs")),
        "case 'cyd': {}/lungs/cyd.nii.gz: holds the labels 5; expected only [0, 1, 2, 255], of "
        "which 1 and 2 are the left and the right lung",
    ),
    "four axes": (plain(four_axes), "case 'ann': {}/images/ann.nii.gz: of shape (32, 32, 3, 2)"),
    "truncated image": (
        plain(lambda r: (r / "images/ann.nii.gz").write_bytes(b"\x1f\x8b")),
        "case 'ann': {}/images/ann.nii.gz: unreadable or truncated",
    ),
    "image of pictures": (
        plain(lambda r: (r / "images/zoe.png").touch()),
        "case 'zoe': {}/images/zoe.png is no image; expected a NIfTI file",
    ),
    "empty series": (
        plain(lambda r: (r / "images/zoe").mkdir()),
        "case 'zoe': {}/images/zoe holds no DICOM file",
    ),
    "mask of text": (
        plain(lambda r: (r / "masks/fay.txt").write_text("x")),
        "case 'fay': {}/masks/fay.txt is no mask; expected a NIfTI file",
    ),
    "link out of the folder": (plain(link_outside), "masks/ann.nii.gz: a link to"),
    "no lungs to choose by": (
        plain(lambda r: (r / "lungs/dan.nii.gz").unlink(), "slices=lungs"),
        "has no lungs, by which slices=lungs chooses",
    ),
    "two patients": (
        plain(lambda r: [(r / f"masks/{c}.nii.gz").unlink() for c in ("ann", "bob", "cyd")]),
        "masks of 2 patients, too few to be dealt",
    ),
    "no such fold": (plain(lambda r: None, "fold=5"), "no fold 5; expected fold=0 to fold=4"),
    "no masks at all": (
        plain(lambda r: (shutil.rmtree(r / "masks"), shutil.rmtree(r / "lungs"))),
        "none of the 6 volumes of a plain folder has a mask; expected masks of some (masks/ beside",
    ),
    "region": (
        nnunet({"background": 0, "whole": [1, 2], "x": 1}),
        "dataset.json: the label 'whole' is a region of [1, 2]; regions are not read",
    ),
    "ignore": (nnunet({"background": 0, "x": 1, "ignore": 2}), "has the label 'ignore'"),
    "labels that say nothing": (
        nnunet({"background": 0, "a": 1, "b": 2}),
        "dataset.json: the labels 'a', 'b' say no class; expected ground-glass",
    ),
    "labels of lungs alone": (nnunet({"background": 0, "lung": 1}), "hold no infection"),
    "labels without a number": (nnunet({"x": "one"}), "has the value 'one'; expected a whole"),
    "several channels": (nnunet(channel_names={"0": "CT", "1": "PET"}), "the channels CT, PET;"),
    "several modalities": (decathlon(modality=["A", "B"]), "has the channels A, B; expected one"),
    "a second channel's file": (
        nnunet(change=lambda r: (r / "imagesTr/ann_0001.nii.gz").touch()),
        "imagesTr/ann_0001.nii.gz: channel 1 of 'ann'; expected one channel, CT",
    ),
    "another ending": (nnunet(file_ending=".nrrd"), "file_ending is '.nrrd'; expected .nii or"),
    "a file without a channel": (
        nnunet(change=lambda r: (r / "imagesTr/ann.nii.gz").touch()),
        "imagesTr/ann.nii.gz: expected a file named <case>_0000.nii.gz",
    ),
    "a volume missing": (nnunet(numTraining=9), "numTraining is 9, but {}/imagesTr holds 5"),
    "a label missing": (
        nnunet(change=lambda r: (r / "labelsTr/eve.nii.gz").unlink()),
        "case 'eve': {}/labelsTr/eve.nii.gz does not exist",
    ),
    "a label too many": (
        nnunet(change=lambda r: (r / "labelsTr/zoe.nii.gz").touch()),
        "labelsTr/zoe.nii.gz: labels of no case",
    ),
    "no JSON": (nnunet(change=lambda r: (r / "dataset.json").write_text("{")), "json: Expecting"),
    "fold out of range": (
        nnunet(change=splits({"train": [], "val": []}), options="fold=1"),
        "splits_final.json: no fold 1; expected fold=0 to fold=0",
    ),
    "case in no list": (
        nnunet(change=splits({"train": ["ann", "bob"], "val": ["cyd", "dan"]})),
        "splits_final.json: case 'eve' is only in labels",
    ),
    "case in both lists": (
        nnunet(change=splits({"train": ["ann"], "val": ["ann"]})),
        "case 'ann' stands in both lists of fold 0",
    ),
    "case of nobody": (
        nnunet(change=splits({"train": [*dummy.LABELLED, "zoe"], "val": []})),
        "case 'zoe' is only in a list",
    ),
    "Decathlon of four axes": (decathlon(tensorImageSize="4D"), "tensorImageSize is 4D"),
    "Decathlon with a path out": (
        decathlon(training=[{"image": "../x.nii.gz", "label": "/x.nii.gz"}]),
        "dataset.json: '../x.nii.gz' leads out of {}",
    ),
    "Decathlon with a broken path": (
        decathlon(test=["a\0.nii.gz"]),
        "dataset.json: 'a\\x00.nii.gz'; expected a path in {}",
    ),
    "Decathlon with an odd list": (decathlon(test=5), "test is 5; expected a list of images"),
    "table without images": (table("image,", "images,"), "expected `image`, and optionally `mask`"),
    "table with a path out": (
        table("a/seg.nii,", "../seg.nii,"),
        "volumes.csv, row 2, case 'one': '../seg.nii' leads out of {}; expected a path in it",
    ),
    "table with an absolute path": (table("a/ct.nii,", "/ct.nii,"), "'/ct.nii' leads out of"),
    "table with a missing file": (
        table("a/seg.nii,", "a/gone.nii,"),
        "row 2, case 'one': {}/a/gone.nii does not exist",
    ),
    "table with another split": (table("train", "teach"), "split 'teach'; expected train"),
    "table with a split for some": (table("p1,train", "p1,"), "no split for case 'one'"),
    "table with a case twice": (table("bob.dcm,,,p2", "bob.dcm,,one,p2"), "case 'one' again"),
    "table that hides a mask": (table("p2,val", "p2,unlabelled"), "has a mask, but is said to be"),
    "table without a mask to train on": (table("p3,", "p3,test"), "no mask, but is of test"),
    "patient in two splits": (table("p2", "p1"), "stand in both 'train' and 'validation': p1"),
    "image for a Segmentation": (
        table(
            "bob.dcm,", "bob,", lambda r: [p.unlink() for p in sorted((r / "bob").iterdir())[1:]]
        ),
        "is no DICOM Segmentation",
    ),
    "Segmentation of another grid": (
        table("p2", "p2", segmentation_of_another_series),
        "case 'bob': {}/bob.dcm: drawn on",
    ),
    "Segmentation cut off": (
        table(
            "p2", "p2", lambda r: (r / "bob.dcm").write_bytes((r / "bob.dcm").read_bytes()[:900])
        ),
        "case 'bob': {}/bob.dcm: unreadable or damaged",
    ),
    "results without the scans": (
        results(lambda r: None, named=False),
        "case 'ann': its record does not say where the scan lies; give the folder of the scans",
    ),
    "results of a scan that changed": (
        results(lambda r: volumes.save(r.parent / "scans/eve.nii.gz", dummy.drawn("ann").image)),
        "eve.nii.gz is not what was predicted on any more",
    ),
    "results with two masks": (
        results(lambda r: (r / "ann/mask.dcm").touch()),
        "case 'ann': {}/ann/mask.nii.gz and {}/ann/mask.dcm; remove the one that is not meant",
    ),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, kind):
    (make, options, mask_values), message = BAD[kind]
    root = tmp_path / "mine"
    source = make(root)
    with pytest.raises((DatasetLayoutError, VolumeError, PatientOverlapError)) as caught:
        built(source, tmp_path, options, mask_values)
    assert message.replace("{}", str(root)) in str(caught.value)
    assert not list(tmp_path.glob("data/**/*record*"))
    assert not list(tmp_path.glob("data/**/*incomplete*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("fold=x", "'fold=x'; expected a whole number"),
        ("resample=linear", "'resample=linear'; expected one of no, nearest"),
        ("colour=red", "'colour=red'; expected name=value, each once, with name one of fold"),
        ("fold=1,fold=2", "'fold=2'; expected name=value, each once"),
        ("hu_offset=nan", "'hu_offset=nan'; expected a number"),
    ],
)
def test_unknown_options_are_refused(tmp_path, options, message):
    dummy.write(tmp_path)
    with pytest.raises(ValueError, match="data.config of volume_folder") as caught:
        built(tmp_path, tmp_path, options)
    assert message in str(caught.value)


def test_impossible_classes_are_refused(tmp_path):
    dummy.write(tmp_path)
    with pytest.raises(ValueError, match=r"expected values from 0 on and classes 0\.\.3"):
        built(tmp_path, tmp_path, mask_values={0: 0, 1: 4})
