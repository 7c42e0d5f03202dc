"""Splits that cut scans: what is measured of whole ones is left out of those, with a note."""

import csv

import numpy as np
import pytest

from cosup_jax import evaluation, runs
from cosup_jax.data import datasets, records
from cosup_jax.evaluation import product
from cosup_jax.metrics import LesionScores

MEASURES = ("volume_ml", "true_volume_ml", "volume_error_ml", "hd95_mm", "surface_dice")
KEYS = {"per_volume": ("case_id",), "per_slice": ("case_id", "slice_index")}
SCORES = [evaluation.evaluate_run, product.evaluate_product]


def rows_of(path, name="per_volume"):
    with (path / f"{name}.csv").open(newline="") as file:
        return {tuple(row[n] for n in KEYS[name]): row for row in csv.DictReader(file)}


@pytest.fixture
def scored(tiny_run, tmp_path):
    """Scores a split; returns the summary, and the rows of volumes and slices."""
    run = runs.open_run(tiny_run)

    def scored(score, split):
        out = tmp_path / split
        drawing = {"draw": False} if score is evaluation.evaluate_run else {}
        summary = score(run, split=split, out=out, **drawing)
        return summary, rows_of(out), rows_of(out, "per_slice")

    return scored


@pytest.mark.parametrize("score", SCORES)
def test_a_scan_that_the_split_cuts_is_not_measured(scored, score):
    _, whole, slices = scored(score, "test")
    assert not any("in this split" in row["note"] for row in whole.values())
    summary, cut, some = scored(score, "test[:-1]")
    assert len(some) == len(slices) - 1
    (case,) = {key[:1] for key in slices.keys() - some.keys()}
    count = int(whole[case]["slices"])
    told = f"only {count - 1} of {count} slices are in this split"
    for name, row in cut.items():
        assert (told in row["note"]) == (name == case)
        for measure in MEASURES:
            if name == case:
                assert np.isnan(float(row[measure] or "nan"))
            else:
                assert row[measure] == whole[name][measure]
        if score is product.evaluate_product:
            counted = [row[field] != "" for field in LesionScores._fields]
            assert all(counted) if name != case else not any(counted)
    assert any(told in note for note in summary["per_volume"]["notes"])
    if score is evaluation.evaluate_run:
        assert all(row == slices[key] for key, row in some.items())


@pytest.mark.parametrize("score", SCORES)
def test_parts_that_make_up_the_scan_are_measured(scored, score):
    _, whole, _ = scored(score, "test")
    _, joined, _ = scored(score, "test[:1]+test[1:]")
    assert joined == whole


def test_of_what_was_built_before_slices_are_counted(tiny_run):
    builder = datasets.open_dataset(runs.open_run(tiny_run).config.data)
    kept = builder.info.metadata.pop(records.SLICES)
    assert records.slices_of_cases(builder) == kept
    assert sum(kept.values()) == sum(s.num_examples for s in builder.info.splits.values())
