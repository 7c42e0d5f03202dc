"""A trained network scored on tiny phantoms: by both protocols, and again from what was saved."""

import contextlib
import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from cosup_jax import cli, evaluation, runs
from cosup_jax.data import people
from cosup_jax.data.splits import PatientOverlapError
from cosup_jax.evaluation import examples, gallery, scoring, tables, volumes
from tests.data import slice_folders
from tests.metrics.sod_cases import pysodmetrics


@pytest.fixture(scope="module")
def run(tiny_run):
    return runs.open_run(tiny_run)


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    """What the command prints, and its folder, by protocol; the maps are kept."""
    found = {}
    for protocol in evaluation.PROTOCOLS:
        out = tmp_path_factory.mktemp(protocol)
        command = ["evaluate", "--workdir", str(tiny_run), "--protocol", protocol]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert cli.main([*command, "--save_predictions", "--out", str(out)]) == 0
        found[protocol] = printed.getvalue(), out
    return found


@pytest.fixture(scope="module")
def scored(evaluated):
    """Summary and folder by protocol."""
    return {
        protocol: (json.loads((out / "summary.json").read_text()), out)
        for protocol, (_, out) in evaluated.items()
    }


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def maps(out):
    """The grey maps and truths that were kept, by name."""
    for path in sorted((out / "predictions").iterdir()):
        pair = [np.asarray(Image.open(p)) for p in (path, out / "truths" / path.name)]
        yield path.stem, pair[0], pair[1] > 0


def test_training_ends_with_the_same_scores(scored, tiny_run):
    summary, out = scored["cosup"]
    trained = json.loads((tiny_run / "evaluation" / "summary.json").read_text())
    assert trained | {"saved_predictions": True} == summary
    for name in ("per_slice", "per_case", "per_volume"):
        mine, trained = (folder / f"{name}.csv" for folder in (out, tiny_run / "evaluation"))
        assert mine.read_text() == trained.read_text()


@pytest.mark.parametrize(("protocol", "size"), [("cosup", (32, 32)), ("semiseg", (64, 64))])
def test_maps_are_scored_at_the_size_of_the_protocol(scored, protocol, size):
    summary, out = scored[protocol]
    shapes = {grey.shape for _, grey, _ in maps(out)}
    assert shapes == {size}
    assert summary["dice"]["n"] == len(list(maps(out))) == 8


def test_the_summary_is_what_pysodmetrics_makes_of_the_maps(scored):
    summary, out = scored["semiseg"]
    wanted = [pysodmetrics(grey, truth) for _, grey, truth in maps(out)]
    for name, key in (("s_alpha", "s"), ("mae", "mae")):
        mean = np.mean([row[key] for row in wanted])
        assert summary[name]["mean"] == pytest.approx(mean, abs=1e-6)
    curve = np.mean([row["e"] for row in wanted], axis=0)
    np.testing.assert_allclose(summary["e_phi_curve"], curve, atol=2e-6)
    assert summary["e_phi_mean"]["mean"] == pytest.approx(curve.mean(), abs=1e-6)


@pytest.mark.parametrize("protocol", ["cosup", "semiseg"])
def test_saved_maps_give_the_same_scores_again(scored, protocol, tmp_path, capsys):
    summary, out = scored[protocol]
    command = ["evaluate", "--predictions", str(out / "predictions")]
    command += ["--truth", str(out / "truths"), "--protocol", protocol, "--out", str(tmp_path)]
    assert cli.main(command) == 0
    again = json.loads((tmp_path / "summary.json").read_text())
    assert f"protocol {protocol}" in capsys.readouterr().out
    # Only the error of the probabilities themselves feels the rounding to grey levels.
    rounding = 1 / 510 if protocol == "cosup" else 1e-9
    for name in summary["per_case"]:
        within = rounding if name == "mae" else 1e-9
        for mine, theirs in ((again, summary), (again["per_case"], summary["per_case"])):
            assert mine[name]["mean"] == pytest.approx(theirs[name]["mean"], abs=within), name
    assert again["pooled_dice"] == pytest.approx(summary["pooled_dice"])
    assert again.get("ece") == pytest.approx(summary.get("ece"))
    assert [r["dice"] for r in rows(tmp_path / "per_slice.csv")] == [
        r["dice"] for r in rows(out / "per_slice.csv")
    ]


def test_volumes_are_those_of_the_scan_whatever_the_protocol(scored, run):
    builder = scoring.open_dataset(run)
    truth = {}
    for example in builder.as_data_source(split="test"):
        case = example["case_id"].decode()
        voxel = np.prod(example["spacing"].astype(float)) / 1000
        truth[case] = truth.get(case, 0) + voxel * (example["mask"] > 0).sum()
    for protocol in scored:
        found = rows(scored[protocol][1] / "per_volume.csv")
        assert {row["case_id"]: float(row["true_volume_ml"]) for row in found} == pytest.approx(
            truth
        )
    assert scored["cosup"][0]["per_volume"] == scored["semiseg"][0]["per_volume"]


def test_flips_change_the_scores_and_are_said(run, scored):
    summary = evaluation.evaluate_run(run, protocol="cosup", tta=True)
    assert summary["tta"] is True
    assert summary["mae"]["mean"] != scored["cosup"][0]["mae"]["mean"]


def test_a_threshold_is_chosen_on_other_slices(run, scored, monkeypatch):
    opened = []
    original = scoring.open_split
    monkeypatch.setattr(
        scoring,
        "open_split",
        lambda b, split, *rest: opened.append(split) or original(b, split, *rest),
    )
    summary = evaluation.evaluate_run(run, tune_threshold=True)
    assert opened == ["test", "validation"]
    tuned = summary.pop("tuned_threshold")
    assert tuned["chosen_on"] == "validation of lung_phantom/tiny/1.0.0"
    assert tuned["dice"]["n"] == summary["dice"]["n"]
    assert summary | {"saved_predictions": True} == scored["cosup"][0]
    with pytest.raises(ValueError, match="validation is the split a threshold is chosen on"):
        evaluation.evaluate_run(run, split="validation", tune_threshold=True)
    with pytest.raises(ValueError, match="semiseg has no single threshold"):
        evaluation.evaluate_run(run, protocol="semiseg", tune_threshold=True)


def noted(run, split, asked=True):
    return scoring.notes(run, scoring.open_dataset(run), split, asked=asked)


def test_what_a_reader_must_know_of_a_split_is_noted(run):
    assert noted(run, "test", asked=False) == []
    assert noted(run, "train[:3]") == [people.TRAINED_ON]
    assert noted(run, "test+validation[:1]") == [scoring.USED_FOR_SELECTION]
    assert noted(run, "validation") == [scoring.USED_FOR_SELECTION]
    assert noted(run, "validation", asked=False)[-1] == scoring.NO_TEST_SPLIT


def test_patients_of_the_training_data_are_never_scored(run, tmp_path):
    trained_on = {"dataset": "other/1", "patients": ["phantom_0006"], "collection": ""}
    (tmp_path / "data.json").write_text(json.dumps({"trained_on": trained_on}))
    moved = dataclasses.replace(run, workdir=tmp_path)
    with pytest.raises(PatientOverlapError, match="phantom_0006"):
        evaluation.evaluate_run(moved)
    (tmp_path / "data.json").write_text("{}")
    assert "names no patients" in noted(moved, "test")[0]


def test_a_run_is_scored_on_another_dataset_by_its_own_preprocessing(run, tmp_path):
    for seed, size in enumerate([(40, 36), (31, 50)]):
        truth = np.zeros(size, np.uint8)
        truth[5:20, 6:15] = 255
        rng = np.random.default_rng(seed)
        for split in ("train", "val"):
            image = rng.integers(0, 255, size, np.uint8)
            for kind, values in (("image", image), ("mask", truth)):
                slice_folders.save(tmp_path / split / kind / f"{split}{seed}_1.png", values)
    changes = [f"--config.data.source={tmp_path}", f"--config.data.data_dir={tmp_path / 'built'}"]
    changes += ["--config.data.name=slice_folder", "--config.data.config="]
    out = tmp_path / "out"
    summary = evaluation.evaluate_run(
        runs.open_run(run.workdir, changes), protocol="semiseg", out=out, save_predictions=True
    )
    assert summary["dataset"].startswith("slice_folder/")
    assert summary["split"] == "validation"
    assert summary["note"] == f"{scoring.NO_TEST_SPLIT}; {tables.NO_EMPTY_TRUTH}"
    assert {grey.shape for _, grey, _ in maps(out)} == {(40, 36), (31, 50)}
    assert summary["per_volume"]["notes"] == [volumes.UNKNOWN_SPACING]
    assert summary["per_volume"]["hd95_mm"]["n"] == 0
    assert volumes.UNKNOWN_SPACING in evaluation.table(summary)


@pytest.mark.usefixtures("drawn")
def test_figures_of_a_run_are_drawn_as_png_and_pdf(run, tmp_path, capsys):
    command = ["figures", "--workdir", str(run.workdir), "--slices", "1", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    names = ["figure6", f"figure7_{run.workdir.name}", f"figure8_{run.workdir.name}"]
    names += ["learning_curves", "dice_by_size", "calibration"]
    assert capsys.readouterr().out.splitlines()[:-1] == names
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {f"{name}{suffix}" for name in names for suffix in (".png", ".pdf")}


def test_figures_show_the_same_slices_of_all_runs(run):
    other = runs.open_run(run.workdir, ["--config.data.size=(48, 48)"])
    with pytest.raises(
        ValueError, match=r"a and b differ in data\.size: \(32, 32\) and \(48, 48\)"
    ):
        gallery.draw({"a": run, "b": other}, "nowhere")


def test_slices_shown_are_spread_from_the_worst_to_the_best(run):
    dataset = examples.open_split(scoring.open_dataset(run), "test", run.preprocessing)
    rules = evaluation.PROTOCOLS["cosup"]
    truth = {i: dataset[i]["mask"][..., 0] > 0 for i in range(len(dataset))}
    share = {i: i / 10 for i in truth}  # of the lesion that is found

    def predict(index):
        rows = np.cumsum(truth[index].ravel()).reshape(truth[index].shape)
        return truth[index] & (rows <= share[index] * truth[index].sum())

    found = tables.Scores(rules)
    for i in truth:
        found.add(dataset[i], rules.score(predict(i) * 1.0, truth[i]))
    shown = gallery.spread_out({"run": found}, 3)
    dice = [found.slices[i]["dice"] for i in shown]
    positive = [i for i in truth if truth[i].any()]
    assert (shown[0], shown[-1]) == (min(positive), max(positive))
    assert dice == sorted(dice)
    assert len(gallery.spread_out({"run": found}, 99)) == len(positive)


def test_scores_of_other_splits_and_data_do_not_overwrite_each_other(
    run, scored, monkeypatch, tmp_path
):
    written = []
    monkeypatch.setattr(
        evaluation,
        "evaluate_run",
        lambda run, **options: written.append(options["out"]) or scored["cosup"][0],
    )
    other = ["--config.data.name=slice_folder", f"--config.data.data_dir={tmp_path}/tfds"]
    # Two folders of one name that differ in a mask.
    for i in range(2):
        slice_folders.draw(tmp_path / str(i) / "scans")
        value = slice_folders.square() if i else slice_folders.square() * 0
        slice_folders.save(tmp_path / str(i) / "scans/val/mask/c_003.png", value)
    command = ["evaluate", "--workdir", str(run.workdir)]
    for more in (
        [],
        ["--split", "validation[:2]", "--protocol", "semiseg"],
        ["--split", "validation[2:]", "--protocol", "semiseg"],
        ["--tta", "flip"],
        [*other, f"--config.data.source={tmp_path}/0/scans"],
        [*other, f"--config.data.source={tmp_path}/1/scans"],
        ["--config.data.test=validation[:2]"],
        ["--config.data.size=(64, 64)"],
        ["--config.data.size=(16, 16)"],
    ):
        assert cli.main([*command, *more]) == 0
    names = [path.relative_to(run.workdir / "evaluations").as_posix() for path in written]
    assert len(set(names)) == 9
    assert [re.sub("[0-9a-f]{6,8}(-|$)", r"#\1", name) for name in names] == [
        "lung_phantom-tiny-test-cosup",
        "lung_phantom-tiny-validation_2_#-semiseg",
        "lung_phantom-tiny-validation_2_#-semiseg",
        "lung_phantom-tiny-test-cosup-flip",
        "slice_folder-scans-#-validation-cosup",
        "slice_folder-scans-#-validation-cosup",
        "lung_phantom-tiny-validation_2_#-cosup",
        "lung_phantom-tiny-test-cosup-#",
        "lung_phantom-tiny-test-cosup-#",
    ]


def test_the_command_prints_and_writes(evaluated):
    tables_and_folders = {"per_case.csv", "per_slice.csv", "per_volume.csv", "summary.json"}
    tables_and_folders |= {"predictions", "truths"}
    for protocol, (printed, out) in evaluated.items():
        pictures = {"fusion.png", "overlays.png"}
        if protocol == "cosup":
            pictures.add("calibration.png")
        assert {path.name for path in out.iterdir()} == tables_and_folders | pictures
        assert printed.startswith("lung_phantom/tiny/1.0.0, test split\nprotocol " + protocol)
        assert printed.endswith(f"written to {out}\n")


def test_without_pictures_the_tables_are_the_same(run, evaluated, tmp_path, capsys):
    command = ["evaluate", "--workdir", str(run.workdir), "--no-pictures", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    assert not [*tmp_path.rglob("*.png")]
    name = "per_slice.csv"
    assert (tmp_path / name).read_text() == (evaluated["cosup"][1] / name).read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictions", "a"], "needs --truth"),
        (["--predictions", "a", "--truth", "b", "--tta", "flip"], "tta needs --workdir"),
        (["--predictions", "a", "--truth", "b", "--config.seed=1"], "overrides needs --workdir"),
        (["--predictions", "a", "--truth", "b", "--no-pictures"], "no-pictures needs --workdir"),
        (["--workdir", "a", "--truth", "b"], "--truth is for --predictions"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments, message, capsys):
    assert cli.main(["evaluate", *arguments]) == 1
    assert message in capsys.readouterr().err
