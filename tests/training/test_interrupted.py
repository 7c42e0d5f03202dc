"""A run that is stopped, diverges or loses files goes on as if nothing had happened."""

import contextlib
import fcntl
import itertools
import json
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import devices, files, locks, runs, signals
from cosup_jax.runs import checkpoints, interrupted, logs, stored
from cosup_jax.training import epochs, loop, report
from cosup_jax.training.setup import RunMismatch
from tests.phantoms import tiny_config
from tests.training.tiny import TINY

FREE = ("seconds", "cpu_seconds", "slices_per_s")


def train(data_dir, folder, epochs=2, **changes):
    config = tiny_config(data_dir, epochs=epochs, augment__noise=0.05, **changes)
    config.model = TINY
    loop.train_seeds(config, [0], [folder])


def figures(folder):
    rows = logs.read_metrics(folder)
    return [{name: value for name, value in row.items() if name not in FREE} for row in rows]


def arrays(folder, epoch):
    return stored.read(stored.look(folder / checkpoints.FOLDER, epoch))


def assert_same(folder, other, epochs=2):
    assert figures(folder) == figures(other)
    found, expected = arrays(folder, epochs), arrays(other, epochs)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """A run of two epochs of three steps; only to be read."""
    folder = tmp_path_factory.mktemp("whole")
    train(data_dir, folder)
    return folder


def ask():
    """What the handler of a signal does while training notes it."""
    signals._handle(signal.SIGTERM, None)


@pytest.fixture
def asked_at(monkeypatch):
    """Has the process asked to end at the n-th call of something."""
    monkeypatch.setattr(signals, "_state", signals._State())

    def arrange(patch, owner, name, count):
        original, calls = getattr(owner, name), itertools.count(1)

        def call(*given, **named):
            if next(calls) == count:
                ask()
            return original(*given, **named)

        patch.setattr(owner, name, call)

    return arrange


@pytest.mark.parametrize(
    ("owner", "name", "count", "steps"),
    [
        (epochs, "take_step", 2, 2),  # in the second step of the first epoch
        (epochs, "take_step", 6, 3),  # in the last step of the second
        (report.pipeline, "eval_batches", 2, 3),  # while the second epoch is scored
    ],
)
def test_a_signal_ends_a_run_after_its_step_and_the_run_goes_on_inside_the_epoch(
    owner, name, count, steps, whole, data_dir, tmp_path, asked_at, capsys
):
    with pytest.MonkeyPatch.context() as patch:
        asked_at(patch, owner, name, count)
        with pytest.raises(signals.Stopped, match="SIGTERM") as stopped:
            train(data_dir, tmp_path)
    assert stopped.value.status == 143
    (number,) = stored.listed(tmp_path / interrupted.FOLDER)
    kept = stored.look(tmp_path / interrupted.FOLDER, number)
    assert len(kept.record["steps"]) == steps
    epoch = kept.record["epoch"]
    assert stored.listed(tmp_path / checkpoints.FOLDER) == list(range(1, epoch + 1))
    signals._state.number = None
    capsys.readouterr()
    train(data_dir, tmp_path)
    assert f"going on after epoch {epoch} and step {steps} of the next" in capsys.readouterr().out
    assert_same(tmp_path, whole)
    assert not interrupted.exists(tmp_path)


def test_weights_that_break_in_the_last_step_of_an_epoch_are_not_kept(
    whole, data_dir, tmp_path, monkeypatch
):
    original, calls = epochs.take_step, itertools.count(1)

    def broken(*given):
        states, metrics = original(*given)
        if next(calls) == 6:
            states = [
                s.replace(params=jax.tree.map(lambda a: a * jnp.nan, s.params)) for s in states
            ]
        return states, metrics

    monkeypatch.setattr(epochs, "take_step", broken)
    told = r"params/.* became NaN .* in the last step of epoch 2.* is that of epoch 1, from which"
    with pytest.raises(loop.TrainingDiverged, match=told):
        train(data_dir, tmp_path)
    assert stored.listed(tmp_path / checkpoints.FOLDER) == [1]
    assert [row["epoch"] for row in logs.read_metrics(tmp_path)] == [1]
    train(data_dir, tmp_path)
    assert_same(tmp_path, whole)


def scores(monkeypatch, *made_up):
    """Has the epochs scored as given."""
    given = iter(made_up)
    monkeypatch.setattr(epochs.report, "score", lambda *_: report.Validation(*next(given)))


def test_a_validation_loss_that_is_no_number_is_no_best_epoch(data_dir, tmp_path, monkeypatch):
    scores(monkeypatch, (0.5, 0.1, 3), (float("nan"), 1.0, 0))
    with pytest.raises(loop.TrainingDiverged, match="the validation loss became nan at the end of"):
        train(data_dir, tmp_path)
    assert checkpoints.read_best(tmp_path)[1] == 1


def test_where_nothing_is_infected_the_lowest_loss_is_the_best(
    data_dir, tmp_path, monkeypatch, capsys
):
    scores(monkeypatch, (0.5, 1.0, 0), (0.4, 1.0, 0))
    train(data_dir, tmp_path)
    assert checkpoints.read_best(tmp_path)[1] == 2
    said = capsys.readouterr().out
    assert "lowest validation loss 0.4000 (no validation slice is infected" in said


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\0" * 100, b'{"epoch": 1}\n\xff\xfe\n', b"[]\n", b'{"epoch": 1, "seconds": "x"}'],
)
def test_figures_that_were_lost_come_from_the_checkpoint(
    content, whole, data_dir, tmp_path, capsys
):
    last = stored.look(whole / checkpoints.FOLDER, 2).record
    path = tmp_path / logs.METRICS
    if content is not None:
        path.write_bytes(content)
    logs.history(tmp_path, 2, last["history"])
    assert figures(tmp_path) == figures(whole)
    assert ("was not as the run left it" in capsys.readouterr().err) == (content is not None)


def test_rows_that_no_checkpoint_holds_are_told_of(tmp_path, capsys):
    path = tmp_path / logs.METRICS
    path.write_text("".join(json.dumps({"epoch": i}) + "\n" for i in (1, 3, 4)))
    assert [row["epoch"] for row in logs.history(tmp_path, 3, ())] == [1, 3]
    assert "lacks rows of the 3 completed epochs" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.json", "data.json"])
def test_a_damaged_text_of_a_run_is_named(name, whole, data_dir, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(b"")
    with pytest.raises(files.FileError, match=f"{tmp_path / 'run' / name}: is empty"):
        train(data_dir, tmp_path / "run")


def test_a_second_process_in_one_folder_is_refused(data_dir, tmp_path):
    with contextlib.ExitStack() as other:
        held = other.enter_context((tmp_path / ".lock").open("a"))
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(locks.LockedError, match=f"the run in {tmp_path} is worked on by"):
            train(data_dir, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"])
def test_one_of_several_ranks_is_refused_and_a_plain_process_is_not(name, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")  # an allocation
    monkeypatch.setenv(name, "1")
    assert len(devices.choose_devices(2, 4)) == 2
    monkeypatch.setenv(name, "2")
    with pytest.raises(devices.DeviceError, match=f"{name}=2: this is one of several"):
        devices.choose_devices(2, 4)


def test_a_run_goes_on_with_fewer_and_with_more_devices(data_dir, tmp_path):
    # SGD: Adam makes a rounding error in a small gradient as large as its step.
    sgd = {"optimizer__name": "sgd", "learning_rate": 0.01}
    for epoch, count in ((1, 2), (2, 1), (3, 4)):
        train(data_dir, tmp_path / "moved", epochs=epoch, devices=count, **sgd)
    train(data_dir, tmp_path / "stayed", epochs=3, devices=4, **sgd)
    for row, expected in zip(*map(figures, (tmp_path / "moved", tmp_path / "stayed")), strict=True):
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-4), name
    assert checkpoints.read_best(tmp_path / "moved")[1] in (1, 2, 3)


def test_fewer_epochs_than_were_trained_are_refused_and_leave_the_run_as_it_is(quick_run, tmp_path):
    """The best epoch may be one of those that are not asked for any more."""
    shutil.copytree(quick_run, tmp_path / "run")
    config = runs.read_config(tmp_path / "run")
    before, config.epochs = config.epochs, 1
    said = f"epochs is 1, but .*run holds a run of {before} epochs; give --config.epochs={before}"
    with pytest.raises(RunMismatch, match=said):
        loop.train_seeds(config, [config.seed], [tmp_path / "run"])
    assert runs.read_config(tmp_path / "run").epochs == before
    config.epochs = before
    loop.train_seeds(config, [config.seed], [tmp_path / "run"])
