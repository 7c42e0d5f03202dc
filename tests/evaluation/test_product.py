"""A run scored by what `predict` would write is scored as that is, which is made to compare."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from cosup_jax import cli, evaluation, runs, weights
from cosup_jax.data import datasets, schema
from cosup_jax.evaluation import product, whole_volumes
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.evaluation.whole_volumes import Pair
from cosup_jax.metrics.lesions import SMALLEST_ML
from cosup_jax.prediction import cohort
from cosup_jax.prediction.settings import Settings
from cosup_jax.scans import find


def rows_of(folder):
    with (folder / "per_volume.csv").open(newline="") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def write_scans(run, folder):
    """Writes the test split of a run's dataset as NIfTI, images and masks."""
    builder = datasets.open_dataset(run.config.data)
    cases = {}
    for example in builder.as_data_source("test"):
        cases.setdefault(example["case_id"].decode(), []).append(example)
    for case, examples in cases.items():
        examples.sort(key=lambda example: example["slice_index"])
        z, y, x = (float(side) for side in examples[0]["spacing"])
        stacks = {
            "images": [schema.true_values(e)[..., 0].astype(np.int16) for e in examples],
            "masks": [(e["mask"][..., 0] > 0).astype(np.uint8) for e in examples],
        }
        for name, slices in stacks.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            stored = np.stack(slices).transpose(2, 1, 0)
            image = nib.Nifti1Image(stored, np.diag([-x, -y, z, 1.0]))
            nib.save(image, folder / name / f"{case}.nii.gz")


def test_it_is_what_predict_writes_scored_as_any_masks(tiny_run, tmp_path, capsys):
    run = runs.open_run(tiny_run)
    write_scans(run, tmp_path)
    network = weights.load_pretrained(tiny_run)
    sources, _ = find.find_scans([tmp_path / "images"], tmp_path / "out")
    cohort.process(sources, tmp_path / "out", network, Settings(threshold=network.threshold))
    wanted = evaluation.evaluate_saved(
        tmp_path / "out", tmp_path / "masks", protocol="cosup", out=tmp_path / "saved"
    )
    command = ["evaluate", f"--workdir={tiny_run}", "--as_predict", f"--out={tmp_path / 'mine'}"]
    assert cli.main(command) == 0
    assert "lesions of 0.05 mL or more, touched" in capsys.readouterr().out
    found = json.loads((tmp_path / "mine/summary.json").read_text())
    assert "masks as predict writes them, at the threshold 0.5" in found["note"]
    for name in ("dice", "pooled_dice", "per_case", "lesions", "truths"):
        assert found[name] == json.loads(json.dumps(wanted[name])), name
    mine, saved = rows_of(tmp_path / "mine"), rows_of(tmp_path / "saved")
    assert mine.keys() == saved.keys()
    for case, row in mine.items():
        for name in ("dice", "volume_ml", "true_volume_ml", "hd95_mm", "surface_dice"):
            assert float(row[name]) == pytest.approx(float(saved[case][name]), rel=1e-5), name
        assert int(row["lesions"]) == int(saved[case]["lesions"])
    assert (tmp_path / "mine/bland_altman.png").exists()


class Steps:
    """Stands for a `results.Maker` that does something to the whole scan."""

    def make(self, scan, folder, name, content):
        stacked = np.stack([scan.values(i) for i in range(len(scan.slices))])
        scan.save(folder, "mask", [stacked.max(0) > level for level in (0, 50, 1e9)])
        scan.save(folder, "probability", [])
        return {"notes": f"{name}: {scan.intensity}, {scan.spacing}"}


def test_whatever_predict_does_to_a_scan_is_in_it():
    images = [np.full((2, 2), value, np.int16) for value in (10, 40, 20)]
    examples = [
        schema.make_example(
            pixels,
            intensity="grey8",
            case_id="a",
            patient_id="p",
            slice_index=i,
            slope=2.0,
            intercept=-20.0,
        )
        for i, pixels in enumerate(images)
    ]
    for example in examples:
        example["case_id"] = b"a"
        example["intensity"] = schema.INTENSITIES.index("grey8")
    masks, notes = product.predicted(examples, Steps())
    assert [bool(mask.all()) for mask in masks] == [True, True, False]
    assert notes == ["a: grey8, None"]


def pair(case, spacing, places=(0, 1, 2), shape=(3, 6, 6)):
    truth = np.zeros(shape, bool)
    truth[:, 1:4, 1:4] = True
    return Pair(case, case, list(np.roll(truth, 1, axis=2)), list(truth), spacing, places)


def test_volumes_of_unknown_size_or_with_gaps_have_no_lesions_but_a_reason(tmp_path):
    known, unknown = (5.0, 2.0, 2.0), (np.nan,) * 3
    pairs = [pair("a", known), pair("b", unknown), pair("c", known, (0, 1, 5))]
    about = {"split": "test", "dataset": "d", "note": ""}
    summary = whole_volumes.score(pairs, protocol_named("cosup"), about, tmp_path)
    rows = rows_of(tmp_path)
    assert [rows[case]["lesions"] for case in "abc"] == ["1", "", ""]
    assert "spacing unknown" in rows["b"]["note"]
    assert "slices missing" in rows["c"]["note"]
    assert summary["lesions"]["scans"] == 1
    assert summary["lesions"]["smallest_ml"] == SMALLEST_ML
    assert summary["volume_agreement"]["n"] == 2
    only = whole_volumes.score([pair("b", unknown)], protocol_named("cosup"), about, None)
    assert "lesions" not in only


@pytest.mark.parametrize("option", ["--save_predictions", "--tune_threshold", "--by_class"])
def test_options_that_do_not_go_with_it(tiny_run, capsys, option):
    assert cli.main(["evaluate", f"--workdir={tiny_run}", "--as_predict", option]) == 1
    assert "does not go with" in capsys.readouterr().err
