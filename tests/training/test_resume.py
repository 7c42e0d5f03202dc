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

ROOT = Path(__file__).parents[2]

# Trains in a process of its own; a kill is its own doing, so nothing has to wait or guess.
SCRIPT = """
import os, signal, sys
import jax
from cosup_jax.experiments import trials
from cosup_jax.runs import checkpoints
from cosup_jax.training import loop
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

config = tiny_config(
    data_dir,
    epochs=6,
    devices=int(devices),
    data__scales=(1.0, 2.0),
    augment__rotation=20.0,
    augment__elastic=0.02,
    augment__noise=0.05,
    averaging__decay=0.9,
)
config.model = {"name": "unet", "width": 4, "dtype": "float32"}
trials.train_and_evaluate(config, workdir)
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


@pytest.mark.parametrize(("devices", "moment"), [(1, "in mid-epoch"), (2, "during a save")])
def test_six_epochs_equal_three_a_kill_and_the_rest(devices, moment, data_dir, tmp_path_factory):
    whole, tmp_path = (tmp_path_factory.mktemp(f"{name}{devices}") for name in ("whole", "killed"))
    done = train(data_dir, whole, devices)
    assert done.returncode == 0, done.stderr
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
        free = ("seconds", "cpu_seconds", "slices_per_s")
        rows = logs.read_metrics(workdir)
        return [{k: v for k, v in row.items() if k not in free} for row in rows]

    assert figures(tmp_path) == figures(whole)
    assert len(figures(whole)) == 6
    for name in ("summary.json", "per_case.csv", "per_slice.csv"):
        path = Path("evaluation") / name
        assert (tmp_path / path).read_bytes() == (whole / path).read_bytes()
