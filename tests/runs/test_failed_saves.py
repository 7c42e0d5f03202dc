"""A checkpoint that cannot be written: one error, which the command line makes a sentence of."""

import shutil
import threading

import pytest
from flax.training.early_stopping import EarlyStopping

from cosup_jax.runs import checkpoints
from cosup_jax.runs.state import create_state, make_optimizer
from tests.training.tiny import TinyNet


def save_where_a_file_takes_the_place_of(folder, workdir):
    state = create_state(TinyNet(), make_optimizer(0.1), size=(16, 16), seed=0)
    progress = checkpoints.Progress(1, {"next_index": 1}, EarlyStopping(patience=3), history=({},))
    with checkpoints.open_checkpoints(workdir) as manager:
        shutil.rmtree(folder)
        folder.write_text("something else")
        checkpoints.save(manager, state, {}, progress, 0.1)
        checkpoints.finish(manager)


@pytest.mark.parametrize("name", ["run", f"run/{checkpoints.FOLDER}"])
def test_it_is_told_once_and_nothing_waits(name, tmp_path, caplog):
    """Orbax's threads would show a traceback of it besides, and hold up the process for minutes."""
    before = set(threading.enumerate())
    with pytest.raises((OSError, ValueError)):
        save_where_a_file_takes_the_place_of(tmp_path / name, tmp_path / "run")
    assert [record.message for record in caplog.records if record.exc_info] == []
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(30)
    assert not any(thread.is_alive() for thread in left)
