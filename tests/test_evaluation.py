"""Scores of a split against hand-counted numbers, and what is written down."""

import csv
import json

import numpy as np
import pytest

from cosup_jax import evaluation


def batch(cases, padding=0):
    """A host batch and the results an evaluation step gives for it: (tp, fp, fn, tn, mae) each."""
    n = len(cases) + padding
    rows = [*cases, *[("", 9, 9, 9, 9, 9.0)] * padding]
    results = {
        name: np.array([row[i + 1] for row in rows])
        for i, name in enumerate(("tp", "fp", "fn", "tn", "mae"))
    }
    host = {
        "case_id": np.array([row[0] for row in rows]),
        "patient_id": np.array(["p" + row[0] for row in rows]),
        "slice_index": np.arange(n),
        "_mask": np.array([1.0] * len(cases) + [0.0] * padding, np.float32),
    }
    return host, results


CASES = [
    ("a", 3, 1, 1, 11, 0.2),  # Dice 6/8
    ("a", 0, 0, 0, 16, 0.0),  # empty on empty: 1
    ("b", 0, 2, 0, 14, 0.1),  # false alarm: 0
    ("b", 0, 0, 4, 12, 0.3),  # all missed: 0
]


def scored(padding=1):
    host, results = batch(CASES, padding)
    return evaluation.score_split([host], lambda _: {**results, "loss": 2.0})


def test_scores_follow_the_hand_count():
    found = scored()
    assert [row["dice"] for row in found.slices] == [0.75, 1.0, 0.0, 0.0]
    assert [row["sensitivity"] for row in found.slices] == [0.75, 1.0, 0.0, 0.0]
    assert [row["precision"] for row in found.slices] == [0.75, 1.0, 0.0, 0.0]
    assert found.slices[2]["specificity"] == 14 / 16
    assert found.mean("dice") == pytest.approx(1.75 / 4)
    case_a, case_b = found.cases
    assert (case_a["case_id"], case_a["slices"], case_a["dice"]) == ("a", 2, 0.75)
    assert (case_b["dice"], case_b["patient_id"]) == (0.0, "pb")
    assert case_a["mae"] == pytest.approx(0.1)


def test_filling_counts_for_nothing():
    assert scored(padding=3).slices == scored(padding=0).slices


def test_the_loss_is_weighted_by_slices():
    first, second = batch(CASES[:3]), batch(CASES[3:], padding=2)
    results = iter([{**first[1], "loss": 1.0}, {**second[1], "loss": 5.0}])
    found = evaluation.score_split([first[0], second[0]], lambda _: next(results))
    assert found.loss == pytest.approx((3 * 1.0 + 1 * 5.0) / 4)
    assert len(found.slices) == 4


def test_summary_and_files(tmp_path):
    found = scored()
    summary = evaluation.summarise(found, split="test", note="a note")
    for measure in ("dice", "sensitivity", "precision", "specificity", "mae"):
        assert set(summary[measure]) == {"mean", "std", "n"}
    assert summary["dice"] == {
        "mean": pytest.approx(0.4375),
        "std": pytest.approx(np.std([0.75, 1, 0, 0])),
        "n": 4,
    }
    assert summary["empty_truths"] == 2
    evaluation.write(found, summary, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    with (tmp_path / "out" / "per_case.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case_id"] for row in rows] == ["a", "b"]
    assert float(rows[0]["dice"]) == 0.75
    with (tmp_path / "out" / "per_slice.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4


def test_the_table_names_split_policy_and_note():
    printed = evaluation.table(evaluation.summarise(scored(), split="validation", note="a note"))
    assert "validation split (a note)" in printed
    assert "0.4375 ± 0.4463" in printed
    assert "2 slices without infection" in printed
    assert "0/0 counts 1 where both" in printed
