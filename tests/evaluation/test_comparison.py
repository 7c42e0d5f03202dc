"""Runs side by side: pairs by patient, intervals that cover, what cannot be paired."""

import json

import numpy as np
import pytest
from scipy import stats

from cosup_jax import cli
from cosup_jax.commands import compare
from cosup_jax.evaluation import comparison, side_by_side, tables
from cosup_jax.evaluation.protocols import PROTOCOLS

PATIENTS = ("ann", "bob", "eve", "kim", "leo", "mia")


def write(folder, gain=0.0, patients=PATIENTS, protocol="cosup", masks="", size=8, **about):
    """An evaluation: two slices a patient, the Dice of the second 0.1 higher.

    Those of the first patient are of `size` times 8 pixels, the others of 8 times 8. `masks` are
    `mine`, the same `resized`, or `others`; empty leaves no digest, as versions before.
    """
    scores = tables.Scores(PROTOCOLS[protocol])
    rng = np.random.default_rng(5)
    for k, patient in enumerate(patients):
        for i in range(2):
            truth = rng.random((size if k == 0 else 8, 8)) < 0.4
            scored = scores.protocol.score(truth * 0.9, truth)
            place = {"case_id": f"scan{k}", "patient_id": patient, "slice_index": i}
            scores.add(place, scored)
            if masks:
                stored = truth ^ (masks == "others")
                scores.truths.add(place, stored, truth[:4] ^ (masks != "mine"))
            scores.slices[-1]["dice"] = 0.5 + 0.01 * k + 0.1 * i + gain * (k + 1)
    about = {"dataset": "d/1", "split": "test", "note": ""} | about
    summary = scores.summary(about)
    if not masks:
        del summary["truths"]
    tables.write(scores, (), summary, folder)
    return folder


def test_a_run_less_the_first_by_patient(tmp_path):
    methods = {n: [comparison.read(write(tmp_path / n, g))] for n, g in (("a", 0), ("b", 0.01))}
    first, other = comparison.compare(methods, "dice")
    assert first["n"] is None
    assert (other["unit"], other["n"]) == ("patient", 6)
    assert first["score"] == pytest.approx(0.5 + 0.025 + 0.05)
    assert other["mean"] == pytest.approx(0.01 * 3.5)
    assert 0.01 < other["low"] < 0.035 < other["high"] < 0.06
    assert other["p"] == pytest.approx(2 / 2**6)  # all six signs alike


def test_a_slice_with_two_rows_is_refused(tmp_path):
    path = write(tmp_path / "a") / "per_slice.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[2] + "\n")
    with pytest.raises(comparison.ComparisonError, match="slice 1 of 'scan0' has several rows"):
        comparison.read(tmp_path / "a")


def test_seeds_of_a_method_are_averaged_for_each_patient(tmp_path):
    gains = {"a": (0.0,), "b": (0.01, 0.03)}
    methods = {
        name: [comparison.read(write(tmp_path / f"{name}{g}", g)) for g in of_name]
        for name, of_name in gains.items()
    }
    _, other = comparison.compare(methods, "dice")
    assert (other["seeds"], other["n"]) == (2, 6)
    assert other["mean"] == pytest.approx(0.02 * 3.5)
    assert "b, mean ± std over 2 runs | 0.6450 ± 0.0495 |" in side_by_side.scores_table(methods)
    assert "| scan0 | 2 | 0.5500 | 0.5700 ± 0.0141 |" in side_by_side.cases_table(methods, "dice")


def test_unknown_patients_leave_the_slices_and_the_table_says_so(tmp_path):
    patients = ("", *PATIENTS[1:])
    methods = {str(g): [comparison.read(write(tmp_path / str(g), g, patients))] for g in (0, 0.02)}
    rows = comparison.compare(methods, "dice")
    assert (rows[1]["unit"], rows[1]["n"]) == ("slice", 12)
    printed = side_by_side.differences_table(rows)
    assert "12 pairs by slice" in printed
    assert "not corrected" in printed


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(60):
        gains = {str(i): float(g) for i, g in enumerate(rng.normal(0.1, 0.2, 30))}
        found = comparison.difference(dict.fromkeys(gains, 0.0), gains, seed=trial)
        inside += found.low <= 0.1 <= found.high
    assert stats.binom(60, 0.93).cdf(inside) > 1e-3


def test_what_cannot_be_estimated_is_not():
    one = comparison.difference({"a": 0.5}, {"a": 0.7})
    assert (one.n, one.mean) == (1, pytest.approx(0.2))
    assert np.isnan([one.low, one.high, one.p]).all()
    same = comparison.difference({"a": 0.5, "b": 0.6}, {"a": 0.5, "b": 0.6})
    assert same == (2, 0, 0, 0, 1)
    tied = comparison.difference(
        dict.fromkeys("abcd", 0.0), {"a": 0, "b": 0.1, "c": 0.1, "d": -0.1}
    )
    assert 0 < tied.p <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "semiseg"}, "differ in protocol: 'cosup' and 'semiseg'"),
        ({"dataset": "other/1"}, "differ in dataset: 'd/1' and 'other/1'"),
        ({"split": "train"}, "differ in split"),
        ({"patients": ("joe", *PATIENTS[1:])}, "in whose slice 0 of 'scan0' is: 'ann' and 'joe'"),
        ({"patients": PATIENTS[:-1]}, "2 stand in one only, as slice 0 of 'scan5'"),
    ],
)
def test_runs_that_were_not_scored_alike_are_refused(tmp_path, change, message):
    runs = [write(tmp_path / "a"), write(tmp_path / "b", **change)]
    with pytest.raises(comparison.ComparisonError, match=message):
        comparison.compare({run.name: [comparison.read(run)] for run in runs}, "dice")


def test_the_masks_decide_and_not_what_the_data_is_called(tmp_path):
    elsewhere = {"dataset": "moved/1", "split": "test[:100%]"}
    first = comparison.read(write(tmp_path / "a", masks="mine"))
    for masks in ("mine", "resized"):
        comparison.check_pairs(
            [first, comparison.read(write(tmp_path / masks, masks=masks, **elsewhere))]
        )
    other = comparison.read(write(tmp_path / "b", masks="others"))
    with pytest.raises(comparison.ComparisonError, match="different masks of the same slices"):
        comparison.check_pairs([first, other])
    old = comparison.read(write(tmp_path / "c", **elsewhere))
    with pytest.raises(comparison.ComparisonError, match="differ in dataset"):
        comparison.check_pairs([first, old])


def test_what_a_reader_must_know_stands_above_the_table(tmp_path, capsys):
    for name, note in (("a", ""), ("b", "trained on"), ("c", "trained on")):
        write(tmp_path / name, note=note)
    assert cli.main(["compare", *(str(tmp_path / name) for name in "abc")]) == 0
    assert "Note on b, c: trained on; no slice is without" in capsys.readouterr().out


def test_how_each_run_was_scored_is_said_where_they_differ(tmp_path, capsys):
    ways = {"b": {"tta": True}, "c": {"protocol_description": "masks"}, "d": {"size": 9}, "e": {}}
    for name, about in {"a": {}, **ways}.items():
        write(tmp_path / name, **about)
    assert cli.main(["compare", *(str(tmp_path / name) for name in "abcde")]) == 0
    own = PROTOCOLS["cosup"].description
    flips = ", averaged over each slice and its mirror image"
    assert capsys.readouterr().out.startswith(
        "Protocol cosup; d/1, test split. The runs were not scored in one way:\n\n"
        f"a, e: {own}, 64 pixels a slice.\n\n"
        f"b: {own}{flips}, 64 pixels a slice.\n\n"
        "c: masks, 64 pixels a slice.\n\n"
        f"d: {own}, 64 to 72 pixels a slice.\n\nNote on a"
    )
    assert cli.main(["compare", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.startswith(f"Protocol cosup: {own}{flips}; d/1, test split.\n")


def test_names_that_look_like_formulas_are_defused_and_read_back(tmp_path):
    folder = write(tmp_path / "a", patients=("=cmd|' C calc'!A0", "@x", "+y", "-z", "'q", "-0.5"))
    cells = [
        c for line in (folder / "per_case.csv").read_text().splitlines() for c in line.split(",")
    ]
    assert not [c for c in cells if c.startswith(("=", "@", "+y", "-z"))]
    unit, found = comparison.by_unit(comparison.read(folder), "dice")
    assert (unit, len(found)) == ("patient", 6)
    assert "=cmd|' C calc'!A0" in found


def test_what_is_no_evaluation_is_named(tmp_path):
    with pytest.raises(comparison.ComparisonError, match=r"nothing: no evaluation"):
        comparison.read(tmp_path / "nothing")
    folder = write(tmp_path / "old")
    summary = json.loads((folder / "summary.json").read_text())
    del summary["s_alpha"]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(comparison.ComparisonError, match="no 's_alpha'; evaluate the run again"):
        comparison.read(folder)
    run = comparison.read(write(tmp_path / "new"))
    with pytest.raises(comparison.ComparisonError, match=r"no measure 'dcie'; there are dice, "):
        comparison.compare({"new": [run]}, "dcie")


@pytest.mark.usefixtures("drawn")
def test_the_command_prints_and_writes(tmp_path, capsys):
    for name, gain in (("a", 0.0), ("b", 0.02)):
        write(tmp_path / name / "evaluation", gain)
    row = {f"{p}/{m}": 0.5 for p in ("train", "validation") for m in ("loss", "dice")}
    (tmp_path / "a" / "metrics.jsonl").write_text(json.dumps({"epoch": 1, **row}) + "\n")
    out = tmp_path / "out"
    methods = [str(tmp_path / "a"), f"other={tmp_path / 'b'}"]
    assert cli.main(["compare", *methods, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Protocol cosup: σ(S_p) at 0.5" in printed
    assert "| a | 0.5750 ± 0.0171 |" in printed
    assert "| other | 0.6450 ± 0.0512 | +0.0700 |" in printed
    assert "| scan0 | 2 | 0.5500 | 0.5700 |" in printed
    assert {path.name for path in out.iterdir()} == {
        "comparison.md",
        "comparison.csv",
        "learning_curves.png",
    }
    assert (out / "comparison.md").read_text() in printed + "\n"


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["x=a", "x=b"], "two methods are called 'x'"),
        (["a", "b,a"], "a folder stands twice"),
        (["a", "a"], "a folder stands twice"),
    ],
)
def test_methods_and_runs_stand_there_once(methods, message, capsys):
    assert cli.main(["compare", *methods]) == 1
    assert message in capsys.readouterr().err


def test_of_seeds_trained_together_one_is_named(tmp_path):
    for seed in (1, 0):
        (tmp_path / f"seed{seed}/checkpoints").mkdir(parents=True)
    with pytest.raises(comparison.ComparisonError, match=r"finished run, such as .*/seed0, or"):
        comparison.read(tmp_path)


@pytest.mark.parametrize("method", ["a=", "x,", "a=x,,y", ""])
def test_a_method_without_a_run_is_refused_by_its_name(method):
    with pytest.raises(ValueError, match=f"'{method}' names no run in one place"):
        compare.named(["b=y", method])
