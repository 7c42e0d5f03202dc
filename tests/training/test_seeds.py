"""Seeds trained together leave the folders that they would have left alone."""

import itertools
import json
import signal
import unittest.mock

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from cosup_jax import runs, signals
from cosup_jax.experiments import trials
from cosup_jax.runs import checkpoints, interrupted, logs, stored
from cosup_jax.training import epochs, loop
from tests.phantoms import tiny_config
from tests.training.tiny import TINY

FREE = ("seconds", "cpu_seconds", "slices_per_s")


def config(data_dir, **changes):
    made = tiny_config(data_dir, **changes)
    made.model = TINY
    return made


def figures(workdir):
    rows = logs.read_metrics(workdir)
    return [{name: value for name, value in row.items() if name not in FREE} for row in rows]


def files(workdir):
    paths = (p.relative_to(workdir) for p in workdir.rglob("*") if p.is_file())
    return {p.as_posix() for p in paths if p.parts[0] not in ("tensorboard", checkpoints.FOLDER)}


@pytest.fixture(scope="module")
def alone(data_dir, tmp_path_factory):
    """Folders of seeds 0 and 1, each trained by itself, and the summary of each."""
    folders = [tmp_path_factory.mktemp(f"alone{seed}") for seed in (0, 1)]
    found = [
        trials.train_and_evaluate(config(data_dir, seed=seed), folder)
        for seed, folder in enumerate(folders)
    ]
    return folders, found


def test_every_seed_is_the_run_alone(alone, data_dir, tmp_path):
    folders = [tmp_path / "0", tmp_path / "1"]
    assert trials.train_seeds(config(data_dir), [0, 1], folders) == alone[1]
    for folder, other in zip(folders, alone[0], strict=True):
        assert figures(folder) == figures(other)
        assert files(folder) == files(other)
        assert json.loads((folder / "config.json").read_text()) == json.loads(
            (other / "config.json").read_text()
        )
    assert figures(folders[0]) != figures(folders[1])


def test_a_seed_that_stops_is_left_as_it_is_and_the_others_go_on(data_dir, tmp_path, monkeypatch):
    original = epochs.report.score

    improving = itertools.count(0, -1)

    def made_up(setup, *args):
        loss = 1.0 if setup.config.seed == 4 else float(next(improving))
        return original(setup, *args)._replace(loss=loss)

    monkeypatch.setattr(epochs.report, "score", made_up)
    folders = [tmp_path / "3", tmp_path / "4"]
    changes = {"epochs": 4, "early_stopping__patience": 1, "plateau__patience": 1}
    loop.train_seeds(config(data_dir, **changes), [3, 4], folders)
    assert [len(figures(folder)) for folder in folders] == [4, 2]
    rates = [[row["learning_rate"] for row in figures(folder)] for folder in folders]
    assert len(set(rates[0])) == 1
    steps = []
    for folder in folders:
        with ocp.CheckpointManager((folder / checkpoints.FOLDER).resolve()) as manager:
            last = manager.latest_step()
            args = ocp.args.Composite(state=ocp.args.StandardRestore())
            steps.append((last, int(manager.restore(last, args=args).state["train"]["step"])))
    assert steps == [(4, 12), (2, 6)]


def test_a_seed_left_behind_catches_up(alone, data_dir, tmp_path):
    folders = [tmp_path / "0", tmp_path / "1"]
    trials.train_and_evaluate(config(data_dir, epochs=1), folders[0])
    assert trials.train_seeds(config(data_dir), [0, 1], folders) == alone[1]
    for folder, other in zip(folders, alone[0], strict=True):
        assert figures(folder) == figures(other)
    run, other = (runs.open_run(place) for place in (folders[1], alone[0][1]))
    jax.tree.map(np.testing.assert_array_equal, run.variables, other.variables)


@pytest.mark.parametrize("count", [2, 4])  # in the first epoch, and in the last
def test_a_stop_while_a_later_seed_is_scored_changes_nothing(
    count, alone, data_dir, tmp_path, monkeypatch
):
    original, calls = epochs.report.score, itertools.count(1)

    def stopped(*given):
        if next(calls) == count:
            raise signals.Stopped(signal.SIGTERM)
        return original(*given)

    monkeypatch.setattr(epochs.report, "score", stopped)
    folders = [tmp_path / "0", tmp_path / "1"]
    with pytest.raises(signals.Stopped):
        loop.train_seeds(config(data_dir), [0, 1], folders)
    assert [len(figures(folder)) for folder in folders] == [count // 2, count // 2 - 1]
    loop.train_seeds(config(data_dir), [0, 1], folders)
    for folder, other in zip(folders, alone[0], strict=True):
        assert figures(folder) == figures(other)
        found, expected = (
            stored.read(stored.look(place / checkpoints.FOLDER, 2)) for place in (folder, other)
        )
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def spoil(monkeypatch, *, at=0, score=0):
    """Has seed 1 lose its weights in a step, or its validation loss at the end of an epoch."""
    step, scored, calls = epochs.take_step, epochs.report.score, itertools.count(1)
    scores = itertools.count(1)

    def take_step(mapped, states, batches):
        if next(calls) == at:
            lost = states[-1].replace(params=jax.tree.map(lambda a: a * np.nan, states[-1].params))
            states = [*states[:-1], lost]
        return step(mapped, states, batches)

    def made_up(setup, *given):
        found = scored(setup, *given)
        lost = setup.config.seed == 1 and next(scores) == score
        return found._replace(loss=float("nan")) if lost else found

    monkeypatch.setattr(epochs, "take_step", take_step)
    monkeypatch.setattr(epochs.report, "score", made_up)


@pytest.mark.parametrize(
    ("spoiled", "told", "kept"),
    [
        ({"at": 5}, "the loss became nan in step 2 of epoch 2.* that of epoch 1", 1),
        ({"score": 1}, "the validation loss became nan at the end of epoch 1.*holds no", 0),
    ],
)
def test_a_seed_that_diverges_does_not_end_the_others(
    spoiled, told, kept, alone, data_dir, tmp_path, monkeypatch, capsys
):
    folders = [tmp_path / "0", tmp_path / "1"]
    with monkeypatch.context() as patch:
        spoil(patch, **spoiled)
        with pytest.raises(loop.TrainingDiverged, match=f"^seed 1: {told}"):
            trials.train_seeds(config(data_dir), [0, 1], folders)
    assert "seed 1 is given up: the" in capsys.readouterr().out
    assert figures(folders[0]) == figures(alone[0][0])
    assert files(folders[0]) == files(alone[0][0])
    assert len(figures(folders[1])) == kept
    # The same command goes on with what is left.
    assert trials.train_seeds(config(data_dir), [0, 1], folders) == alone[1]
    assert figures(folders[1]) == figures(alone[0][1])


def test_where_all_seeds_diverge_each_is_named(data_dir, tmp_path):
    folders = [tmp_path / "0", tmp_path / "1"]
    wild = config(data_dir, optimizer__name="sgd", learning_rate=1e38)
    with pytest.raises(loop.TrainingDiverged, match=r"^seed 0: the .*; seed 1: the "):
        trials.train_seeds(wild, [0, 1], folders)


def test_a_stop_keeps_what_the_seeds_have_that_did_not_diverge(
    alone, data_dir, tmp_path, monkeypatch
):
    folders = [tmp_path / "0", tmp_path / "1"]
    with monkeypatch.context() as patch:
        spoil(patch, at=2)
        stopped = signals.Stopped(signal.SIGTERM)
        patch.setattr(signals, "check", unittest.mock.Mock(side_effect=stopped))
        with pytest.raises(signals.Stopped):
            loop.train_seeds(config(data_dir), [0, 1], folders)
    assert [interrupted.exists(folder) for folder in folders] == [True, False]
    loop.train_seeds(config(data_dir), [0, 1], folders)
    for folder, other in zip(folders, alone[0], strict=True):
        assert figures(folder) == figures(other)


@pytest.mark.parametrize(
    ("seeds", "folders", "says"),
    [
        ([0, 0], ["a", "b"], r"a different seed for each seed, not \[0, 0\]"),
        ([0, 1], ["a", "a"], "a different folder for each seed"),
        ([0, 1], ["a"], "a different folder for each seed"),
        ([], [], "a different seed"),
    ],
)
def test_seeds_and_folders_must_differ(seeds, folders, says, data_dir):
    with pytest.raises(ValueError, match=says):
        loop.train_seeds(config(data_dir), seeds, folders)
