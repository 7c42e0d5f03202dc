"""Rows, summary and table of scored slices against hand-counted numbers."""

import csv
import json

import numpy as np
import pytest

from cosup_jax.evaluation import tables
from cosup_jax.evaluation.protocols import PROTOCOLS
from cosup_jax.evaluation.volumes import Volumes

ABOUT = {"dataset": "slices/1.0.0", "split": "test", "note": "a note"}


def strip(*pixels):
    """A slice of 1 × 16 pixels; the rest is 0."""
    return np.array([[*pixels, *[0] * (16 - len(pixels))]], float)


# case, slice, prediction, truth: Dice 6/8; empty on empty; a false alarm; all missed.
CASES = [
    ("a", 1, strip(0.9, 0.9, 0.9, 0.0, 0.9), strip(1, 1, 1, 1)),
    ("a", 0, strip(), strip()),
    ("b", 0, strip(0.9, 0.9), strip()),
    ("b", 1, strip(0.0, 0.2), strip(1, 1, 1, 1)),
]


def scored(protocol="cosup", cases=CASES):
    rules = PROTOCOLS[protocol]
    scores = tables.Scores(rules)
    for case, index, prob, truth in cases:
        place = {"case_id": case, "patient_id": "p" + case, "slice_index": index}
        scores.add(place, rules.score(prob, truth > 0))
    return scores


def test_scores_follow_the_hand_count():
    rows = scored().slices
    assert [row["dice"] for row in rows] == [0.75, 1.0, 0.0, 0.0]
    assert [row["sensitivity"] for row in rows] == [0.75, 1.0, 1.0, 0.0]
    assert [row["precision"] for row in rows] == [0.75, 1.0, 0.0, 1.0]
    assert [row["iou"] for row in rows] == [0.6, 1.0, 0.0, 0.0]
    assert rows[2]["specificity"] == 14 / 16
    assert rows[0]["mae"] == pytest.approx((3 * 0.1 + 1 + 0.9) / 16)
    assert rows[0]["mae_binary"] == 2 / 16


def test_pixels_of_a_case_are_taken_together():
    case_a, case_b = scored().cases()
    assert (case_a["case_id"], case_a["slices"], case_a["dice"]) == ("a", 2, 0.75)
    assert (case_b["dice"], case_b["patient_id"]) == (0.0, "pb")
    assert case_a["mae_binary"] == pytest.approx(1 / 16)


def test_the_mean_stands_beside_what_empty_slices_cannot_flatter():
    summary = scored().summary(ABOUT)
    assert summary["dice"] == {
        "mean": pytest.approx(1.75 / 4),
        "std": pytest.approx(np.std([0.75, 1, 0, 0])),
        "n": 4,
    }
    assert summary["dice_positive"] == {"mean": 0.375, "std": 0.375, "n": 2}
    # TP 3, FP 1 + 2, FN 1 + 4.
    assert summary["pooled_dice"] == pytest.approx(2 * 3 / (2 * 3 + 3 + 5))
    assert summary["empty_truths"] == 2
    assert summary["note"] == "a note"


def test_semiseg_counts_means_over_thresholds():
    cases = [("a", 0, strip(1.0, 0.5), strip(1, 1))]
    summary = scored("semiseg", cases).summary(ABOUT)
    # 0.5 is grey level 128: both pixels up to there, one above; all 16 at threshold 0.
    wanted = (2 * 2 / (16 + 2) + 128 * 1 + 127 * 2 / 3) / 256
    assert summary["dice"]["mean"] == pytest.approx(wanted)
    assert summary["pooled_dice"] == pytest.approx(wanted)
    assert summary["sensitivity"]["mean"] == pytest.approx((129 + 127 / 2) / 256)
    assert summary["iou"]["mean"] == pytest.approx((2 / 16 + 128 + 127 / 2) / 256)


def test_pooled_dice_of_semiseg_pools_at_each_threshold():
    cases = [("a", 0, strip(1.0), strip(1, 1)), ("b", 0, strip(1.0, 1.0), strip(1))]
    summary = scored("semiseg", cases).summary(ABOUT)
    wanted = (2 * 3 / (32 + 3) + 255 * 2 * 2 / (3 + 3)) / 256
    assert summary["pooled_dice"] == pytest.approx(wanted)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_split_without_empty_truths_cannot_show_false_alarms_and_says_so(protocol):
    with_empty, without = scored(protocol), scored(protocol, CASES[::3])
    assert tables.NO_EMPTY_TRUTH not in with_empty.summary(ABOUT)["note"]
    assert without.summary(ABOUT)["note"] == f"a note; {tables.NO_EMPTY_TRUTH}"


def test_the_curve_of_e_is_the_mean_over_slices():
    summary = scored().summary(ABOUT)
    assert len(summary["e_phi_curve"]) == 256
    assert np.mean(summary["e_phi_curve"]) == pytest.approx(summary["e_phi_mean"]["mean"], abs=1e-6)
    assert max(summary["e_phi_curve"]) <= summary["e_phi_max"]["mean"]


def test_a_split_that_is_all_healthy_has_no_mean_over_lesions():
    summary = scored(cases=CASES[1:3]).summary(ABOUT)
    assert summary["dice_positive"] == {"mean": None, "std": None, "n": 0}
    assert "over the 0 slices with infection: none" in tables.table(summary)


def test_files_hold_what_the_summary_says(tmp_path):
    found, volumes = scored(), Volumes()
    for case, index, prob, truth in CASES:
        place = {"case_id": case, "patient_id": "p", "slice_index": index, "spacing": (5, 1, 1)}
        volumes.add(place, prob, truth > 0)
    rows = list(volumes.rows())
    summary = found.summary(ABOUT, rows)
    tables.write(found, rows, summary, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    read = {
        name: list(csv.DictReader((tmp_path / "out" / f"{name}.csv").read_text().splitlines()))
        for name in ("per_slice", "per_case", "per_volume")
    }
    assert [(row["case_id"], row["slice_index"]) for row in read["per_slice"]] == [
        ("a", "0"),
        ("a", "1"),
        ("b", "0"),
        ("b", "1"),
    ]
    assert [float(row["dice"]) for row in read["per_case"]] == [0.75, 0.0]
    assert [float(row["true_volume_ml"]) for row in read["per_volume"]] == [0.02, 0.02]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_table_names_data_protocol_policy_and_note(protocol):
    printed = tables.table(scored(protocol).summary(ABOUT))
    rules = PROTOCOLS[protocol]
    assert "slices/1.0.0, test split (a note)" in printed
    assert f"protocol {protocol}: {rules.description}" in printed
    assert rules.empty_masks in printed
    assert "2 slices without infection" in printed
    assert "of all pixels together" in printed
    assert all(name in printed for name in rules.measures)
