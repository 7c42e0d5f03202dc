"""The whole loop on tiny phantoms: what it leaves behind, and what it refuses."""

import csv
import json
import math
import re
import shutil

import jax
import numpy as np
import pytest

from cosup_jax import losses
from cosup_jax.data import people, pipeline, sampling
from cosup_jax.data.people import SplitError
from cosup_jax.evaluation import scoring
from cosup_jax.experiments import trials
from cosup_jax.experiments.trials import train_and_evaluate
from cosup_jax.runs import checkpoints, initial, interrupted, logs
from cosup_jax.training import loop, preview, progress, setup
from tests.phantoms import tiny_config
from tests.training.tiny import TINY


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """A finished run: its folder, its summary, and the order in which splits were opened."""
    workdir = tmp_path_factory.mktemp("run")
    opened = []
    original = pipeline.open_split

    def watch(builder, split, *args, **kwargs):
        opened.append((split, len(logs.read_metrics(workdir))))
        return original(builder, split, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "open_split", watch)
        summary = train_and_evaluate(quick_config(data_dir), workdir)
    return workdir, summary, opened


def quick_config(data_dir, **changes):
    """For runs whose network does not matter."""
    config = tiny_config(data_dir, **changes)
    config.model = TINY
    return config


@pytest.fixture
def only_training(monkeypatch):
    """Leaves the evaluation out, but for the epoch that it would score."""

    def best_epoch(workdir, config):
        return {"epoch": checkpoints.read_best(workdir)[1]}

    monkeypatch.setattr(trials, "final_evaluation", best_epoch)


def test_a_run_leaves_checkpoint_evaluation_and_pictures(tiny_run):
    workdir = tiny_run
    for name in (
        "config.json",
        "data.json",
        "versions.json",
        "metrics.jsonl",
        "learning_curve.png",
        "evaluation/summary.json",
        "evaluation/per_case.csv",
        "evaluation/per_slice.csv",
        "evaluation/overlays.png",
        "evaluation/fusion.png",
    ):
        assert (workdir / name).stat().st_size > 0, name
    assert list((workdir / "tensorboard").iterdir())
    rows = logs.read_metrics(workdir)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    # What differs from start to start is the time by the clock; what it cost is kept elsewhere.
    kept = checkpoints.read_history(workdir)
    assert [row.keys() - shown.keys() for row, shown in zip(kept, rows, strict=True)] == [
        {"cpu_seconds"}
    ] * 2


def test_the_summary_is_the_one_written(run):
    workdir, summary, _ = run
    assert json.loads((workdir / "evaluation" / "summary.json").read_text()) == summary
    assert summary["split"] == "test"
    assert summary["note"] == ""


def test_every_test_slice_is_scored_once(run, data_dir):
    workdir, summary, _ = run
    builder = setup.make_setup(quick_config(data_dir), workdir).builder
    with (workdir / "evaluation" / "per_slice.csv").open() as file:
        rows = [(row["case_id"], row["slice_index"]) for row in csv.DictReader(file)]
    assert len(rows) == len(set(rows)) == builder.info.splits["test"].num_examples
    assert summary["dice"]["n"] == len(rows)
    patients = builder.info.metadata["patients"]
    assert {case for case, _ in rows} == set(patients["test"])
    assert not set(patients["train"]) & set(patients["test"])


def test_test_slices_are_never_read_before_the_final_evaluation(run):
    _, _, opened = run
    splits = [split for split, _ in opened]
    assert splits == ["train", "validation", "test"]
    epochs_when_test_opened = dict(opened)["test"]
    assert epochs_when_test_opened == 2


def test_the_best_epoch_is_the_one_evaluated(tiny_run):
    summary = json.loads((tiny_run / "evaluation" / "summary.json").read_text())
    dice = [row["validation/dice"] for row in logs.read_metrics(tiny_run)]
    assert summary["epoch"] == 1 + int(np.argmax(dice))


def test_it_says_first_what_it_will_do(data_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "LONG_ON_CPU_S", 0.0)
    train_and_evaluate(quick_config(data_dir, epochs=1), tmp_path)
    said = capsys.readouterr()
    head = said.out[: said.out.index("epoch 1")]
    for words in (
        "lung_phantom",
        "slices of",
        "patients",
        "parameters",
        "S1",
        "s a step",
        "quickstart.py",
    ):
        assert words in head
    assert "best epoch 1" in said.out


def test_a_finished_run_started_again_only_evaluates(run, data_dir, capsys):
    workdir, summary, _ = run
    # What a process that ends just behind the last epoch leaves undone is made up for.
    drawn = (workdir / "learning_curve.png").read_bytes()
    (workdir / "learning_curve.png").unlink()
    (workdir / interrupted.FOLDER).mkdir()
    assert train_and_evaluate(quick_config(data_dir), workdir) == summary
    assert "epoch 1:" not in capsys.readouterr().out
    assert (workdir / "learning_curve.png").read_bytes() == drawn
    assert not (workdir / interrupted.FOLDER).exists()


def test_a_folder_of_another_configuration_is_refused(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    changes = {"learning_rate": 0.5, "model__fusion": "sum"}
    with pytest.raises(setup.RunMismatch, match=r"differing in learning_rate, model\.fusion"):
        train_and_evaluate(tiny_config(tiny_run.parent / "tfds", **changes), tmp_path / "run")


def test_a_folder_of_other_data_is_refused(run, data_dir, tmp_path):
    workdir, _, _ = run
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    data = json.loads((tmp_path / "data.json").read_text())
    (tmp_path / "data.json").write_text(json.dumps({**data, "fingerprint": "0" * 16}))
    with pytest.raises(setup.RunMismatch, match="other data"):
        train_and_evaluate(quick_config(data_dir), tmp_path)


def test_a_run_that_failed_before_its_first_checkpoint_can_be_corrected(
    data_dir, tmp_path, only_training
):
    config = quick_config(data_dir, epochs=1)
    config.init = str(tmp_path / "mistyped")
    with pytest.raises(checkpoints.CheckpointError, match="no checkpoints"):
        train_and_evaluate(config, tmp_path / "run")
    assert train_and_evaluate(quick_config(data_dir, epochs=1), tmp_path / "run")["epoch"] == 1


def test_fine_tuning_starts_from_the_other_run(quick_run, data_dir, tmp_path, only_training):
    state = setup.make_state(setup.make_setup(quick_config(data_dir), tmp_path))
    loaded = initial.load_weights(str(quick_run), state)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), loaded.params, state.params)
    assert all(jax.tree.leaves(changed))
    assert int(loaded.step) == 0
    config = quick_config(data_dir, epochs=1)
    config.init = str(quick_run)
    assert train_and_evaluate(config, tmp_path)["epoch"] == 1


def test_weights_of_another_network_are_refused_by_name(tiny_run, data_dir, tmp_path):
    other = setup.make_setup(tiny_config(data_dir, model__edge_levels=(1,)), tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="esm.*stage2.*here None"):
        initial.load_weights(str(tiny_run), setup.make_state(other))
    with pytest.raises(checkpoints.CheckpointError, match="no checkpoints in"):
        initial.load_weights(str(tmp_path / "nothing"), setup.make_state(other))


def test_a_loss_that_is_no_number_stops_the_run(data_dir, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        total, parts = losses.joint_loss(*args, **kwargs)
        return total * float("nan"), {**parts, "total": total * float("nan")}

    monkeypatch.setattr(losses, "build", lambda **options: broken)
    with pytest.raises(
        loop.TrainingDiverged, match="nan in step 1 of epoch 1.*holds no checkpoint yet"
    ):
        train_and_evaluate(quick_config(data_dir), tmp_path)


def test_without_a_test_split_validation_is_evaluated_and_labelled(data_dir, tmp_path):
    config = quick_config(data_dir, epochs=1, data__train="train+validation", data__test="")
    summary = train_and_evaluate(config, tmp_path)
    assert summary["split"] == "validation"
    for said in (people.TRAINED_ON, scoring.USED_FOR_SELECTION, scoring.NO_TEST_ASKED):
        assert said in summary["note"]


def test_early_stopping_and_plateau_act_after_their_patience(
    data_dir, tmp_path, monkeypatch, only_training
):
    """With a validation loss that never improves, the rate halves, then the run stops."""
    config = quick_config(
        data_dir, epochs=30, plateau__patience=2, early_stopping__patience=4, learning_rate=1e-3
    )
    original = loop.report.score

    def constant(*args):
        return original(*args)._replace(loss=1.0)

    monkeypatch.setattr(loop.report, "score", constant)
    train_and_evaluate(config, tmp_path)
    rates = [row["learning_rate"] for row in logs.read_metrics(tmp_path)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4, 5e-4])


def test_training_on_what_is_scored_is_said(data_dir):
    text = preview.dry_run(quick_config(data_dir, data__train="train+validation"))
    assert "note: validation is trained on too" in text
    assert "5 steps an epoch" in text
    with pytest.raises(SplitError, match="no split 'tset'"):
        preview.dry_run(tiny_config(data_dir, data__test="tset"))


def test_a_network_without_heads_and_fusion_is_described(data_dir, tmp_path):
    config = tiny_config(data_dir)
    config.model = {"name": "unet", "width": 4, "dtype": "float32"}
    made = setup.make_setup(config, tmp_path)
    text = setup.describe(made, setup.make_state(made))
    assert "edges supervised at none, masks at none, fusion none" in text


def test_dry_run_prints_and_trains_nothing(data_dir, tmp_path):
    text = preview.dry_run(quick_config(data_dir, data__scales=(1.0, 2.0)))
    for words in (
        *('"theta": 0.8', "parameters:", "supervised S3: (4, 32, 32, 1)", "3 steps an epoch"),
        "at 64×64 and batch 4:",
    ):
        assert words in text
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(checkpoints.CheckpointError, match=f"no checkpoints in {nowhere}"):
        preview.dry_run(quick_config(data_dir, init=nowhere))


def test_a_dry_run_counts_the_steps_of_a_drawn_epoch_and_refuses_what_has_none(data_dir):
    drawn = quick_config(data_dir, sampling__groups=(("", "all", 1.0),), sampling__slices=42)
    text = preview.dry_run(drawn, [4, 8])
    assert "10 steps an epoch" in text
    assert [line.partition(":")[0] for line in text.splitlines()[-2:]] == [
        f"memory of a training step on each device, at 32×32 and batch {size}" for size in (4, 8)
    ]
    with pytest.raises(pipeline.EmptySplitError, match="12 slices, fewer than a batch of 16"):
        preview.dry_run(quick_config(data_dir, batch_size=16))


def test_a_slice_to_validate_on_that_is_of_no_group_is_told_before_anything_is_trained(
    data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "train_epoch", None)
    trained = tuple((f"phantom_000{i}", "all", 1.0) for i in range(3))
    config = quick_config(data_dir, sampling__groups=trained)
    says = "infected slice of case 'phantom_0004'.*split 'validation' is scored by groups"
    with pytest.raises(sampling.SamplingError, match=says):
        loop.train_seeds(config, [0], [tmp_path])
    with pytest.raises(sampling.SamplingError, match=says):
        preview.dry_run(config)
    config = quick_config(data_dir, sampling__groups=(("nobody", "all", 1.0), ("", "all", 1.0)))
    with pytest.raises(sampling.SamplingError, match="training split has no slice of nobody"):
        preview.dry_run(config)


def test_a_dry_run_of_several_seeds_counts_the_states_that_wait(data_dir, tmp_path):
    config = quick_config(data_dir, model__width=16)
    state = setup.make_state(setup.make_setup(config, tmp_path))
    waiting = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(state))
    *_, line = preview.dry_run(config, seeds=101).splitlines()
    alone, together = (float(text) for text in re.findall(r"([\d.]+) GiB", line))
    assert "beside 100 other seeds" in line
    assert together - alone == pytest.approx(100 * waiting / 2**30, abs=0.011)
    assert "seeds" not in preview.dry_run(config).splitlines()[-1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("averaging__decay", 1.0),
        ("clip", -0.5),
        ("step_decay__epochs", -1),
        ("augment__blur", -1.0),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(field, value, data_dir, tmp_path):
    with pytest.raises(ValueError, match=f"{field.replace('__', '.')} is {value}, expected"):
        setup.make_setup(tiny_config(data_dir, **{field: value}), tmp_path)
