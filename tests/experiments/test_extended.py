"""Runs of a table that are asked for again with more epochs, or with fewer."""

import json

import pytest

from cosup_jax.experiments import progress, runner, trials
from cosup_jax.experiments.tables import TABLES
from tests.experiments.conftest import write_run

C2F = next(row for row in TABLES["table3"].rows if row.name == "c2f")


@pytest.fixture
def asking(make_request):
    """Makes requests for one seed of one row, of so many epochs."""

    def asking(epochs):
        return make_request(selected=("c2f",), seeds=1, overrides=(f"--config.epochs={epochs}",))

    return asking


def scored_epoch(request):
    place = runner.score_folder(request, C2F, 0) / runner.RESULT
    return json.loads(place.read_text())["epoch"]


def test_scores_are_made_anew_for_another_best_epoch(asking, invented):
    request = asking(2)
    runner.run_row(request, C2F)
    place = runner.score_folder(request, C2F, 0) / runner.RESULT
    place.write_text(place.read_text().replace('"epoch": 1', '"epoch": 7'))
    runner.run_row(request, C2F)
    assert scored_epoch(request) == 1


def test_a_run_killed_before_its_evaluation_has_not_the_scores_of_an_earlier_epoch(
    asking, invented, monkeypatch
):
    """Two epochs, then six; the process is killed as the best of the six is to be evaluated."""
    runner.run_row(asking(2), C2F)
    request = asking(6)
    folder, config = request.folder(C2F, 0), request.config(C2F)
    write_run(folder, config, epochs=6, best=5, evaluated=False)
    assert progress.progress(request, C2F, 0).words == "half done"
    (pending, *_) = (r for r in next(runner.run_rows(request)) if r.row == C2F)
    assert (pending.runs, pending.pending) == ((), runner.PENDING)

    evaluated = []

    def train_seeds(config, seeds, folders):  # nothing is left but the evaluation
        evaluated.extend(folders)
        write_run(folders[0], config, epochs=6, best=5)

    monkeypatch.setattr(trials, "train_seeds", train_seeds)
    monkeypatch.setattr(trials, "train_and_evaluate", lambda c, f: train_seeds(c, [0], [f]))
    (run,) = runner.run_row(request, C2F).runs
    assert (evaluated, run.epochs, scored_epoch(request)) == ([folder], 6, 5)
    assert progress.progress(request, C2F, 0).words == "finished"


def test_a_longer_run_does_not_pass_for_a_shorter_one(asking, invented):
    runner.run_row(asking(6), C2F)
    request = asking(4)
    told = "was trained 6 epochs, more than the 4 asked for"
    assert "seed 0: finished after 6 epochs, more than the 4 asked for" in progress.overview(
        request
    )
    assert told in runner.run_row(request, C2F).failed
    for results in runner.run_rows(request):
        (result,) = (r for r in results if r.row == C2F)
        assert result.runs == ()
        assert told in result.failed
    (run,) = runner.run_row(asking(6), C2F).runs
    assert run.epochs == 6


def without_checkpoints(folder):
    for path in sorted((folder / "checkpoints").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize(("best", "words"), [(2, "finished"), (3, "missing")])
def test_a_finished_run_keeps_its_scores_without_its_checkpoints(asking, invented, best, words):
    """The figures of its epochs tell whether it was the best that was scored."""
    request = asking(3)
    folder, config = request.folder(C2F, 0), request.config(C2F)
    write_run(folder, config, epochs=3, best=2)
    (before,) = runner.run_row(request, C2F).runs
    log = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows:
        row["validation/dice"] = 0.7 if row["epoch"] == best else 0.6
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    without_checkpoints(folder)
    assert progress.progress(request, C2F, 0).words == words
    if words == "finished":
        invented["c2f"] = AssertionError("trained again")
        assert runner.run_row(request, C2F).runs == (before,)


def test_a_run_that_is_trained_anew_is_scored_anew(asking, invented, monkeypatch):
    """Its checkpoints are removed, and the new best epoch has the number of the old one."""
    request = asking(2)
    (before,) = runner.run_row(request, C2F).runs
    folder = request.folder(C2F, 0)
    without_checkpoints(folder)
    assert progress.progress(request, C2F, 0).words == "missing"
    invented["c2f"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        runner.run_row(request, C2F)
    write_run(folder, request.config(C2F), epochs=2, evaluated=False)  # killed once more
    assert progress.progress(request, C2F, 0).words == "half done"
    result = before.folder / runner.RESULT
    assert not result.exists()
