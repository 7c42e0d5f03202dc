"""Folders of volumes as people have them: what is listed, and which scan belongs to whom."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.data import own_volumes, volume_layouts
from cosup_jax.data.builder import DatasetLayoutError, DealingError
from cosup_jax.data.own_volumes import OwnVolume, Reading
from cosup_jax.data.volume_layouts import Dealing
from cosup_jax.scans.nifti import VolumeError
from tests.data.test_volume_folder import built
from tests.dummy import volume_folder as dummy
from tests.dummy import volumes


def listed(root):
    return volume_layouts.find(root, 0, None)


def dealt(root):
    groups, notes = volume_layouts.deal(found := listed(root), Dealing())
    cases = {name: sorted(v.case_id for v in group) for name, group in groups.items()}
    return cases, [*found.notes, *notes]


@pytest.fixture
def plain(tmp_path):
    dummy.write(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def nnunet(tmp_path):
    dummy.write_nnunet(tmp_path / "mine")
    return tmp_path / "mine"


def set_fields(root, **fields):
    path = root / "dataset.json"
    dummy.write_json(path, json.loads(path.read_text()) | fields)


def table(root, change=lambda text: text):
    """A table of all volumes of a plain folder below it."""
    dummy.write(root / "d")
    rows = [f"d/images/{c}.nii.gz,d/masks/{c}.nii.gz,p{c}" for c in dummy.LABELLED]
    rows = ["image,mask,patient", *rows, f"d/images/{dummy.BARE}.nii.gz,,pf"]
    (root / "volumes.csv").write_text(change("\n".join(rows)) + "\n")
    return root


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store"])
def test_what_desktops_leave_behind_is_no_volume(plain, nnunet_too, name):
    for folder in (plain / "images", plain / "masks", *nnunet_too):
        (folder / name).write_bytes(b"x")
    assert len(listed(plain).volumes) == len(dummy.CASES)
    assert len(listed(nnunet_too[0].parent).volumes) == len(dummy.CASES)


@pytest.fixture
def nnunet_too(tmp_path):
    dummy.write_nnunet(tmp_path / "other")
    return tmp_path / "other/imagesTr", tmp_path / "other/labelsTr"


def test_a_scan_under_two_names_is_refused(plain):
    for kind in ("images", "masks"):
        shutil.copy(plain / kind / "ann.nii.gz", plain / kind / "zoe.nii.gz")
    with pytest.raises(DatasetLayoutError, match="'zoe': its image is that of case 'ann'"):
        dealt(plain)


def test_a_scan_to_test_on_that_is_trained_on_is_refused(nnunet):
    shutil.copy(nnunet / "imagesTr/ann_0000.nii.gz", nnunet / "imagesTs/zoe_0000.nii.gz")
    with pytest.raises(DatasetLayoutError, match="'zoe': its image is that of case 'ann'"):
        dealt(nnunet)


@pytest.mark.parametrize("patient", ["pann", "pzoe", ""])
def test_one_scan_drawn_twice_is_of_one_patient(tmp_path, patient):
    path = table(tmp_path) / "volumes.csv"
    shutil.copytree(tmp_path / "d/masks", tmp_path / "d/second")
    first, *rows = path.read_text().splitlines()
    rows = [f"{first},case", *(f"{row}," for row in rows)]
    rows.append(f"d/images/ann.nii.gz,d/second/ann.nii.gz,{patient},second")
    path.write_text("\n".join(rows) + "\n")
    if patient == "pann":
        assert any({"ann", "second"} <= set(cases) for cases in dealt(tmp_path)[0].values())
        return
    with pytest.raises(DatasetLayoutError, match="'second': its image is that of case 'ann'"):
        dealt(tmp_path)


def test_a_plain_folder_without_masks_says_what_is_missing(plain):
    (plain / "masks").rename(plain / "labels")
    with pytest.raises(DatasetLayoutError, match=r"none of the 6 volumes .* has a mask; expected"):
        dealt(plain)


def test_too_few_patients_are_told_in_one_sentence(plain):
    """The layout is known by then, so that no layouts are listed."""
    for case in ("ann", "bob", "cyd"):
        (plain / f"masks/{case}.nii.gz").unlink()
    with pytest.raises(DealingError, match="masks of 2 patients, too few") as caught:
        built(plain, plain.parent)
    assert "\n" not in str(caught.value)


def test_another_format_is_named_with_what_to_do(plain):
    (plain / "masks/fay.seg.nrrd").touch()
    with pytest.raises(DatasetLayoutError, match=r"\(\.nrrd is not read; save it as NIfTI"):
        listed(plain)
    (plain / "masks/fay.seg.nrrd").rename(plain / "images/zoe.mha")
    with pytest.raises(DatasetLayoutError, match=r"zoe\.mha is no image \(\.mha is not read"):
        listed(plain)


def test_a_folder_one_above_is_told_so(nnunet):
    with pytest.raises(DatasetLayoutError, match=r"none of the layouts .* \(mine, which lies in"):
        listed(nnunet.parent)


def test_the_older_nnunet_layout(nnunet):
    """Labels the other way round, `modality`, lists without the channel's number."""
    for case in dummy.LABELLED:
        volumes.save(nnunet / f"labelsTr/{case}.nii.gz", dummy.mask_of(case))
    about = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "infection"},
        "training": [{k: f"./{k}sTr/{c}.nii.gz" for k in ("image", "label")} for c in dummy.CASES],
        "test": [f"./imagesTs/{dummy.BARE}.nii.gz"],
        "numTraining": str(len(dummy.LABELLED)),
    }
    dummy.write_json(nnunet / "dataset.json", about)
    (nnunet / "splits_final.pkl").write_bytes(b"\x80")
    found = listed(nnunet)
    assert (found.layout, dict(found.mask_values)) == ("nnU-Net raw", {0: 0, 1: 1})
    assert [v.case_id for v in found.volumes] == list(dummy.CASES)
    assert any(note.startswith("splits_final.pkl is not read") for note in found.notes)


def test_background_need_not_be_named(nnunet):
    set_fields(nnunet, labels={"GGO": 1, "consolidation": 2, "effusion": 3})
    assert dict(listed(nnunet).mask_values) == {0: 0, 1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize(("name", "said"), [("CT", False), ("ct_hu", False), ("T2", True)])
def test_a_channel_that_is_not_called_ct_is_said(nnunet, name, said):
    set_fields(nnunet, channel_names={"0": name})
    assert (f"the channel is called {name!r}, and taken for CT" in listed(nnunet).notes) is said


def test_files_named_elsewhere_are_not_ignored(nnunet):
    files = {"images": ["imagesTr/ann_0000.nii.gz"], "label": "labelsTr/ann.nii.gz"}
    set_fields(nnunet, dataset={"ann": files})
    with pytest.raises(
        DatasetLayoutError, match=r"names 1 cases .* under 'dataset', which are oth"
    ):
        listed(nnunet)
    set_fields(nnunet, dataset=dict.fromkeys(dummy.LABELLED, files))
    assert len(listed(nnunet).volumes) == len(dummy.CASES)


def test_of_the_older_description_nnunet_reads_folders_alone(nnunet):
    paths = [{"image": f"imagesTr/{c}.nii.gz", "label": f"labelsTr/{c}.nii.gz"} for c in ("x", "y")]
    set_fields(nnunet, training=paths, tensorImageSize="4D")
    assert len(listed(nnunet).volumes) == len(dummy.CASES)
    paths[1]["label"] = "labelsTr2/y.nii.gz"
    set_fields(nnunet, training=paths)
    with pytest.raises(DatasetLayoutError, match="names the labels 'labelsTr2/y.nii.gz', but"):
        listed(nnunet)


@pytest.mark.parametrize("name", ["dataset.json", "splits_final.json"])
def test_a_byte_order_mark_is_no_fault(nnunet, name):
    rounds = [{"train": ["ann", "bob", "cyd"], "val": ["dan", "eve"]}]
    dummy.write_json(nnunet / "splits_final.json", rounds)
    path = nnunet / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert dealt(nnunet)[0]["validation"] == ["dan", "eve"]


SAME = {
    "blanks behind commas": lambda text: text.replace(",", ", "),
    "quotes": lambda text: "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in text.split("\n")
    ),
    "Windows": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "rows without cells": lambda text: text.replace("\n", "\n,,\n") + "\n,,\n\n",
}


@pytest.mark.parametrize("kind", SAME)
def test_tables_as_programs_write_them(tmp_path, kind):
    expected = dealt(table(tmp_path))
    path = tmp_path / "volumes.csv"
    path.write_bytes(SAME[kind](path.read_text().rstrip("\n")).encode())
    assert dealt(tmp_path) == expected


def test_an_absolute_path_into_the_folder_is_one(tmp_path):
    expected = dealt(table(tmp_path))
    path = tmp_path / "volumes.csv"
    path.write_text(path.read_text().replace("d/", f"{tmp_path}/d/"))
    assert dealt(tmp_path) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image,mask,patient", "image,mask,mask", "has the column 'mask' twice"),
        ("mask,patient", "mask,Patient", "has the column 'Patient'; expected .* called 'patient'"),
        ("masks/bob", "masks/ann", r"row 3: d/masks/ann\.nii\.gz is the mask of row 2"),
        ("image,mask,", "image,seg,", "none of the 6 volumes of a table has a mask"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path, old, new, message):
    table(tmp_path, lambda text: text.replace(old, new))
    with pytest.raises(DatasetLayoutError, match=message):
        dealt(tmp_path)


def read(root, nearest=True):
    places = (root / f"{kind}/ann.nii.gz" for kind in ("images", "masks"))
    image, mask = ((place,) for place in places)
    volume = OwnVolume("ann", "ann", image, mask)
    return [example["mask"] for example in own_volumes.read(volume, Reading(nearest=nearest))]


def move(root, by):
    path = root / "masks/ann.nii.gz"
    affine = nib.load(path).affine
    affine[0, 3] += by
    dummy.regrid(path, path, affine)


def test_nearest_neighbours_make_no_empty_mask_of_another_scans(plain):
    want = int(dummy.mask_of("ann").sum())
    assert sum(map(np.sum, read(plain, nearest=False))) == want
    move(plain, 900)
    with pytest.raises(VolumeError, match=r"ann\.nii\.gz: lies beside the volume that it should"):
        read(plain)
    move(plain, 45 - 900)  # the grids overlap by two columns
    with pytest.raises(VolumeError, match=f"all {want} voxels that are drawn lie outside"):
        read(plain)


def test_one_mask_of_two_scans_is_said(plain):
    shutil.copy(plain / "masks/ann.nii.gz", plain / "masks/bob.nii.gz")
    said = "the masks of ann, bob are the same, which is right only if nothing is drawn"
    assert said in dealt(plain)[1]


def test_a_mask_that_was_cropped_is_told_of_the_option(plain):
    path = plain / "masks/ann.nii.gz"
    affine = nib.load(path).affine
    affine[:3, 3] += affine[:3, :3] @ (2, 2, 0)
    before = [mask.copy() for mask in read(plain)]
    dummy.regrid(path, path, affine, np.s_[2:30, 2:30])
    with pytest.raises(VolumeError, match=r"drawn on 28 × 28 .*\(resample=nearest brings a mask"):
        read(plain, nearest=False)
    np.testing.assert_array_equal(read(plain), before)


def test_a_mask_whose_place_nobody_knows_is_not_resampled(plain):
    path = plain / "masks/ann.nii.gz"
    image = nib.Nifti1Image(np.asarray(nib.load(path).dataobj), None)
    image.header["pixdim"][1:4] = 1.5, 1.5, 8
    nib.save(image, path)
    with pytest.raises(VolumeError, match="the header does not say where it lies"):
        read(plain)


@pytest.mark.parametrize("nearest", [False, True])
def test_no_mask_is_resampled_to_an_image_whose_place_nobody_knows(plain, nearest):
    path = plain / "images/ann.nii.gz"
    image = nib.load(path)
    bare = nib.Nifti1Image(np.asarray(image.dataobj), None)
    bare.header["pixdim"][1:4] = image.header["pixdim"][1:4]
    nib.save(bare, path)
    with pytest.raises(VolumeError, match="its image, whose header does not say where it lies"):
        read(plain, nearest)
