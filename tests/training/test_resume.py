"""A run that was killed goes on bit for bit where it was, with all that a step draws at random."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from cosup_jax.runs import checkpoints, logs
from cosup_jax.training import loop
from tests.phantoms import tiny_config
from tests.training.tiny import TINY

ROOT = Path(__file__).parents[2]

# Is killed in a process of its own; a kill is its own doing, so nothing has to wait or guess.
SCRIPT = """
import os, signal, sys
from cosup_jax.runs import checkpoints
from cosup_jax.training import loop
from tests.training import test_resume, tiny

tiny.register()

data_dir, workdir, moment = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "in mid-epoch":
    collect = loop.ProgressBar.step
    def step(self, metrics):
        collect(self, metrics)
        if self.taken == 2 * self.steps_per_epoch + 2:
            die()
    loop.ProgressBar.step = step
else:
    save = checkpoints.save
    def kill(manager, state, plateau, progress, dice):
        save(manager, state, plateau, progress, dice)
        if progress.epoch == 3:
            die()
    checkpoints.save = kill

test_resume.train(data_dir, workdir)
"""
EPOCHS = 4


def train(data_dir, workdir):
    """Trains on two devices, with all that a step draws at random."""
    config = tiny_config(
        data_dir,
        epochs=EPOCHS,
        devices=2,
        augment__rotation=20.0,
        augment__elastic=0.02,
        augment__noise=0.05,
        averaging__decay=0.9,
    )
    config.model = TINY
    loop.train_seeds(config, [0], [workdir])


def kill(data_dir, workdir, moment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", SCRIPT, str(data_dir), str(workdir), moment]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def checkpoint_arrays(workdir):
    with ocp.CheckpointManager((workdir / checkpoints.FOLDER).resolve()) as manager:
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        tree = manager.restore(EPOCHS, args=args).state
    return {"/".join(map(str, path)): leaf for path, leaf in _leaves(tree)}


def _leaves(tree, path=()):
    if isinstance(tree, dict):
        for name in sorted(tree):
            yield from _leaves(tree[name], (*path, name))
    elif isinstance(tree, list | tuple):
        for i, item in enumerate(tree):
            yield from _leaves(item, (*path, i))
    elif tree is not None:
        yield path, np.asarray(tree)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never killed; its dataset lies beside it."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder / "tfds", folder / "run")
    return folder / "run"


@pytest.mark.parametrize("moment", ["in mid-epoch", "during a save"])
def test_four_epochs_equal_two_a_kill_and_the_rest(moment, whole, tmp_path, capsys):
    data_dir = whole.parent / "tfds"
    killed = kill(data_dir, tmp_path, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(checkpoints.stored.listed(tmp_path / checkpoints.FOLDER)) >= 1
    capsys.readouterr()
    train(data_dir, tmp_path)
    assert "going on after epoch" in capsys.readouterr().out

    expected, found = checkpoint_arrays(whole), checkpoint_arrays(tmp_path)
    assert expected.keys() == found.keys()
    assert len(expected) > 20
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)

    def figures(workdir):
        free = ("seconds", "cpu_seconds", "slices_per_s")
        rows = logs.read_metrics(workdir)
        return [{k: v for k, v in row.items() if k not in free} for row in rows]

    assert figures(tmp_path) == figures(whole)
    assert len(figures(whole)) == EPOCHS
