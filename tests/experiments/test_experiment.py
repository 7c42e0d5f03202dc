"""`python -m cosup_jax experiment` from end to end."""

import csv
import dataclasses
import json
import re

import pytest

from cosup_jax import cli
from cosup_jax.experiments import caption, data, progress, runner
from cosup_jax.training import loop, semi
from tests.experiments.conftest import write_run
from tests.phantoms import CONFIGS


@pytest.fixture
def experiment(tmp_path):
    """Runs the command; returns its status."""

    def run(table, *arguments):
        given = ["--data", "lung_phantom", "--configs", str(CONFIGS), "--out", str(tmp_path)]
        return cli.main(["experiment", table, *given, *arguments])

    return run


@pytest.fixture
def no_data(monkeypatch):
    """No dataset is built."""
    monkeypatch.setattr(data, "prepare", lambda request: None)


def records(path):
    with path.open(newline="") as file:
        return {(r["row"], r["measure"]): r for r in csv.DictReader(file) if r["row"]}


def test_a_table_is_trained_scored_and_written_once(
    experiment, trained, tiny_overrides, tmp_path, capsys
):
    command = ("table3", "--rows", "c2f", "--seeds", "2", *tiny_overrides)
    assert experiment(*command) == 0
    assert trained == [tmp_path / "runs" / "c2f" / "0", tmp_path / "runs" / "c2f" / "1"]
    scores = tmp_path / "runs" / "c2f" / "1" / "cosup-lung_phantom"
    summary = json.loads((scores / "summary.json").read_text())
    written = records(tmp_path / "table3.csv")
    for measure in ("dice", "s_alpha", "mae"):
        found = float(written["c2f", measure]["mean_percent"])
        assert found == pytest.approx(100 * summary[measure]["mean"], abs=1e-3)
    assert written["c2f", "dice"]["published_mean_percent"] == "89.93"
    assert written["c1f", "dice"]["note"] == runner.PENDING
    text = (tmp_path / "table3.md").read_text()
    assert "**Reduced run: 32×32, width 4, blocks (1, 1, 1, 1), 2 epochs, 2 seeds" in text
    assert "Protocol cosup" in text
    assert "model.width=4" in text
    # The two seeds are copies of one run.
    assert f"{float(written['c2f', 'dice']['mean_percent']):.2f} ± 0.00" in text
    kept = (scores / runner.RESULT).stat().st_mtime_ns
    assert experiment(*command) == 0
    assert len(trained) == 2
    assert (scores / runner.RESULT).stat().st_mtime_ns == kept
    assert (tmp_path / "table3.md").read_text() == text
    assert "nothing is left to train" in capsys.readouterr().out


def test_a_failing_row_does_not_lose_the_others(experiment, invented, no_data, tmp_path):
    invented["esm"] = RuntimeError("RESOURCE_EXHAUSTED: out of memory\nallocating")
    command = ("table4", "--rows", "baseline,esm,assm+afm", "--seeds", "3", "--config.epochs=2")
    assert experiment(*command) == 1
    text = (tmp_path / "table4.md").read_text()
    assert "failed: RESOURCE\\_EXHAUSTED: out of memory |" in text
    assert "allocating" in (tmp_path / "runs" / "esm" / runner.FAILURE).read_text()
    written = records(tmp_path / "table4.csv")
    # 0.7, 0.71, 0.72, and the baseline 0.2 less
    assert written["assm+afm", "dice"]["mean_percent"] == "71.0"
    assert written["assm+afm", "dice"]["std_percent"] == "1.0"
    assert written["esm", "dice"]["mean_percent"] == ""
    assert "| ASSM + AFM | +20.00 | +20.00 to +20.00 | 0.25 | 1.6e-05 | better |" in text
    invented.clear()
    assert experiment(*command) == 0
    assert "+10.00" in (tmp_path / "table4.md").read_text()
    assert not (tmp_path / "runs" / "esm" / runner.FAILURE).exists()


@pytest.mark.parametrize("solo", [True, False])
def test_seeds_that_diverge_are_named_and_the_others_scored(make_request, invented, solo):
    request = make_request(selected=("c2f",), seeds=3, overrides=("--config.epochs=2",), solo=solo)
    row = next(row for row in request.definition.rows if row.name == "c2f")
    invented["c2f", 1] = loop.TrainingDiverged("the loss became nan")
    result = runner.run_row(request, row)
    assert [run.seed for run in result.runs] == [0, 2]
    assert result.failed == "seed 1: the loss became nan"
    failure = request.folder(row, 0).parent / runner.FAILURE
    assert failure.read_text() == f"{result.failed}\n"
    results = [result]
    (ours, *_) = caption.lines(request, results, ["dice"])
    assert ours[2] == "61.00 ± 1.41"
    assert ours[-1].startswith("failed: seed 1: the loss became nan")
    assert caption.head(request, results).startswith("Reduced")
    invented["c2f", 1] = OSError("no space")  # which is nothing of one seed alone
    assert runner.run_row(request, row).runs == ()
    invented.clear()
    assert len(runner.run_row(request, row).runs) == 3
    assert not failure.exists()


@pytest.mark.parametrize("solo", [True, False])
def test_only_what_is_not_finished_is_trained(make_request, invented, solo):
    request = make_request(selected=("c2f",), seeds=3, overrides=("--config.epochs=2",), solo=solo)
    row = next(row for row in request.definition.rows if row.name == "c2f")
    for seed, epochs in ((0, 2), (1, 1)):
        folder, config = request.folder(row, seed), request.config(row, seed)
        write_run(folder, config, epochs=epochs, evaluated=epochs == 2)
    before = (request.folder(row, 0) / "metrics.jsonl").stat().st_mtime_ns
    assert len(runner.run_row(request, row).runs) == 3
    assert (request.folder(row, 0) / "metrics.jsonl").stat().st_mtime_ns == before
    found = [progress.progress(request, row, seed) for seed in range(3)]
    assert [(p.words, p.epochs) for p in found] == [("finished", 2)] * 3


def test_runs_are_scored_in_another_way_without_training_them_again(make_request, invented):
    names = ("c2f_augmented", "c2f_augmented+flips")
    request = make_request("semiseg", selected=names, seeds=1, overrides=("--config.epochs=2",))
    plain, flips = (row for row in request.definition.rows if row.name in names)
    assert request.folder(plain, 0) == request.folder(flips, 0)
    scores = [runner.run_row(request, row).spread("dice")[0] for row in (plain, flips)]
    assert scores == pytest.approx([60.0, 65.0])


def test_a_semi_supervised_run_is_finished_with_its_last_step(make_request, invented):
    request = make_request("infnet-table2", selected=("semi_c2f",), seeds=2)
    request = dataclasses.replace(request, overrides=("--config.epochs=2",))
    (row,) = (row for row in request.definition.rows if row.name == "semi_c2f")
    assert len(runner.run_row(request, row).runs) == 2
    assert progress.progress(request, row, 1).finished
    assert "and before them the other steps" in progress.overview(request)


def test_the_rounds_of_a_semi_supervised_run_are_told_below_the_table(make_request, invented):
    overrides = ("--config.epochs=2", "--config.semi.per_round=3")
    request = make_request(
        "infnet-table2", selected=("c2f", "semi_c2f"), seeds=1, overrides=overrides
    )
    rows = {row.name: row for row in request.definition.rows}
    folder, config = request.folder(rows["semi_c2f"], 0), request.config(rows["semi_c2f"])
    write_run(folder / semi.LABELLED, config, epochs=4)
    write_run(folder / semi.PRETRAIN, config, epochs=5)
    write_run(folder / semi.ROUNDS, config, epochs=2, steps=7)
    (folder / semi.PSEUDO).mkdir()
    (folder / semi.PSEUDO / "train_index.csv").write_text("file\n" + "a.png\n" * 6)
    *_, results = runner.run_rows(request)
    text = " ".join(caption.caption(request, results))
    assert (
        "ResUNet_C2F, semi-supervised: 4 epochs on labelled slices, then 6 pseudo labels in 2 "
        "rounds (14 steps), 5 epochs on these alone" in text
    )
    assert "semi.per_round=3 (of semi_c2f)" in text


@pytest.mark.parametrize(
    ("seeds", "overrides", "head"),
    [
        (3, (), "Full run: 256×256, width 64, 300 epochs, 3 seeds"),
        (3, ("learning_rate=1e-3", "model.dtype=bfloat16"), "Full run"),
        (3, ("data.train=train[:10%]",), "Reduced run"),
        (2, (), "Reduced run"),
        (3, ("model.width=32",), "Reduced run: 256×256, width 32, blocks"),
        (3, ("data.size=(128, 128)",), "Reduced run: 128×128"),
        (3, ("epochs=9",), "Reduced run: .*reached by 0 of 3 runs"),
    ],
)
def test_only_a_run_as_large_and_long_as_the_papers_is_called_full(
    make_request, invented, seeds, overrides, head
):
    overrides = tuple(f"--config.{o}" for o in overrides)
    request = make_request(selected=("c2f",), seeds=seeds, overrides=overrides)
    *_, results = runner.run_rows(request)
    assert re.match(head, caption.head(request, results))


def test_an_interruption_leaves_the_table_of_what_is_done(experiment, invented, no_data, tmp_path):
    invented["c1f"] = KeyboardInterrupt()
    page = tmp_path / "results.md"
    assert experiment("table3", "--seeds", "1", "--config.epochs=2", "--page", str(page)) == 130
    assert "| ResUNet (baseline) | here | 50.00 |" in page.read_text()
    written = records(tmp_path / "table3.csv")
    assert written["baseline", "dice"]["mean_percent"] == "50.0"
    assert written["c1f", "dice"]["note"] == runner.PENDING


def test_a_dry_run_trains_and_writes_nothing(experiment, trained, tmp_path, capsys):
    assert experiment("table3", "--dry_run") == 0
    assert "c5f: " in capsys.readouterr().out
    assert trained == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table3", "--seeds", "0"), "--seeds=0: expected at least 1"),
        (("table3", "--rows", "c6f"), "table3 has no row 'c6f'"),
        (("table3", "--train_on", "cosup_covid"), "--train-on is for tables 6 to 8"),
        (("table3", "--config.epoch=1"), "the nearest is --config.epochs"),
        (("table3", "--config.epochs=many"), "--config.epochs=many: expected a value like"),
        (("table3", "--config.data.config=huge"), "has no configuration 'huge'"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(
    experiment, arguments, message, tmp_path, capsys
):
    assert experiment(*arguments) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_row_without_its_configuration_is_told_in_its_place(make_request, invented, tmp_path):
    configs = tmp_path / "configs"
    configs.mkdir()
    for name in ("__init__.py", "base.py", "c1f.py"):
        (configs / name).write_text((CONFIGS / name).read_text())
    request = make_request(selected=("c1f", "c2f"), seeds=1, overrides=("--config.epochs=2",))
    request = dataclasses.replace(request, configs=configs)
    *_, results = runner.run_rows(request)
    told = {result.row.name: (bool(result.runs), result.failed) for result in results}
    assert told["c1f"] == (True, "")
    assert "no configuration file" in told["c2f"][1]
    assert "cannot be run" in progress.overview(request)
