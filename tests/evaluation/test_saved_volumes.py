"""Masks of volumes against each other, however each is stored."""

import argparse
import csv
import json

import nibabel as nib
import numpy as np
import pytest
import surface_distance
from PIL import Image
from scipy import ndimage

from cosup_jax.commands import compare, evaluate
from cosup_jax.commands.evaluate import add_arguments
from cosup_jax.evaluation import evaluate_saved
from cosup_jax.evaluation.saved import SavedMapError
from cosup_jax.scans.nifti import VolumeError
from tests.dummy import volume_folder, volumes
from tests.scans import dicom_series

SHAPE = (4, 8, 10)
VOXEL_ML = 8 * 1.5 * 1.5 / 1000


def box(value=1, shift=0):
    """(Z, H, W): 2 x 3 x 4 voxels, 0.432 mL."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 2:5, 3 + shift : 7 + shift] = value
    return mask


def speck(mask):
    mask = mask.copy()
    mask[0, 7, 0:3] = 1  # 0.054 mL, apart from the box
    return mask


def save(folder, name, mask, orientation="LPS"):
    return volumes.save(folder / f"{name}.nii.gz", mask, orientation)


@pytest.fixture
def folders(tmp_path):
    """Three volumes: as they are, moved by one voxel with a false lesion, and missed."""
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    for name, found in (("a", box()), ("b", speck(box(shift=1))), ("c", box() * 0)):
        save(pred, name, found)
        save(truth, name, box(255 if name == "a" else 1), "RAS" if name == "b" else "LPS")
    return pred, truth


def rows_of(out):
    with (out / "per_volume.csv").open() as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


@pytest.mark.usefixtures("drawn")
def test_scores_of_known_volumes(folders, tmp_path):
    summary = evaluate_saved(*folders, protocol="cosup", out=tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [float(rows[n]["dice"]) for n in "abc"] == pytest.approx([1, 36 / 51, 0])
    assert float(rows["a"]["volume_ml"]) == pytest.approx(24 * VOXEL_ML)
    assert float(rows["b"]["volume_ml"]) == pytest.approx(27 * VOXEL_ML)
    assert float(rows["a"]["hd95_mm"]) == 0
    assert float(rows["a"]["surface_dice"]) == 1
    assert rows["c"]["hd95_mm"] == "inf"
    counts = ("lesions", "hits", "hits_iou", "false_positives", "false_positives_iou")
    found = {name: [int(rows[name][c]) for c in counts] for name in "abc"}
    assert found == {"a": [1, 1, 1, 0, 0], "b": [1, 1, 1, 1, 1], "c": [1, 0, 0, 0, 0]}
    assert summary["lesions"]["sensitivity"] == pytest.approx(2 / 3)
    assert summary["lesions"]["false_positives_per_scan"] == pytest.approx(1 / 3)
    assert summary["pooled_dice"] == pytest.approx(2 * (24 + 18) / (24 + 27 + 72))
    assert summary["per_case"]["dice"]["n"] == 3
    apart = np.array([0, 3, -24]) * VOXEL_ML
    agreed = summary["volume_agreement"]
    assert agreed["bias_ml"] == pytest.approx(apart.mean())
    assert agreed["upper_ml"] == pytest.approx(apart.mean() + 1.96 * apart.std(ddof=1))
    with Image.open(tmp_path / "out/bland_altman.png") as figure:
        assert figure.width > 300


# The package calls SciPy by names SciPy has given up.
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_distances_are_those_of_the_surface_distance_package(tmp_path):
    """In millimetres along the right axes, however either mask is stored."""
    wanted = {}
    for seed, (name, way) in enumerate({"a": "LPS", "b": "RAS", "c": "SAL"}.items()):
        rng = np.random.default_rng(seed)
        field = ndimage.gaussian_filter(rng.standard_normal((2, 6, 20, 24)), (0, 1, 2, 2))
        truth, pred = field > np.quantile(field, 0.8, axis=(1, 2, 3), keepdims=True)
        pred = pred | np.roll(truth, 2, axis=2)
        save(tmp_path / "pred", name, pred.astype(np.uint8), way)
        save(tmp_path / "truth", name, truth.astype(np.uint8))
        apart = surface_distance.compute_surface_distances(truth, pred, volumes.SPACING)
        wanted[name] = (
            surface_distance.compute_robust_hausdorff(apart, 95),
            surface_distance.compute_surface_dice_at_tolerance(apart, 1.0),
            surface_distance.compute_dice_coefficient(truth, pred),
        )
    out = tmp_path / "out"
    evaluate_saved(tmp_path / "pred", tmp_path / "truth", protocol="cosup", out=out)
    for name, row in rows_of(out).items():
        found = [float(row[measure]) for measure in ("hd95_mm", "surface_dice", "dice")]
        assert found == pytest.approx(wanted[name], rel=1e-6)


def test_the_order_in_which_voxels_are_stored_is_said_and_changes_nothing(folders, tmp_path):
    evaluate_saved(*folders, protocol="cosup", out=tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert rows["b"]["note"] == "stored as LPS, the truth as RAS"
    assert rows["a"]["note"] == ""


def test_another_grid_is_brought_to_the_truths_and_said(tmp_path):
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    save(truth, "a", box())
    fine = np.repeat(box(), 2, axis=0)
    path = save(pred, "a", fine)
    affine = nib.load(path).affine
    affine[2, 2] /= 2  # 4 mm planes; those of the truth lie on every other one
    nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), affine), path)
    summary = evaluate_saved(pred, truth, protocol="cosup", out=tmp_path / "out")
    assert summary["pooled_dice"] == 1
    note = rows_of(tmp_path / "out")["a"]["note"]
    assert "brought from 10 × 8 × 8 voxels of 1.5 × 1.5 × 4 mm to 10 × 8 × 4 voxels" in note


def test_what_is_predicted_beside_the_truths_grid_is_said(tmp_path):
    save(tmp_path / "truth", "a", box())
    large = np.pad(box(), ((0, 2), (0, 0), (0, 0)))
    large[5, 1, 1:4] = 1
    save(tmp_path / "pred", "a", large)
    evaluate_saved(tmp_path / "pred", tmp_path / "truth", protocol="cosup", out=tmp_path / "out")
    note = rows_of(tmp_path / "out")["a"]["note"]
    assert "3 voxels (0.054 mL) predicted outside the truth's grid" in note


def segmentations(tmp_path, masks):
    """Segmentations on one series, each in a folder of its own."""
    hu = np.random.default_rng(0).integers(-1000, 100, SHAPE, np.int16)
    dicom_series.save(tmp_path / "series", dicom_series.make_images(hu, (8.0, 1.5, 1.5)))
    for name, mask in masks.items():
        (tmp_path / name).mkdir()
        volume_folder.write_segmentation(tmp_path / name / "a.dcm", tmp_path / "series", mask)


def test_a_segmentation_is_empty_where_it_has_no_planes(tmp_path):
    """The false lesion lies on a plane that the truth's file does not have."""
    segmentations(tmp_path, {"pred": speck(box(shift=1)), "truth": box()})
    out = tmp_path / "out"
    summary = evaluate_saved(tmp_path / "pred", tmp_path / "truth", protocol="cosup", out=out)
    assert summary["pooled_dice"] == pytest.approx(36 / 51)
    assert summary["lesions"]["false_positives"] == 1
    assert float(rows_of(out)["a"]["true_volume_ml"]) == pytest.approx(24 * VOXEL_ML)
    assert "slices beyond their planes are not among" in rows_of(out)["a"]["note"]


def test_a_segmentation_and_a_nifti_of_one_scan(tmp_path):
    segmentations(tmp_path, {"truth": box()})
    affine = np.diag([-1.5, -1.5, 8.0, 1.0])
    affine[:3, 3] = 100, 120, -300  # where the series begins, in RAS
    (tmp_path / "pred").mkdir()
    pred = nib.Nifti1Image(speck(box()).transpose(2, 1, 0), affine)
    nib.save(pred, tmp_path / "pred/a.nii.gz")
    summary = evaluate_saved(tmp_path / "pred", tmp_path / "truth", protocol="cosup")
    assert summary["pooled_dice"] == pytest.approx(48 / 51)
    assert summary["lesions"]["false_positives"] == 1


def test_results_of_predict_and_names_of_nnunet(tmp_path):
    for name in ("x_0000", "y"):
        volumes.save(tmp_path / "pred" / name / "mask.nii.gz", box())
        (tmp_path / "pred" / name / "findings.json").write_text("{}")
    (tmp_path / "pred/cohort.csv").write_text("scan\n")
    for name in ("x", "y"):
        save(tmp_path / "truth", name, box())
    summary = evaluate_saved(tmp_path / "pred", tmp_path / "truth", protocol="cosup")
    assert summary["per_case"]["dice"] == {"mean": 1.0, "std": 0.0, "n": 2}


BAD = {
    "no truth": (lambda p, t: (t / "a.nii.gz").unlink(), "a.nii.gz: no truth of this name"),
    "no prediction": (lambda p, t: (p / "b.nii.gz").unlink(), "b.nii.gz: no prediction of this"),
    "no folder": (lambda p, t: p.rename(p.with_name("q")), "pred: no such folder"),
    "two of a name": (lambda p, t: save(p, "a.nii", box()).rename(p / "a.nii"), "has the name of"),
    "other labels": (lambda p, t: save(t, "a", box(7)), "holds the labels 7; expected only"),
    "a probability": (lambda p, t: save(p, "a", box() * 0.5), "label 0.5 is no whole number"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_folders_are_refused_by_name(folders, kind):
    damage, message = BAD[kind]
    damage(*folders)
    with pytest.raises((SavedMapError, VolumeError)) as caught:
        evaluate_saved(*folders, protocol="cosup")
    assert message in str(caught.value)


def test_the_command_and_compare(folders, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    outs = [str(tmp_path / name) for name in ("first", "second")]
    for pred, out in zip((folders[0], folders[1]), outs, strict=True):
        chosen = parser.parse_args(
            [f"--predictions={pred}", f"--truth={folders[1]}", f"--out={out}"]
        )
        chosen.overrides = None
        assert evaluate.run(chosen) == 0
    said = capsys.readouterr().out
    assert (
        "lesions of 0.05 mL or more, touched: 2 of 3 (0.6667); false positives a scan: 0.33" in said
    )
    assert "volume, predicted − true: bias" in said
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    assert compare.run(parser.parse_args(outs)) == 0
    assert "first" in capsys.readouterr().out
    assert json.loads((tmp_path / "first/summary.json").read_text())["lesions"]["lesions"] == 3
