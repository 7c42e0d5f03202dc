"""Runs scored on scans of a tilted gantry: volumes are known, and distances are not measured."""

import csv
import math
import zipfile

import nibabel as nib
import numpy as np
import pytest

from cosup_jax import evaluation, models, runs
from cosup_jax.data import own_volumes
from cosup_jax.data.own_volumes import OwnVolume
from cosup_jax.evaluation import product, volumes
from tests.data.test_volume_folder import built
from tests.dummy import volume_folder as dummy
from tests.scans import dicom_series
from tests.training.tiny import TinyNet

TILT = 2.0  # mm forwards from a slice to the next, 8 mm above
SHEAR = math.hypot(1, TILT / 8)


def tilt(path):
    affine = nib.load(path).affine
    affine[1, 2] = TILT
    dummy.regrid(path, path, affine)


@pytest.fixture
def folder(tmp_path):
    """Volumes of which those of `ann` and `bob` were taken with a tilted gantry."""
    dummy.write(tmp_path / "mine")
    for case in ("ann", "bob"):
        for kind in ("images", "masks", "lungs"):
            tilt(tmp_path / "mine" / kind / f"{case}.nii.gz")
    return tmp_path / "mine"


def rows_of(path):
    with (path / "per_volume.csv").open(newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def of_volumes(folder, tmp_path):
    """What makes a folder of volumes the dataset of a run."""
    return [
        "--config.data.name=volume_folder",
        f"--config.data.source={folder}",
        f"--config.data.data_dir={tmp_path / 'tfds'}",
        "--config.data.config=",
    ]


@pytest.mark.parametrize("score", [evaluation.evaluate_run, product.evaluate_product])
def test_a_run_has_no_distances_of_sheared_scans(tiny_run, folder, tmp_path, score):
    run = runs.open_run(tiny_run, of_volumes(folder, tmp_path))
    drawing = {"draw": False} if score is evaluation.evaluate_run else {}
    score(run, split="train+validation+test", out=tmp_path / "out", **drawing)
    rows = rows_of(tmp_path / "out")
    assert rows.keys() == set(dummy.LABELLED)
    for case, row in rows.items():
        sheared = case in ("ann", "bob")
        assert (volumes.SHEARED_GRID in row["note"]) == sheared
        assert np.isfinite(float(row["true_volume_ml"]))
        distances = [float(row[name]) for name in ("hd95_mm", "surface_dice")]
        assert np.isnan(distances).all() == sheared


@pytest.mark.parametrize("protocol", ["cosup", "semiseg"])
def test_neither_has_a_class_of_them(tiny_run, folder, tmp_path, protocol):
    config = runs.open_run(tiny_run, of_volumes(folder, tmp_path)).config
    model = TinyNet(classes=4)
    run = runs.Run(tmp_path, config, model, models.initialise(model, (32, 32, 1), 0), 1)
    summaries = evaluation.evaluate_classes(
        run, protocol=protocol, split="train+validation+test", out=tmp_path / "out", draw=False
    )
    for name in summaries:
        for case, row in rows_of(tmp_path / "out" / name).items():
            sheared = case in ("ann", "bob")
            assert (volumes.SHEARED_GRID in row["note"]) == sheared
            assert np.isnan(float(row["hd95_mm"])) == sheared
            assert np.isfinite(float(row["true_volume_ml"]))


def test_the_dataset_keeps_and_says_which_they_are(folder, tmp_path):
    about = built(folder, tmp_path).info.metadata
    assert about["sheared"] == pytest.approx({"ann": SHEAR, "bob": SHEAR})
    assert any(note.startswith("evaluations have no distances of ") for note in about["notes"])


def test_what_was_built_before_knows_of_none(folder, tmp_path):
    builder = built(folder, tmp_path)
    assert volumes.sheared_cases(builder).keys() == {"ann", "bob"}
    del builder.info.metadata["sheared"]
    assert volumes.sheared_cases(builder) == {}


def test_every_kind_of_image_tells_by_its_headers(folder, tmp_path):
    image = folder / "images/ann.nii.gz"
    with zipfile.ZipFile(tmp_path / "ann.zip", "w") as archive:
        archive.write(image, "ct.nii.gz")
    hu = dummy.drawn("ann").image
    for name, step in (("tilted", (0.0, TILT, 8.0)), ("upright", None)):
        images = dicom_series.make_images(hu, (8.0, 1.5, 1.5), step=step)
        dicom_series.save(tmp_path / name, images)
    (tmp_path / "damaged.nii.gz").write_bytes(image.read_bytes()[:20])
    given = {
        "nifti": (image,),
        "upright nifti": (folder / "images/cyd.nii.gz",),
        "zip": (tmp_path / "ann.zip",),
        "damaged": (tmp_path / "damaged.nii.gz",),
        **{name: tuple(sorted((tmp_path / name).iterdir())) for name in ("tilted", "upright")},
    }
    found = own_volumes.sheared(OwnVolume(name, name, files) for name, files in given.items())
    assert found == pytest.approx(dict.fromkeys(("nifti", "zip", "tilted"), SHEAR))


def test_a_reason_that_weighs_more_is_kept():
    row = {"hd95_mm": 1.0, "surface_dice": 1.0, "volume_ml": 2.0, "note": volumes.UNKNOWN_SPACING}
    found = volumes.without_distances(row)
    assert found["note"] == volumes.UNKNOWN_SPACING
    assert np.isnan([found["hd95_mm"], found["surface_dice"]]).all()
    assert found["volume_ml"] == 2
