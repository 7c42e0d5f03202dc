"""A folder holds one evaluation; what a user has put there stays."""

import json

import numpy as np
import pytest
from PIL import Image

from cosup_jax import evaluation, runs
from cosup_jax.evaluation import evaluate_saved, saved, tables
from tests.evaluation.test_comparison import write as write_tables

OWN = ("notes.txt", "predictions/mine.png", "comparison.csv")


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def put(folder, *files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


@pytest.fixture
def run(tiny_run):
    return runs.open_run(tiny_run)


def test_maps_and_pictures_of_another_evaluation_do_not_stay_beside_its_tables(run, tmp_path):
    evaluation.evaluate_run(run, split="validation", out=tmp_path, save_predictions=True)
    assert {"overlays.png", "fusion.png", "calibration.png"} < names(tmp_path)
    before = {name for name in names(tmp_path) if name.startswith(("predictions/", "truths/"))}
    assert len(before) == 16
    put(tmp_path, *OWN)
    evaluation.evaluate_run(
        run, split="validation[:2]", out=tmp_path, save_predictions=True, protocol="semiseg"
    )
    after = {n for n in names(tmp_path) if n.startswith(("predictions/", "truths/"))} - {*OWN}
    assert after < before
    assert len(after) == 4
    assert names(tmp_path) - after == {*tables.FILES, "overlays.png", "fusion.png", *OWN}
    evaluation.evaluate_run(run, split="validation", out=tmp_path, draw=False)
    assert names(tmp_path) == {*tables.FILES, *OWN}
    assert not (tmp_path / "truths").exists()


def test_tables_of_volumes_do_not_stay_beside_those_of_pictures(pair, tmp_path):
    out = tmp_path / "out"
    evaluate_saved(*pair, protocol="cosup", out=out)
    assert names(out) == {*tables.FILES, "bland_altman.png"}
    for name in ("maps", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / name / "a_1.png")
    evaluate_saved(tmp_path / "maps", tmp_path / "masks", protocol="cosup", out=out)
    assert names(out) == {*tables.FILES} - {"per_volume.csv"}


def test_maps_stay_where_they_are_scored(run, tmp_path):
    evaluation.evaluate_run(run, out=tmp_path, draw=False, save_predictions=True)
    places = tmp_path / saved.PREDICTIONS, tmp_path / saved.TRUTHS
    kept = [names(place) for place in places]
    for _ in range(2):
        evaluate_saved(*places, protocol="cosup", out=tmp_path)
        assert [names(place) for place in places] == kept
    assert not (tmp_path / "per_volume.csv").exists()


def test_maps_that_no_evaluation_has_saved_stay(run, tmp_path):
    write_tables(tmp_path)
    mine = ["predictions/scan0_0.png", "truths/scan0_0.png"]
    put(tmp_path, *mine)
    evaluation.evaluate_run(run, out=tmp_path, draw=False)
    assert names(tmp_path) == {*tables.FILES, *mine}


@pytest.mark.parametrize("summary", [None, "{}", "no JSON", "[]"])
def test_files_of_such_names_stay_where_no_evaluation_lies(run, tmp_path, summary):
    mine = ["overlays.png", "bland_altman.png"]
    put(tmp_path, *mine)
    if summary is not None:
        (tmp_path / "summary.json").write_text(summary)
    evaluation.evaluate_run(run, out=tmp_path, draw=False)
    assert names(tmp_path) == {*tables.FILES, *mine}


@pytest.mark.parametrize(
    ("column", "value"),
    [("case_id", "../../mine"), ("case_id", "/mine"), ("slice_index", "/../../../mine_0")],
)
def test_a_table_cannot_lead_out_of_the_folder(tmp_path, column, value):
    out = write_tables(tmp_path / "a" / "out", saved_predictions=True)
    head, first, *rest = (out / "per_slice.csv").read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index(column)] = value
    (out / "per_slice.csv").write_text("\n".join([head, ",".join(cells), *rest]))
    put(tmp_path, "mine_0.png", "a/mine_0.png")
    put(out, "predictions/scan1_0.png", "predictions/scan0_/x")
    maps = tmp_path / "maps"
    maps.mkdir()
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(maps / "a_1.png")
    evaluate_saved(maps, maps, protocol="cosup", out=out)
    assert names(tmp_path) >= {"mine_0.png", "a/mine_0.png"}
    assert not (out / "predictions" / "scan1_0.png").exists()
    assert "saved_predictions" not in json.loads((out / "summary.json").read_text())
