"""A run that was killed goes on bit for bit where it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from cosup_jax.training import checkpoints, logs

ROOT = Path(__file__).parents[2]

# Trains in a process of its own; a kill is its own doing, so nothing has to wait or guess.
SCRIPT = """
import os, signal, sys
import jax
from cosup_jax.training import checkpoints, loop
from tests.phantoms import tiny_config

data_dir, workdir, devices, moment = sys.argv[1:]
jax.config.update("jax_compilation_cache_dir", os.path.join(data_dir, "cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "in mid-epoch":
    collect = loop.ProgressBar.step
    def step(self, metrics):
        collect(self, metrics)
        if self.taken == 3 * self.steps_per_epoch + 2:
            die()
    loop.ProgressBar.step = step
elif moment == "during a save":
    save = checkpoints.save
    def kill(manager, state, plateau, progress, dice):
        save(manager, state, plateau, progress, dice)
        if progress.epoch == 4:
            die()
    checkpoints.save = kill

loop.train_and_evaluate(
    tiny_config(data_dir, epochs=6, devices=int(devices)), workdir
)
"""


def train(data_dir, workdir, devices, moment="never"):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", SCRIPT, str(data_dir), str(workdir), str(devices), moment]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def checkpoint_arrays(workdir):
    with ocp.CheckpointManager((workdir / checkpoints.FOLDER).resolve()) as manager:
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        tree = manager.restore(6, args=args).state
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
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module", params=[1, 2])
def uninterrupted(request, data_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp(f"whole{request.param}")
    done = train(data_dir, workdir, request.param)
    assert done.returncode == 0, done.stderr
    return request.param, workdir


@pytest.mark.parametrize("moment", ["in mid-epoch", "during a save"])
def test_six_epochs_equal_three_a_kill_and_the_rest(uninterrupted, moment, data_dir, tmp_path):
    devices, whole = uninterrupted
    killed = train(data_dir, tmp_path, devices, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = train(data_dir, tmp_path, devices)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after epoch" in resumed.stdout

    expected, found = checkpoint_arrays(whole), checkpoint_arrays(tmp_path)
    assert expected.keys() == found.keys()
    assert len(expected) > 100
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)

    def figures(workdir):
        free = ("seconds", "slices_per_s")
        rows = logs.read_metrics(workdir)
        return [{k: v for k, v in row.items() if k not in free} for row in rows]

    assert figures(tmp_path) == figures(whole)
    assert len(figures(whole)) == 6
    for name in ("summary.json", "per_case.csv", "per_slice.csv"):
        path = Path("evaluation") / name
        assert (tmp_path / path).read_bytes() == (whole / path).read_bytes()
