"""What a checkpoint holds comes back on any devices, or it is called damaged."""

import dataclasses
import gc
import json
import os
import random
import shutil
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from flax.training.early_stopping import EarlyStopping

from cosup_jax import devices
from cosup_jax.runs import checkpoints, interrupted, keeper, stored
from cosup_jax.runs.state import create_state, make_optimizer
from tests.training.tiny import TinyNet

PLATEAU = optax.contrib.reduce_on_plateau(factor=0.5, patience=2)


@pytest.fixture(scope="module")
def first():
    """A state at step 0, and that of the plateau schedule."""
    made = create_state(TinyNet(), make_optimizer(0.1), size=(16, 16), seed=0)
    return made, jax.device_get(PLATEAU.init({}))


def at(state, epoch):
    """The state after some epochs, of which each adds one to every parameter."""
    moved = jax.tree.map(lambda a: np.asarray(a) + np.float32(epoch), state.params)
    return state.replace(params=moved, step=np.int32(2 * epoch))


def progress(epoch, **more):
    rows = tuple({"epoch": i, "validation/loss": 0.1 * i} for i in range(1, epoch + 1))
    values = {"iterator": {"next_index": epoch}, "stopping": EarlyStopping(patience=3)}
    return checkpoints.Progress(epoch, **values, history=rows, **more)


def write(folder, first, merits):
    """Leaves a checkpoint of each epoch, as a run does whose epochs were as good as this."""
    state, plateau = first
    with checkpoints.open_checkpoints(folder) as manager:
        for epoch, merit in enumerate(merits, 1):
            best = max(merits[:epoch])
            checkpoints.save(manager, at(state, epoch), plateau, progress(epoch, best=best), merit)


@pytest.fixture(scope="module")
def three(first, tmp_path_factory):
    """A run of five epochs, the second of which was the best; only to be copied."""
    folder = tmp_path_factory.mktemp("run")
    write(folder, first, [0.1, 0.6, 0.2, 0.3, 0.4])
    return folder


@pytest.fixture
def run(three, tmp_path):
    shutil.copytree(three, tmp_path / "run")
    return tmp_path / "run"


def restore(folder, first):
    with checkpoints.open_checkpoints(folder) as manager:
        return checkpoints.restore_last(manager, *first)


def kernel(tree):
    return float(np.ravel(tree["first"]["bias"])[0])


def test_the_last_two_and_the_best_are_kept(three):
    assert stored.listed(three / checkpoints.FOLDER) == [2, 4, 5]
    variables, epoch = checkpoints.read_best(three)
    assert (epoch, kernel(variables["params"])) == (2, 2.0)
    variables, epoch, _ = checkpoints.find_best(three, last=True)
    assert (epoch, kernel(variables["params"])) == (5, 5.0)


def test_of_equal_epochs_the_first_is_the_best(first, tmp_path):
    write(tmp_path, first, [0.5, 0.5, 0.5, 0.5])
    assert stored.listed(tmp_path / checkpoints.FOLDER) == [1, 3, 4]
    assert checkpoints.read_best(tmp_path)[1] == checkpoints.best_epoch(tmp_path) == 1


def test_everything_comes_back(run, first):
    state, plateau, found = restore(run, first)
    assert found == progress(5, best=0.6)
    expected = at(first[0], 5), first[1]
    jax.tree.map(np.testing.assert_array_equal, (state, plateau), expected)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((state, plateau)))


def damage_half(path):
    for part in (path / "state").rglob("*"):
        if part.is_file() and part.parent.name == "d":
            part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])


DAMAGES = {
    "arrays cut in half": damage_half,
    "manifest emptied": lambda p: (p / "state" / "manifest.ocdbt").write_bytes(b""),
    "manifest of other bytes": lambda p: (p / "state/manifest.ocdbt").write_bytes(b"x" * 99),
    "manifest gone": lambda p: (p / "state" / "manifest.ocdbt").unlink(),
    "list of arrays emptied": lambda p: (p / "state" / "_METADATA").write_bytes(b""),
    "progress emptied": lambda p: (p / "progress" / "metadata").write_text(""),
    "progress of zeros": lambda p: (p / "progress" / "metadata").write_bytes(b"\0" * 200),
    "progress without its seal": lambda p: edit(p, lambda f: f.pop("seal")),
    "epoch changed": lambda p: edit(p, lambda f: f.update(epoch=2)),
    "patience changed": lambda p: edit(p, lambda f: f["stopping"].update(patience=30)),
    "history changed": lambda p: edit(p, lambda f: f["history"][0].update(epoch=9)),
    "merit changed": lambda p: (p / "metrics" / "metrics").write_text('{"dice": 0.99}'),
    "merit emptied": lambda p: (p / "metrics" / "metrics").write_text(""),
    "state gone": lambda p: shutil.rmtree(p / "state"),
    "marker gone": lambda p: (p / "_CHECKPOINT_METADATA").unlink(),
    "everything emptied": lambda p: [f.write_bytes(b"") for f in p.rglob("*") if f.is_file()],
}


def edit(path, change):
    place = path / "progress" / "metadata"
    fields = json.loads(place.read_text())
    change(fields)
    place.write_text(json.dumps(fields))


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_last_checkpoint_is_named_and_the_one_before_is_taken(
    name, run, first, capsys, caplog
):
    DAMAGES[name](run / checkpoints.FOLDER / "5")
    state, _, found = restore(run, first)
    gc.collect()  # reads that failed and were asked by nobody tell so when they go
    assert [record.message for record in caplog.records if record.exc_info] == []
    assert (found.epoch, kernel(state.params), found.best) == (4, 4.0, 0.6)
    said = capsys.readouterr().err
    assert str(run / checkpoints.FOLDER / "5") in said
    assert "put aside as damaged-5, and the one before is taken" in said
    assert stored.listed(run / checkpoints.FOLDER) == [2, 4]
    # Its epoch is then written anew.
    with checkpoints.open_checkpoints(run) as manager:
        checkpoints.save(manager, at(first[0], 5), first[1], progress(5, best=0.6), 0.4)
    assert restore(run, first)[2].epoch == 5


@pytest.mark.parametrize("name", ["arrays cut in half", "merit changed", "state gone"])
def test_without_its_best_a_run_goes_on_with_the_best_that_is_left(name, run, first, capsys):
    DAMAGES[name](run / checkpoints.FOLDER / "2")
    variables, epoch, note = checkpoints.find_best(run)
    assert (epoch, kernel(variables["params"])) == (5, 5.0)
    assert str(run / checkpoints.FOLDER / "2") in note
    assert "the best of the others is taken, epoch 5" in note
    assert restore(run, first)[2].best == 0.4


@pytest.mark.parametrize("name", ["progress emptied", "arrays cut in half"])
def test_where_all_are_damaged_nothing_is_started_over(name, run, first):
    for number in (2, 4, 5):
        DAMAGES[name](run / checkpoints.FOLDER / str(number))
    told = "put the folder back from a copy, or remove it to start anew"
    with pytest.raises(checkpoints.CheckpointError, match=told):
        restore(run, first)
    with pytest.raises(checkpoints.CheckpointError, match=told):
        checkpoints.read_best(run)
    assert stored.listed(run / checkpoints.FOLDER) == [2, 4, 5]


def test_no_flipped_bit_changes_what_is_read_without_a_word(three, first, tmp_path):
    right, _ = checkpoints.read_best(three)
    source = three / checkpoints.FOLDER / "2"
    places = [p for p in sorted(source.rglob("*")) if p.is_file() and p.stat().st_size]
    draw = random.Random(0)
    for trial in range(int(os.environ.get("COSUP_TRIALS", "30"))):
        folder = tmp_path / str(trial) / checkpoints.FOLDER
        shutil.copytree(source, folder / "2")
        place = folder / "2" / draw.choice(places).relative_to(source)
        content = bytearray(place.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        place.write_bytes(content)
        found, word = read_or_word(folder.parent)
        if found is None:
            assert str(folder / "2") in word
        else:
            jax.tree.map(np.testing.assert_array_equal, found, right)


def read_or_word(folder):
    try:
        return checkpoints.read_best(folder)[0], ""
    except checkpoints.CheckpointError as error:
        return None, str(error)


def test_what_interrupted_saves_and_removals_leave_is_cleaned_up(run, first):
    folder = run / checkpoints.FOLDER
    shutil.copytree(folder / "5", folder / "6.orbax-checkpoint-tmp")
    (folder / "7").mkdir()  # nothing in it
    shutil.copytree(folder / "4", folder / "3")
    shutil.rmtree(folder / "3" / "metrics")  # half removed by an earlier version
    shutil.copytree(folder / "4", folder / keeper.REMOVED / "9")
    assert checkpoints.read_best(run)[1] == 2
    assert restore(run, first)[2].epoch == 5
    assert sorted(p.name for p in folder.iterdir()) == ["2", "4", "5"]


def test_an_unfinished_save_is_no_checkpoint(tmp_path):
    (tmp_path / checkpoints.FOLDER / "0.orbax-checkpoint-tmp").mkdir(parents=True)
    assert not checkpoints.exist(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="no complete checkpoint"):
        checkpoints.read_best(tmp_path)


def test_a_checkpoint_of_another_network_is_no_damaged_one(run):
    other = create_state(TinyNet(), make_optimizer(0.1, 0.5), size=(16, 16), seed=0)
    with pytest.raises(checkpoints.CheckpointError, match="does not fit .* is train/opt_state"):
        restore(run, (other, PLATEAU.init({})))
    assert stored.listed(run / checkpoints.FOLDER) == [2, 4, 5]


def test_nothing_that_is_no_number_is_kept(first, tmp_path):
    state, plateau = first
    wrong = at(state, 1)
    wrong = wrong.replace(batch_stats=jax.tree.map(lambda a: a * np.nan, wrong.batch_stats))
    with checkpoints.open_checkpoints(tmp_path) as manager:
        with pytest.raises(checkpoints.NotFiniteError, match="batch_stats/norm/mean"):
            checkpoints.save(manager, wrong, plateau, progress(1), 1.0)
        assert manager.latest_step() is None


# --- Checkpoints of earlier versions: written from the devices, without checksums ---


def write_earlier(folder, first, count, merits=(0.5, 0.4)):
    """Writes checkpoints as earlier versions did, of a state spread over devices."""
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(best_fn=lambda metrics: metrics["dice"])
    place = (folder / checkpoints.FOLDER).resolve()
    with ocp.CheckpointManager(place, options=options) as manager:
        for epoch, merit in enumerate(merits, 1):
            state = devices.replicate(at(first[0], epoch), jax.local_devices()[:count])
            fields = {"epoch": epoch, "iterator": None, "best_dice": max(merits[:epoch])}
            fields["stopping"] = dataclasses.asdict(EarlyStopping(patience=3))
            arguments = ocp.args.Composite(
                state=ocp.args.StandardSave({"train": state, "plateau": first[1]}),
                progress=ocp.args.JsonSave(fields),
            )
            manager.save(epoch, args=arguments, metrics={"dice": merit})


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("there", [True, False])
def test_a_run_of_many_devices_is_read_on_others(count, there, first, tmp_path):
    write_earlier(tmp_path, first, count)
    if not there:  # as from a machine with a GPU, which this one has not
        for place in tmp_path.rglob("_sharding"):
            text = place.read_text().replace("TFRT_CPU", "cuda:").replace("CPU", "CUDA")
            place.write_text(text)
    state, _, found = restore(tmp_path, first)
    assert (found.epoch, found.best, kernel(state.params)) == (2, 0.5, 2.0)
    assert kernel(checkpoints.read_best(tmp_path)[0]["params"]) == 1.0


def test_a_diverged_checkpoint_of_an_earlier_version_is_passed_over(first, tmp_path):
    wrong = first[0].replace(params=jax.tree.map(lambda a: a * np.nan, first[0].params))
    write_earlier(tmp_path, first, 1)
    write_earlier(tmp_path / "b", (wrong, first[1]), 1, (0.1, 0.2, 1.0))
    shutil.move(tmp_path / "b" / checkpoints.FOLDER / "3", tmp_path / checkpoints.FOLDER)
    assert checkpoints.read_best(tmp_path)[1] == 1
    assert restore(tmp_path, first)[2].epoch == 2


# --- Inside an epoch ---


def test_steps_of_an_interrupted_epoch_come_back_and_cannot_be_the_best(run, first):
    state, plateau = first
    steps = ({"loss": 0.1 + 0.2, "dice": 1 / 3}, {"loss": 1e-17, "dice": 1.0})
    inside = progress(5, best=0.6, steps=steps)
    moved = at(state, 5).replace(step=np.int32(12))
    interrupted.save(run, moved, plateau, inside)
    _, _, last = restore(run, first)
    found_state, _, found = interrupted.restore(run, state, plateau, last)
    assert found == inside
    assert int(found_state.step) == 12
    assert checkpoints.read_best(run)[1] == 2
    assert interrupted.restore(run, state, plateau, progress(6)) is None
    assert not interrupted.exists(run)


def test_a_damaged_one_is_left_out_with_a_word(run, first, capsys):
    state, plateau = first
    interrupted.save(run, at(state, 6), plateau, progress(5, steps=({"loss": 0.5},)))
    (number,) = stored.listed(run / interrupted.FOLDER)
    damage_half(run / interrupted.FOLDER / str(number))
    assert interrupted.restore(run, state, plateau, progress(5)) is None
    assert "the steps of its epoch are taken again" in capsys.readouterr().err
    assert not interrupted.exists(run)


def test_it_serves_where_the_checkpoint_of_its_epoch_is_damaged(run, first):
    state, plateau = first
    interrupted.save(run, at(state, 6), plateau, progress(5, best=0.6, steps=({"loss": 0.5},)))
    damage_half(run / checkpoints.FOLDER / "5")
    damage_half(run / checkpoints.FOLDER / "2")
    _, _, last = restore(run, first)
    _, _, found = interrupted.restore(run, state, plateau, last)
    assert (last.epoch, found.epoch, found.best) == (4, 5, 0.3)


def test_paths_are_listed_by_number(tmp_path):
    for name in ("10", "9", "damaged-8", "x"):
        (tmp_path / name).mkdir()
    Path(tmp_path / "11").write_text("a file")
    assert stored.listed(tmp_path) == [9, 10]
