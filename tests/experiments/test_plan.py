"""Which runs a table has, and how far each is."""

import dataclasses

import pytest
from flax.training.early_stopping import EarlyStopping
from hypothesis import given
from hypothesis import strategies as st

from cosup_jax import config as configuration
from cosup_jax.experiments import plan, progress
from cosup_jax.experiments.tables import TABLES
from tests.experiments.conftest import write_run

C2F = next(row for row in TABLES["table3"].rows if row.name == "c2f")
UNET = next(row for row in TABLES["table2"].rows if row.name == "unet")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 4))
def test_stopping_is_that_of_the_training_loop(losses, patience):
    stopping = EarlyStopping(patience=patience - 1)
    stops = []
    for loss in losses:
        stopping = stopping.update(float(loss))
        stops.append(stopping.should_stop)
    if True not in stops[:-1]:  # the loop ends at the first
        assert progress.has_stopped(losses, patience) == stops[-1]


def test_states_of_a_run(make_request):
    request = make_request(overrides=("--config.epochs=4", "--config.early_stopping.patience=2"))
    folder, config = request.folder(C2F, 1), request.config(C2F, 1)

    def state():
        return progress.progress(request, C2F, 1)

    assert (state().words, state().epochs) == ("missing", 0)
    write_run(folder, config, epochs=3, evaluated=False)
    assert (state().words, state().seconds) == ("half done", 18.0)
    write_run(folder, config, epochs=4, evaluated=False)
    assert state().words == "half done"  # the best epoch is not evaluated
    write_run(folder, config, epochs=4)
    assert (state().words, state().stopped) == ("finished", False)
    write_run(folder, config, epochs=3, losses=[1.0, 1.1, 1.2])
    assert (state().words, state().stopped) == ("finished", True)
    longer = dataclasses.replace(request, overrides=("--config.epochs=9",))
    assert progress.progress(longer, C2F, 1).words == "half done"
    other = dataclasses.replace(request, overrides=(*request.overrides, "--config.batch_size=2"))
    assert not progress.progress(other, C2F, 1).finished
    told = progress.overview(dataclasses.replace(other, selected=("c2f",)))
    assert "its folder holds another run (differing in batch_size)" in told


def test_a_run_as_long_as_its_file_wants_has_ended_by_its_own_rule(make_request):
    request = make_request()
    write_run(request.folder(C2F, 0), request.config(C2F), epochs=300)
    assert progress.progress(request, C2F, 0).stopped


def test_the_overview_lists_rows_runs_and_time(make_request):
    request = make_request(
        selected=("c1f", "c2f"), overrides=("--config.epochs=4", "--config.model.width=8")
    )
    write_run(request.folder(C2F, 0), request.config(C2F, 0), epochs=4)
    write_run(request.folder(C2F, 1), request.config(C2F, 1), epochs=1, evaluated=False)
    text = progress.overview(request)
    assert "baseline: not selected" in text
    assert "seed 0, 1: missing" in text
    assert "seed 0: finished after 4 epochs" in text
    assert "seed 1: half done after 1 epochs" in text
    # 4 + 4 epochs of c1f, 3 of c2f, 6 s each
    assert "11 epochs at most, about 0.0 h" in text
    assert "known once a run has begun" in progress.overview(make_request(selected=("c5f",)))
    done = dataclasses.replace(request, selected=("c2f",), seeds=1)
    assert "nothing is left to train" in progress.overview(done)


def test_an_override_that_a_network_does_not_have_is_left_out_and_said(make_request):
    request = make_request("table2", overrides=("--config.model.blocks=(1,1,1,1)",))
    assert "blocks" not in request.config(UNET).model
    assert request.config(C2F).model.blocks == (1, 1, 1, 1)
    assert request.not_applying(UNET) == ["--config.model.blocks=(1,1,1,1)"]
    assert "does not apply" in progress.overview(request)
    plan.check_overrides(request)


def test_no_setting_makes_a_row_semi_supervised(make_request):
    override = "--config.semi.per_round=100"
    request = make_request("infnet-table2", overrides=(override,))
    rows = {row.name: row for row in request.definition.rows}
    assert request.config(rows["semi_c2f"]).semi.per_round == 100
    assert request.config(rows["c2f"]).semi.per_round == 0
    assert request.not_applying(rows["c2f"]) == [override]
    plan.check_overrides(request)


@pytest.mark.parametrize(
    ("override", "message"),
    [("model.widht=3", r"nearest is --config\.model\.width"), ("epoch=3", r"--config\.epochs")],
)
def test_an_override_that_no_row_has_is_refused(make_request, override, message):
    with pytest.raises(configuration.ConfigError, match=message):
        plan.check_overrides(make_request(overrides=(f"--config.{override}",)))


@pytest.mark.parametrize(
    ("override", "option"),
    [
        ("data.source=folder", "--source, that of --train-on by --train-source"),
        ("data.source@c2f=folder", "--train-source"),
        ("data.name=slice_folder", "--data, that of training alone by --train-on"),
        ("seed=7", "--seeds"),
    ],
)
def test_what_the_table_itself_sets_is_no_override(make_request, override, option):
    with pytest.raises(configuration.ConfigError, match=f"^--config.{override}: .*{option}$"):
        plan.check_overrides(make_request(overrides=(f"--config.{override}",)))


def test_changes_are_what_was_set_and_not_where_data_lie(make_request):
    overrides = ("--config.model.width=8", "--config.data.data_dir=/x", "--config.epochs=300")
    request = make_request(source="/y", overrides=overrides)
    assert request.changes(C2F) == {"model.width": "8"}


def test_training_on_other_data(make_request):
    request = make_request(
        "table6", data="mosmed_covid19", source="M", train_on="cosup_covid", train_source="C"
    )
    config = request.config(C2F)
    assert (config.data.name, config.data.source) == ("cosup_covid", "C")
    assert request.evaluation_overrides() == [
        "--config.data.name=mosmed_covid19",
        "--config.data.config=",
        "--config.data.source=M",
    ]
    same = dataclasses.replace(request, train_on="same")
    assert same.config(C2F).data.name == "mosmed_covid19"
    assert same.folder(C2F, 0) != request.folder(C2F, 0)
    assert same.evaluation_overrides() == []


def test_unknown_rows_are_refused():
    with pytest.raises(ValueError, match="table3 has no row 'pspnet'; its rows are baseline, c1f"):
        plan.select("table3", ["c1f", "pspnet"])
    assert plan.select("table3", ["c2f", "c1f"]) == ("c1f", "c2f")


def test_the_folder_of_configurations_must_be_one(tmp_path):
    with pytest.raises(configuration.ConfigError, match="no configuration files"):
        plan.find_configs(str(tmp_path / "configs"))
    assert (plan.find_configs() / "c2f.py").is_file()
