"""Masks as other tools leave them: the right scores, or a word on which file to mend and how."""

import hashlib

import nibabel as nib
import numpy as np
import pydicom
import pytest

from cosup_jax import cli
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.evaluation import evaluate_saved
from cosup_jax.evaluation.saved import SavedMapError
from cosup_jax.scans.nifti import VolumeError
from tests.dummy import volume_folder
from tests.evaluation.test_saved_volumes import SHAPE, VOXEL_ML, box, rows_of, save, segmentations
from tests.scans import dicom_series
from tests.scans.test_masks import other_tool

pytestmark = pytest.mark.usefixtures("no_figure")
AFFINE = np.diag([-1.5, -1.5, 8.0, 1.0])
LUNGS = box(3)
LUNGS[:, :2, :4], LUNGS[:, :2, 6:] = 1, 2  # as published beside infection, the left one first
NAMES = {"background": 0, "left lung": 1, "right lung": 2, "infection": 3}


def scored(folders, **given):
    out = folders[0].parent / "out"
    summary = evaluate_saved(*folders, protocol="cosup", out=out, **given)
    return summary, rows_of(out)["a"]


def write(path, axial, affine=AFFINE, **fields):
    image = nib.Nifti1Image(axial.transpose(2, 1, 0), affine)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.int8, np.uint16])
@pytest.mark.parametrize("value", [1, 255])
def test_any_type_and_either_value_will_do(pair, dtype, value):
    if value > np.iinfo(np.int8).max and dtype is np.int8:
        pytest.skip("no 255 in it")
    save(pair[0], "a", box(shift=1).astype(dtype) * dtype(value))
    summary, row = scored(pair)
    assert summary["pooled_dice"] == 0.75
    assert row["note"] == ""


def test_a_mask_that_was_cropped_to_what_is_drawn(pair):
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3, :3] @ (3, 2, 1)
    write(pair[0] / "a.nii.gz", box()[1:3, 2:5, 3:7], affine)
    summary, row = scored(pair)
    assert summary["pooled_dice"] == 1
    assert "brought from 4 × 3 × 2 voxels" in row["note"]


@pytest.mark.parametrize("side", [0, 1])
def test_a_header_that_does_not_say_where_it_lies_is_not_placed(pair, side):
    """As MATLAB, or nibabel without an affine, writes it."""
    write(pair[side] / "a.nii.gz", box(), None, pixdim=[1, 1.5, 1.5, 8, 1, 1, 1, 1])
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: .* the header does not say where it lies"):
        scored(pair)
    write(pair[1 - side] / "a.nii.gz", box(), None, pixdim=[1, 1.5, 1.5, 8, 1, 1, 1, 1])
    summary, row = scored(pair)
    assert summary["pooled_dice"] == 1
    assert "prediction: the header has no orientation; LAS assumed; truth: the" in row["note"]


@pytest.mark.parametrize("side", [0, 1])
def test_a_header_as_programs_write_it_by_default_is_no_place(pair, side):
    write(pair[side] / "a.nii.gz", box(), np.eye(4))
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: .* the header does not say where it lies"):
        scored(pair)
    write(pair[1 - side] / "a.nii.gz", box(shift=1), np.eye(4))
    summary, row = scored(pair)
    assert summary["pooled_dice"] == 0.75
    assert row["note"].count("as programs write where nobody has told them of any") == 2
    assert (row["true_volume_ml"], row["hd95_mm"], row["lesions"]) == ("nan", "nan", "")


def test_a_mask_of_another_scan_is_refused(pair):
    far = AFFINE.copy()
    far[:3, 3] = 500
    write(pair[0] / "a.nii.gz", box(), far)
    with pytest.raises(VolumeError, match=r"pred/a\.nii\.gz: lies beside the volume .* same scan"):
        scored(pair)


def test_transforms_that_disagree_are_said(pair):
    image = nib.Nifti1Image(box().transpose(2, 1, 0), AFFINE)
    image.set_qform(AFFINE @ np.diag([-1.0, 1, 1, 1]), 1)
    nib.save(image, pair[0] / "a.nii.gz")
    summary, row = scored(pair)
    assert summary["pooled_dice"] == 1
    assert "prediction: sform (LPS) and qform (RPS) disagree" in row["note"]


def test_on_a_sheared_grid_volumes_are_known_and_distances_are_not(pair):
    tilted = AFFINE.copy()
    tilted[1, 2] = 2.0
    for folder, mask in zip(pair, (box(shift=1), box()), strict=True):
        write(folder / "a.nii.gz", mask, tilted)
    _, row = scored(pair)
    assert (float(row["dice"]), float(row["volume_ml"])) == (0.75, pytest.approx(24 * VOXEL_ML))
    assert np.isnan([float(row["hd95_mm"]), float(row["surface_dice"])]).all()
    assert row["note"] == "the grid is sheared, as a tilted gantry leaves it: no distances"


@pytest.mark.parametrize("values", [(1, 2, 3), (1, 2, 255), (1, 1, 255), (2, 2, 255)])
def test_several_values_are_infection_and_that_is_said(pair, values):
    stored = np.array([0, *values], np.uint8)[LUNGS]
    save(pair[1], "a", stored)
    _, row = scored(pair)
    assert float(row["true_volume_ml"]) == pytest.approx(np.count_nonzero(LUNGS) * VOXEL_ML)
    told = ", ".join(map(str, sorted(set(values))))
    assert row["note"] == (
        f"truth: holds {told}, all taken for infection; --truth-values says otherwise"
    )


def test_values_can_be_declared_for_each_side(pair):
    save(pair[1], "a", LUNGS)
    summary, row = scored(pair, truth_values={0: 0, 1: 0, 2: 0, 3: 1})
    assert (summary["pooled_dice"], row["note"]) == (0.75, "")
    with pytest.raises(VolumeError, match=r"holds the labels 1; .*\(--prediction-values says"):
        scored(pair, prediction_values={0: 0, 3: 1})
    with pytest.raises(ValueError, match=r"--truth-values: .*; expected classes 0\.\.3"):
        scored(pair, truth_values={0: 0, 1: 9})


@pytest.mark.parametrize("place", ["beside", "in it"])
def test_nnunet_says_itself_what_values_mean(pair, place):
    truth = pair[1]
    if place == "beside":
        truth = pair[1].rename(pair[1].with_name("labelsTr"))
    save(truth, "a", LUNGS)
    about = truth.parent if place == "beside" else truth
    volume_folder.write_json(about / "dataset.json", {"labels": NAMES})
    for name in ("plans.json", "summary.json", "a.npz"):
        (truth / name).write_text("{}")
    summary, row = scored((pair[0], truth))
    assert (summary["pooled_dice"], row["note"]) == (0.75, "")
    regions = {"background": 0, "whole": [1, 2, 3], "infection": 3}
    volume_folder.write_json(about / "dataset.json", {"labels": regions})
    with pytest.raises(DatasetLayoutError, match=r"dataset\.json: the label 'whole' is a region"):
        scored((pair[0], truth))
    declared, _ = scored((pair[0], truth), truth_values={0: 0, 1: 0, 2: 0, 3: 2})
    assert declared["pooled_dice"] == 0.75


def test_segments_whose_names_say_nothing_can_be_declared(tmp_path):
    segmentations(tmp_path, {"pred": box(shift=1), "truth": box()})
    named = {"names": ["Segment_1", "Segment_2"]}
    labels = np.where(box(), 2, LUNGS == 1).astype(np.uint8)
    other_tool(tmp_path / "series", labels, **named).save_as(tmp_path / "truth/a.dcm")
    folders = tmp_path / "pred", tmp_path / "truth"
    with pytest.raises(VolumeError, match=r"'Segment_2' say no class; .*\(--truth-values says"):
        scored(folders)
    assert scored(folders, truth_values={0: 0, 1: 0, 2: 1})[0]["pooled_dice"] == 0.75


def measures_of(file):
    return file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


@pytest.mark.parametrize("planes", [[0, 2, 4], [2]])
def test_planes_apart_do_not_tell_how_thick_a_voxel_is(tmp_path, planes):
    """Lesions on some planes 8 mm apart, written by a tool that does not say the distance."""
    lesions = np.zeros((6, *SHAPE[1:]), np.uint8)
    lesions[planes, 2:5, 3:7] = 1
    hu = np.random.default_rng(0).integers(-1000, 100, lesions.shape, np.int16)
    images = dicom_series.make_images(hu, (8.0, 1.5, 1.5), SliceThickness=2)
    dicom_series.save(tmp_path / "series", images)
    made = other_tool(tmp_path / "series", lesions, names=["Lesion"])
    folders = tmp_path / "pred", tmp_path / "truth"
    for folder in folders:
        folder.mkdir()
        made.save_as(folder / "a.dcm")
    with pytest.raises(SavedMapError, match=r"a\.dcm: neither says how far its planes lie apart"):
        scored(folders)
    measures_of(made).SpacingBetweenSlices = 8.0
    for told in folders:
        made.save_as(told / "a.dcm")
        _, row = scored(folders)
        assert float(row["dice"]) == 1
        assert float(row["true_volume_ml"]) == pytest.approx(12 * len(planes) * VOXEL_ML)
        assert (row["lesions"], row["slices"]) == (str(len(planes)), str(np.ptp(planes) + 1))


def test_one_plane_lies_on_any_scan_that_has_it(tmp_path):
    lesion = box()
    lesion[2] = 0
    segmentations(tmp_path, {"truth": lesion})
    made = pydicom.dcmread(tmp_path / "truth/a.dcm")
    for name in ("SliceThickness", "SpacingBetweenSlices"):
        delattr(measures_of(made), name)
    made.save_as(tmp_path / "truth/a.dcm")
    affine = AFFINE.copy()
    affine[:3, 3] = 100, 120, -300  # where the series begins
    (tmp_path / "pred").mkdir()
    write(tmp_path / "pred/a.nii.gz", box(), affine)
    _, row = scored((tmp_path / "pred", tmp_path / "truth"))
    assert float(row["dice"]) == pytest.approx(2 / 3)
    assert float(row["true_volume_ml"]) == pytest.approx(12 * VOXEL_ML)


def both_formats(tmp_path):
    """What `predict --format both` leaves of one scan."""
    segmentations(tmp_path, {"truth": box(), "pred": box(shift=1)})
    place = tmp_path / "pred/scan"
    place.mkdir()
    (tmp_path / "pred/a.dcm").rename(place / "mask.dcm")
    (tmp_path / "truth/a.dcm").rename(tmp_path / "truth/scan.dcm")
    affine = AFFINE.copy()
    affine[:3, 3] = 100, 120, -300  # where the series begins
    write(place / "mask.nii.gz", box(shift=1), affine)
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in place.iterdir()}
    record = {"made_of": {"settings": {}}, "row": {"status": "done"}, "digests": digests}
    record["sizes"] = {p.name: p.stat().st_size for p in place.iterdir()}
    volume_folder.write_json(place / "findings.json", record)
    return place, affine


def test_of_two_formats_the_corrected_one_is_scored_and_said(tmp_path):
    place, affine = both_formats(tmp_path)
    folders, out = (tmp_path / "pred", tmp_path / "truth"), tmp_path / "out"
    assert evaluate_saved(*folders, protocol="cosup")["pooled_dice"] == 0.75
    write(place / "mask.nii.gz", box(), affine)
    assert evaluate_saved(*folders, protocol="cosup", out=out)["pooled_dice"] == 1
    said = "prediction: corrected by hand since predict wrote it"
    assert rows_of(out)["scan"]["note"] == said
    (place / "Segmentation.nii.gz").write_bytes(b"as 3D Slicer calls it")
    evaluate_saved(*folders, protocol="cosup", out=out)
    assert rows_of(out)["scan"]["note"] == f"{said}; not read: Segmentation.nii.gz"
    volume_folder.write_segmentation(place / "mask.dcm", tmp_path / "series", box(shift=2))
    with pytest.raises(DatasetLayoutError, match="remove the one that is not meant"):
        evaluate_saved(*folders, protocol="cosup")


def rename(side, name):
    return lambda folders: (folders[side] / "a.nii.gz").rename(folders[side] / name)


WRONG = {
    "another format": (
        rename(1, "a.seg.nrrd"),
        r"a\.nii\.gz: no truth of this name, but a\.seg\.nrrd \(\.nrrd is not read; save it as NIf",
    ),
    "another format throughout": (
        lambda folders: [rename(side, "a.mha")(folders) for side in (0, 1)],
        r"no masks of volumes in either, but a\.mha \(\.mha is not read; save it as NIfTI",
    ),
    "a suffix of the truths": (
        rename(1, "a_seg.nii.gz"),
        r"no truth of this name \(a_seg\.nii\.gz is there; rename one\)",
    ),
    "a suffix of the predictions": (
        rename(0, "a_pred.nii.gz"),
        r"a_pred\.nii\.gz: no truth of this name \(a\.nii\.gz is there; rename one\)",
    ),
    "two predictions of one truth": (
        lambda folders: save(folders[0], "a_0000", box()),
        r"a_0000\.nii\.gz: has the truth of .*/a\.nii\.gz; expected one prediction for each",
    ),
    "probabilities": (
        lambda folders: save(folders[0], "a", box() * np.float32(0.7)),
        r"the label 0\.7 is no whole number; expected a mask, not probabilities",
    ),
}


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_what_is_wrong_is_said_with_what_to_do(pair, kind):
    change, message = WRONG[kind]
    change(pair)
    with pytest.raises((SavedMapError, VolumeError), match=message):
        scored(pair)


def test_two_files_belong_together_whatever_they_are_called(pair):
    rename(0, "x_pred.nii.gz")(pair)
    summary, row = scored((pair[0] / "x_pred.nii.gz", pair[1] / "a.nii.gz"))
    assert (summary["pooled_dice"], row["case_id"]) == (0.75, "a")
    with pytest.raises(SavedMapError, match="a file and a folder; expected two files, or two fol"):
        scored((pair[0] / "x_pred.nii.gz", pair[1]))
    volume_folder.write_json(pair[1] / "dataset.json", {"labels": {"lung": 1, "infection": 2}})
    assert scored((pair[0] / "x_pred.nii.gz", pair[1] / "a.nii.gz"))[0]["pooled_dice"] == 0


@pytest.mark.parametrize("sides", [(0,), (0, 1)])
def test_folders_of_scans_without_a_mask_of_our_name_are_named(pair, sides):
    for side in sides:
        (pair[side] / "a").mkdir()
        rename(side, "a/seg.nii.gz")(pair)
    message = r"a\.nii\.gz: no prediction of this name, but a/, which has no mask\.nii\.gz or mask"
    if len(sides) > 1:
        message = (
            r"no masks of volumes in either; .* folders with mask\.nii\.gz or mask\.dcm in them"
        )
    with pytest.raises(SavedMapError, match=message):
        scored(pair)


def test_one_folder_for_both_is_said(pair):
    summary = evaluate_saved(pair[1], pair[1], protocol="cosup")
    assert "PREDICTIONS AND TRUTHS ARE THE SAME" in summary["note"]


def test_the_command_takes_what_values_mean(pair, capsys):
    save(pair[1], "a", LUNGS)
    folders = [f"--predictions={pair[0]}", f"--truth={pair[1]}"]
    assert cli.main(["evaluate", *folders, "--truth-values=0:0,1:0,2:0,3:1"]) == 0
    assert "of all pixels together: 0.7500" in capsys.readouterr().out
    assert cli.main(["evaluate", *folders, "--truth-values=3"]) == 1
    assert "--truth-values='3': expected value:class pairs" in capsys.readouterr().err
    assert cli.main(["evaluate", "--workdir=x", "--truth-values=0:0"]) == 1
    assert "--truth-values is for --predictions" in capsys.readouterr().err
