"""A run on corrected results of `predict` goes on, and is scored, wherever its scans lie by now."""

import json

import pytest

from cosup_jax import evaluation, runs
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.training import loop
from cosup_jax.training.setup import RunMismatch
from tests.dummy import volume_folder as dummy
from tests.phantoms import tiny_config
from tests.training.tiny import TINY

CASES = ("ann", "bob", "dan")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user is, with results of three scans that somebody has corrected."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    dummy.write_results(tmp_path / "here/results", tmp_path / "here/scans", cases=CASES)
    for case in CASES:
        dummy.correct(tmp_path / "here/results", case)
    return tmp_path


def train(folder, options, epochs=1):
    config = tiny_config(
        folder / "tfds",
        data__name="volume_folder",
        data__source="results",
        data__config=options,
        epochs=epochs,
        batch_size=2,
    )
    config.model = TINY
    loop.train_seeds(config, [config.seed], ["run"])
    return json.loads((folder / "here/run/config.json").read_text())["data"]["config"]


def test_scans_that_moved_are_named_and_the_run_goes_on(folder, capsys):
    train(folder, "masks=corrected")
    (folder / "here/scans").rename(folder / "here/moved")
    with pytest.raises(DatasetLayoutError, match="give the folder of the scans with scans=FOLDER"):
        train(folder, "masks=corrected", epochs=2)
    capsys.readouterr()
    kept = train(folder, "scans=moved, masks=corrected, fold=0", epochs=2)
    assert kept == f"scans={folder}/here/moved, masks=corrected, fold=0"
    assert "going on after epoch 1" in capsys.readouterr().out
    with pytest.raises(RunMismatch, match=r"differing in data\.config"):
        train(folder, "scans=moved,masks=corrected,fold=1", epochs=2)


def test_scans_named_from_one_folder_are_found_from_another(folder, monkeypatch):
    train(folder, "masks=corrected,scans=scans")
    (folder / "there").mkdir()
    monkeypatch.chdir(folder / "there")
    summary = evaluation.evaluate_run(runs.open_run(folder / "here/run"))
    assert summary["split"] == "test"
    assert summary["per_case"]["dice"]["n"] == 1
