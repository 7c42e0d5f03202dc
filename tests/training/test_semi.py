"""Semi-supervised rounds: who is labelled when and with what, and that a kill changes nothing."""

import csv
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosup_jax import config as configuration
from cosup_jax.data import datasets, pipeline
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.experiments import trials
from cosup_jax.runs import logs
from cosup_jax.training import epochs, loop, pseudo, rounds, semi
from cosup_jax.training.setup import RunMismatch, check_config, keep_description, make_setup
from tests.phantoms import tiny_config
from tests.training.tiny import TINY

ROOT = Path(__file__).parents[2]
SETTINGS = Preprocessing((32, 32))

# Labels in a process of its own, which ends itself when the second round is about to train.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from cosup_jax.training import rounds, semi
from tests.training import tiny
from tests.training.test_semi import semi_config

tiny.register()
tfds, workdir = sys.argv[1:]
tune = rounds.tune
def die(setup, state, examples, number, steps):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return tune(setup, state, examples, number, steps)
rounds.tune = die
semi.label_all(semi_config(tfds), Path(workdir))
"""


def semi_config(data_dir, **changes):
    """Five labelled slices and seven without labels: rounds of 3, 3 and 1."""
    parts = {"data__train": "train[:5]", "semi__unlabelled": "train[5:]", "semi__per_round": 3}
    parts |= {"semi__pretrain_batch_size": 4}
    config = tiny_config(data_dir, **parts)
    config.model = TINY
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


@pytest.fixture(scope="module")
def tfds(quick_run):
    return quick_run.parent / "tfds"


@pytest.fixture(scope="module")
def builder(tfds):
    return datasets.make_builder("lung_phantom", config="tiny", data_dir=str(tfds))


def started(folder, quick_run):
    """A working folder whose first step is done."""
    folder.mkdir(exist_ok=True)
    (folder / semi.LABELLED).symlink_to(quick_run)
    return folder


@pytest.fixture(scope="module")
def whole(quick_run, tfds, tmp_path_factory):
    """The folder of a labelling that nothing interrupted, and its steps, compiled."""
    folder = started(tmp_path_factory.mktemp("whole"), quick_run)
    config = semi_config(tfds)
    setup = make_setup(semi.rounds_config(config), folder / semi.ROUNDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semi, "make_setup", lambda config, workdir: setup)
        semi.label_all(config, folder)
    return folder, setup


def labels(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / semi.PSEUDO).rglob("*.*"))
    }


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_slice_is_labelled_once_in_rounds_of_k(whole, builder):
    folder, _ = whole
    rows = read_csv(folder / semi.PSEUDO / "train_index.csv")
    assert [int(row["round"]) for row in rows] == [1, 1, 1, 2, 2, 2, 3]
    found = {(row["case"], int(row["slice"])) for row in rows}
    stored = builder.as_data_source(split="train[5:]")
    assert found == {(e["case_id"].decode(), int(e["slice_index"])) for e in stored}
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    metrics = logs.read_metrics(folder / semi.ROUNDS)
    assert [row["slices"] for row in metrics] == [8, 11, 12]
    assert [row["steps"] for row in metrics] == [2, 3, 3]


def test_the_folder_is_a_dataset_that_shows_the_network_the_same(whole, builder, tmp_path):
    """Phantoms are in HU, the folder in 16-bit grey."""
    folder, _ = whole
    other = datasets.make_builder(
        "slice_folder", source=str(folder / semi.PSEUDO), data_dir=str(tmp_path)
    )
    datasets.prepare(other)
    for split, of in (("train", "train[5:]"), ("validation", "validation")):
        written = pipeline.open_split(other, split, SETTINGS)
        stored = pipeline.open_split(builder, of, SETTINGS)
        ours = {
            (e["case_id"], e["slice_index"]): e
            for e in map(written.__getitem__, range(len(written)))
        }
        assert len(ours) == len(stored)
        for i in range(len(stored)):
            example = stored[i]
            mine = ours[example["case_id"], example["slice_index"]]
            assert mine["patient_id"] == example["patient_id"]
            np.testing.assert_allclose(mine["image"], example["image"], atol=2e-3)
            if split == "validation":
                np.testing.assert_array_equal(mine["mask"], example["mask"])
    assert pipeline.open_split(other, "train", SETTINGS)[0]["mask"].max() <= 1


def test_a_kill_changes_neither_order_nor_labels(whole, quick_run, tfds, tmp_path):
    expected, setup = whole
    folder = started(tmp_path / "killed", quick_run)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tfds), str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    selected = (folder / semi.ROUNDS / rounds.SELECTION).read_text().splitlines()
    assert len(selected) == 6  # the second round had its labels and was not trained on

    setup = dataclasses.replace(setup, workdir=folder / semi.ROUNDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semi, "make_setup", lambda config, workdir: setup)
        semi.label_all(semi_config(tfds), folder)
    assert labels(folder) == labels(expected)
    for name in (rounds.SELECTION, "data.json", "config.json"):
        path = Path(semi.ROUNDS) / name
        assert (folder / path).read_bytes() == (expected / path).read_bytes()

    def figures(place):
        rows = logs.read_metrics(place / semi.ROUNDS)
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert figures(folder) == figures(expected)


def test_a_finished_labelling_is_only_read(whole, tfds, monkeypatch, tmp_path):
    """And stays the same dataset, or a run that was pre-trained on it could not go on."""
    folder, setup = whole

    def dataset():
        source = str(folder / semi.PSEUDO)
        return datasets.make_builder("slice_folder", source=source, data_dir=str(tmp_path)).info

    before, name = labels(folder), dataset().full_name
    monkeypatch.setattr(semi, "make_setup", lambda config, workdir: setup)
    monkeypatch.setattr(rounds, "label", None)
    semi.label_all(semi_config(tfds), folder)
    assert labels(folder) == before
    assert dataset().full_name == name


def test_a_label_that_has_gone_is_named(whole, builder, tmp_path):
    piece = pseudo.open_pool(builder, "train[5:]", SETTINGS).slices[0]
    with pytest.raises(pseudo.PoolError, match=f"mask/{piece.file} has gone"):
        pseudo.read_label(piece, tmp_path, SETTINGS)


def test_a_list_of_labels_that_has_gone_is_named(whole, tfds, tmp_path, monkeypatch):
    folder, setup = whole
    (tmp_path / "rounds").mkdir()
    (tmp_path / "rounds" / "checkpoints").symlink_to(folder / semi.ROUNDS / "checkpoints")
    setup = dataclasses.replace(setup, workdir=tmp_path / "rounds")
    monkeypatch.setattr(semi, "make_setup", lambda config, workdir: setup)
    with pytest.raises(pseudo.PoolError, match=r"selection.jsonl does not name .* the 3 rounds"):
        semi.label_all(semi_config(tfds), tmp_path)


def test_patients_trained_on_without_labels_count_as_trained_on(whole, builder):
    folder, setup = whole
    said = (folder / semi.ROUNDS / "data.json").read_text()
    for patient in builder.info.metadata["patients"]["train"]:
        assert f'"{patient}"' in said
    later = dataclasses.replace(setup, workdir=folder / "later")
    later.config.init = str(folder / semi.ROUNDS)
    keep_description(later)
    later.config.init = None
    assert f'"{patient}"' in (folder / "later" / "data.json").read_text()


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 12), st.integers(0, 99))
def test_every_slice_comes_once_before_any_comes_again(count, batch_size, steps, seed):
    one = np.zeros((1, 1, 1), np.uint8)
    examples = [{"image": one + i, "mask": one, "edge": one} for i in range(count)]
    found = list(rounds.batches(examples, batch_size, steps, (seed, 1)))
    drawn = np.concatenate([batch["image"].ravel() for batch in found])
    assert len(found) == steps
    assert {batch["mask"].shape for batch in found} == {(batch_size, 1, 1, 1)}
    for start in range(0, len(drawn), count):
        part = drawn[start : start + count]
        assert len(set(part.tolist())) == len(part)
    again = list(rounds.batches(examples, batch_size, steps, (seed, 1)))
    np.testing.assert_array_equal(again[-1]["image"], found[-1]["image"])


def test_rows_of_a_round_that_is_taken_again_are_dropped(tmp_path):
    rows = [{"file": f"{i}.png", "round": 1 + i // 2} for i in range(4)]
    rounds.write_selection(tmp_path, rows)
    with (tmp_path / rounds.SELECTION).open("a") as file:
        file.write('{"file": "5.png", "rou')
    assert rounds.read_selection(tmp_path, 1) == rows[:2]
    assert rounds.read_selection(tmp_path, 2) == rows[:2]
    (tmp_path / "new").mkdir()
    assert rounds.read_selection(tmp_path / "new", 0) == []


def test_the_four_steps(tfds, monkeypatch, tmp_path):
    steps = []
    monkeypatch.setattr(
        trials,
        "train_and_evaluate",
        lambda c, folder: steps.append((c, folder)) or {"step": folder},
    )
    monkeypatch.setattr(semi, "label_all", lambda c, folder: steps.append((c, folder)))
    config = semi_config(tfds, epochs=7, init="imagenet.pth", semi__pretrain_epochs=9)
    assert trials.train_semi(config, tmp_path) == {"step": tmp_path}
    (first, a), (second, b), (third, c), (fourth, d) = steps
    assert (a, b, c, d) == (tmp_path / "labelled", tmp_path, tmp_path / "pretrain", tmp_path)
    assert (first.data.train, first.epochs, first.init) == ("train[:5]", 7, "imagenet.pth")
    assert second == config
    assert (third.data.name, third.data.source) == ("slice_folder", str(tmp_path / "pseudo"))
    assert (third.epochs, third.batch_size, third.init) == (9, 4, "imagenet.pth")
    assert (fourth.epochs, fourth.init) == (7, str(tmp_path / "pretrain"))
    assert fourth.data.to_dict() == config.data.to_dict()
    assert first.semi.per_round == third.semi.per_round == 0


def test_what_pretraining_takes_may_change_until_it_is_used(whole, quick_run, tfds, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "run", symlinks=True)
    changed = {"semi__pretrain_epochs": 9, "semi__pretrain_batch_size": 2}
    # The labelled slices alone: nothing of `semi` means anything.
    first = semi.labelled_config(semi_config(tfds, data__train="train"))
    shutil.copytree(quick_run, tmp_path / "first")
    (tmp_path / "first" / "config.json").write_text(configuration.to_json(first))
    other = semi_config(tfds, data__train="train", semi__unlabelled="x", **changed)
    assert check_config(semi.labelled_config(other), tmp_path / "first")
    with pytest.raises(RunMismatch, match=r"differing in semi\.per_round, semi\.pretrain_batch"):
        check_config(other, tmp_path / "first")
    before = labels(folder)
    semi.label_all(semi_config(tfds, **changed), folder)
    assert labels(folder) == before
    with pytest.raises(RunMismatch, match=r"differing in semi\.epochs\)"):
        semi.label_all(semi_config(tfds, semi__epochs=0.5, **changed), folder)
    # The last step has begun from what was pre-trained.
    (folder / "checkpoints").symlink_to(quick_run / "checkpoints")
    last = semi.finetune_config(semi_config(tfds), folder)
    (folder / "config.json").write_text(configuration.to_json(last))
    with pytest.raises(RunMismatch, match=r"differing in semi\.pretrain_batch_size, semi\.pre"):
        trials.train_semi(semi_config(tfds, **changed), folder)


def test_the_first_step_is_not_trained_on_once_the_rounds_have_started_from_it(
    whole, quick_run, tfds, tmp_path, monkeypatch
):
    folder = shutil.copytree(whole[0], tmp_path / "run", symlinks=True)
    semi.check_epochs(semi_config(tfds, epochs=1), folder)
    semi.check_epochs(semi_config(tfds, epochs=2), folder)
    says = "epochs is 3, .* started from 2 epochs of the first step; give --config.epochs=2"
    with pytest.raises(RunMismatch, match=says):
        trials.train_semi(semi_config(tfds, epochs=3), folder)
    assert len(logs.read_metrics(quick_run)) == 2
    semi.check_epochs(semi_config(tfds, epochs=3), started(tmp_path / "new", quick_run))
    (folder / semi.LABELLED).unlink()
    score = epochs.report.score
    monkeypatch.setattr(epochs.report, "score", lambda *given: score(*given)._replace(loss=1.0))
    ended = semi_config(tfds, epochs=9, early_stopping__patience=1)
    loop.train_seeds(semi.labelled_config(ended), [0], [folder / semi.LABELLED])
    assert len(logs.read_metrics(folder / semi.LABELLED)) == 2  # early stopping has ended it
    semi.check_epochs(semi_config(tfds, epochs=20), folder)
