"""Runs of tables in which training, or evaluation too, is replaced by something quick."""

import csv
import json
import shutil
import types

import numpy as np
import pytest

from cosup_jax import config as configuration
from cosup_jax import evaluation
from cosup_jax.experiments import plan, trials
from cosup_jax.metrics import Counts
from cosup_jax.runs import checkpoints, integrity, stored
from cosup_jax.training import loop, semi
from tests.phantoms import CONFIGS, tiny_config


@pytest.fixture
def make_request(tmp_path):
    """Makes requests that write below a folder of this test."""

    def make(table="table3", **changes):
        plan.find_configs(str(CONFIGS))
        changes = {"data": "lung_phantom", "seeds": 2, "out": tmp_path / "out", **changes}
        changes.setdefault("selected", plan.select(table, []))
        return plan.Request(table=table, configs=CONFIGS, **changes)

    return make


@pytest.fixture
def tiny_overrides(tiny_run):
    """What makes configs/c2f.py the configuration of `tiny_run`."""
    tiny = configuration.to_json(tiny_config(tiny_run.parent / "tfds"))
    c2f = configuration.to_json(configuration.load(str(CONFIGS / "c2f.py")))
    flat = configuration.from_json(tiny)
    found = []
    for name in configuration.differences(tiny, c2f):
        value = flat
        for part in name.split("."):
            value = value[part]
        found.append(f"--config.{name}={value}")
    return tuple(found)


@pytest.fixture
def trained(monkeypatch, tiny_run):
    """Replaces training by a copy of a finished run; returns the folders trained, in order."""
    folders = []

    def train(config, folder):
        folders.append(folder)
        shutil.copytree(tiny_run, folder, dirs_exist_ok=True)
        (folder / "config.json").write_text(configuration.to_json(config) + "\n")

    replace_training(monkeypatch, train)
    return folders


@pytest.fixture
def invented(monkeypatch):
    """Replaces training and evaluation by texts; returns `fail`, of what training fails.

    Its keys are rows, or a row and a seed, its values what is raised.

    The Dice of a run is 0.5, and 0.1 more for each module of its row, 0.01 for each seed and
    0.05 where flips are averaged.
    """
    fail = {}

    def train(config, folder):
        row, seed = folder.parent.name, int(folder.name)
        for failing in (row, (row, seed)):
            if failing in fail:
                raise fail[failing]
        write_run(folder, config, epochs=config.epochs)

    def evaluate_run(run, *, protocol, tta, out):
        row, seed = run.workdir.parent.name, int(run.workdir.name)
        dice = 0.5 + 0.1 * len([m for m in row.split("+") if m != "baseline"]) + 0.01 * seed
        dice += 0.05 * tta
        return write_scores(out, {f"p{i}": [dice + 0.1, dice - 0.1] for i in range(3)}, protocol)

    def open_run(folder, overrides):
        variables = {"params": {"kernel": np.zeros((3, 4))}}
        epoch = checkpoints.best_epoch(folder)
        return types.SimpleNamespace(workdir=folder, variables=variables, epoch=epoch)

    replace_training(monkeypatch, train)
    monkeypatch.setattr("cosup_jax.experiments.data.scored", lambda request, row: {})
    monkeypatch.setattr("cosup_jax.experiments.data.source_digest", lambda request, row: "")
    monkeypatch.setattr(evaluation, "evaluate_run", evaluate_run)
    monkeypatch.setattr("cosup_jax.experiments.runner.runs.open_run", open_run)
    return fail


def replace_training(monkeypatch, train):
    """Puts `train(config, folder)` in the place of all ways to train a run."""

    def train_seeds(config, seeds, folders):
        told = []
        for seed, folder in zip(seeds, folders, strict=True):
            config.seed = seed
            try:
                train(config, folder)
            except loop.TrainingDiverged as error:
                told.append(f"seed {seed}: {error}")
        if told:
            raise loop.TrainingDiverged("; ".join(told))

    def train_semi(config, folder):
        train(semi.finetune_config(config, folder), folder)

    monkeypatch.setattr(trials, "train_seeds", train_seeds)
    monkeypatch.setattr(trials, "train_and_evaluate", train)
    monkeypatch.setattr(trials, "train_semi", train_semi)


def write_run(folder, config, *, epochs, best=1, losses=None, evaluated=True, **figures):
    """Writes what a run leaves in its folder, but for the arrays of its best checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(configuration.to_json(config))
    losses = losses or np.linspace(1, 0.5, epochs)
    rows = [
        {"epoch": i + 1, "validation/loss": loss, "seconds": 6.0, **figures}
        for i, loss in enumerate(losses)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "versions.json").write_text('{"devices": "1 cpu"}')
    write_checkpoint(folder / checkpoints.FOLDER / str(best))
    if evaluated:
        (folder / "evaluation").mkdir(exist_ok=True)
        (folder / "evaluation" / "summary.json").write_text(json.dumps({"epoch": best}))


def write_checkpoint(path):
    """Writes a checkpoint without arrays; the later is the better."""
    number = int(path.name)
    for name in (stored.STATE, stored.PROGRESS, stored.METRICS):
        (path / name).mkdir(parents=True, exist_ok=True)
    (path / "_CHECKPOINT_METADATA").write_text("{}")
    record = integrity.sealed({"number": number, "merit": number, integrity.ARRAYS: {}})
    (path / stored.PROGRESS / "metadata").write_text(json.dumps(record))
    (path / stored.METRICS / "metrics").write_text(json.dumps({stored.MERIT: number}))


def write_scores(folder, dice, protocol="cosup"):
    """Writes what an evaluation leaves, all measures alike, and returns the summary.

    Args:
      folder: where.
      dice: patient → Dice of the slices.
      protocol: its protocol.
    """
    folder.mkdir(parents=True, exist_ok=True)
    each = evaluation.PROTOCOLS[protocol].measures
    with (folder / "per_slice.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case_id", "patient_id", "slice_index", *each, *Counts._fields])
        for patient, values in dice.items():
            for i, value in enumerate(values):
                row = [f"case_{patient}", patient, i, *[value] * len(each), 1, 1, 1, 1]
                writer.writerow(row)
    together = [v for values in dice.values() for v in values]
    mean = {"mean": float(np.mean(together)), "std": 0.1, "n": len(together)}
    measures = (*each, "dice_positive")
    about = {"protocol": protocol, "dataset": "d", "split": "test", "note": "", "empty_truths": 0}
    about["protocol_description"] = evaluation.PROTOCOLS[protocol].description
    summary = {**dict.fromkeys(measures, mean), **about, "pooled_dice": mean["mean"]}
    (folder / "summary.json").write_text(json.dumps(summary))
    return summary
