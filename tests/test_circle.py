"""Predict, correct, train again, compare: docs/correct.md in its tiny form, on phantoms."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cosup_jax import cli, models, phantom, runs, weights
from cosup_jax.data import datasets
from cosup_jax.experiments.trials import train_and_evaluate
from cosup_jax.training import loop
from tests.phantoms import tiny_config
from tests.training import tiny

CORRECTED = ("p1", "p3")


def save(path: Path, axial, spacing):
    path.parent.mkdir(parents=True, exist_ok=True)
    z, y, x = spacing
    nib.save(nib.Nifti1Image(axial.transpose(2, 1, 0), np.diag([-x, -y, z, 1.0])), path)


@pytest.fixture
def scans(tmp_path):
    """Four scans to predict and two that are held out, and the true masks of all."""
    for seed in range(6):
        drawn = phantom.draw_volume(seed + 300, size=64, slices=5, infected=True)
        folder = tmp_path / ("cohort" if seed < 4 else "held_out")
        save(folder / f"p{seed}.nii.gz", drawn.image, drawn.spacing)
        mask = (drawn.mask > 0).astype(np.uint8)
        save(tmp_path / f"{folder.name}_truth" / f"p{seed}.nii.gz", mask, drawn.spacing)
    return tmp_path


@pytest.fixture
def first(tmp_path, monkeypatch):
    """The file of a trained network, the smallest there is."""
    monkeypatch.setitem(models._NETWORKS, "tiny", tiny.TinyNet)
    config = tiny_config(tmp_path / "tfds", epochs=1)
    config.model = tiny.TINY
    loop.train_seeds(config, [config.seed], [tmp_path / "first"])
    path = tmp_path / "tiny.safetensors"
    weights.save(path, runs.open_run(tmp_path / "first"), {"licence": "none; phantoms"})
    return path


def run(*command):
    assert cli.main([str(part) for part in command]) == 0


def test_once_around(scans, first, capsys):
    results = scans / "results"
    given = f"--weights={first}"
    run("predict", scans / "cohort", f"--out={results}", given, "--uncertain=2")
    assert "worth correcting first:" in capsys.readouterr().out
    assert len((results / "uncertain.csv").read_text().splitlines()) == 5

    for case in CORRECTED:  # as somebody's drawing program saves it
        truth = nib.load(scans / "cohort_truth" / f"{case}.nii.gz")
        nib.save(truth, results / case / "mask.nii.gz")
    kept = {case: (results / case / "mask.nii.gz").read_bytes() for case in CORRECTED}
    run("predict", scans / "cohort", f"--out={results}", given)
    for case, mask in kept.items():
        assert (results / case / "mask.nii.gz").read_bytes() == mask

    config = tiny_config(
        scans / "tfds",
        data__name="volume_folder",
        data__source=str(results),
        data__config="masks=corrected,test=no",
        init=str(first),
        epochs=1,
    )
    config.model = tiny.TINY
    train_and_evaluate(config, scans / "run")
    about = datasets.open_dataset(config.data).info.metadata
    assert sorted(about["cases"]["train"] + about["cases"]["validation"]) == list(CORRECTED)
    assert about["provenance"]["p1"]["mask"] == "corrected"
    assert about["provenance"]["p1"]["predicted_with"].startswith("tiny ")
    trained = json.loads((scans / "run/data.json").read_text())
    assert trained["dataset"].startswith("volume_folder/")

    for name, of in (("before", first), ("after", scans / "run")):
        out = scans / f"predicted_{name}"
        run("predict", scans / "held_out", f"--out={out}", f"--weights={of}")
        truth = scans / "held_out_truth"
        run("evaluate", f"--predictions={out}", f"--truth={truth}", f"--out={scans / name}")
    capsys.readouterr()
    run("compare", scans / "before", scans / "after", f"--out={scans / 'comparison'}")
    said = capsys.readouterr().out
    assert "| before |" in said
    assert "| after |" in said
    assert "2 pairs by patient" in said
