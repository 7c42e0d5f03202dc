"""Rows whose network is guided by the run of another row."""

import dataclasses
import json

import pytest

from cosup_jax import config as configuration
from cosup_jax import evaluation
from cosup_jax.experiments import caption, plan, progress, runner
from cosup_jax.experiments.tables import TABLES
from cosup_jax.training import loop
from tests.experiments.conftest import write_run, write_scores
from tests.phantoms import CONFIGS

ROWS = {row.name: row for row in TABLES["infnet-table3"].rows}
GUIDED = ROWS["guided_fcn8s"]
SHORT = ("--config.epochs=2", "--config.data.size=(32, 32)")


@pytest.fixture
def scored(monkeypatch):
    """Replaces the scoring of classes; a guide gives 20 points for ground-glass, and 10 else."""

    def evaluate_classes(run, *, protocol, out):
        guided, seed = run.workdir.parent.name.startswith("guided"), int(run.workdir.name)
        dice = {
            "ground-glass": 0.5 + 0.2 * guided + 0.01 * seed,
            "consolidation": 0.2 + 0.1 * guided + 0.01 * seed,
        }
        return {
            name: write_scores(out / name, {p: [d] for p in "abc"}, protocol)
            for name, d in dice.items()
        }

    monkeypatch.setattr(evaluation, "evaluate_classes", evaluate_classes)


def test_the_guide_of_each_seed_is_trained_first(make_request, invented, scored, capsys):
    request = make_request("infnet-table3", selected=("guided_fcn8s",), overrides=SHORT)
    said = progress.overview(request)
    assert "before it infnet, seed 0, 1, at most 2 epochs" in said
    assert "8 epochs at most" in said
    result = runner.run_row(request, GUIDED)
    assert result.spread("dice")[0] == pytest.approx(70.5)
    said = capsys.readouterr().out
    assert said.index("infnet, which guides it: 2 runs to train") < said.index("seed 0, in ")
    for seed in (0, 1):
        kept = json.loads((request.folder(GUIDED, seed) / "config.json").read_text())
        guide = request.folder(GUIDED.guide, seed)
        assert kept["init"] == str(guide.absolute())
        assert kept["model"]["guide_size"] == [32, 32]
        assert progress.progress(request, GUIDED, seed).finished
    written = caption.document(request, [result])
    assert "Guides: infnet of 32×32 after 2 epochs." in written.caption
    assert "width 64" in written.head
    (setting,) = [s for s in written.caption if s.startswith("Set for this table")]
    assert "init" not in setting
    assert "guide" not in setting


def test_a_seed_whose_guide_diverges_is_left_out_and_named(make_request, invented, scored):
    request = make_request("infnet-table3", selected=("guided_fcn8s",), seeds=3, overrides=SHORT)
    invented["infnet", 1] = loop.TrainingDiverged("the loss became nan")
    result = runner.run_row(request, GUIDED)
    assert [run.seed for run in result.runs] == [0, 2]
    assert result.failed == "infnet, seed 1: the loss became nan"
    assert not request.folder(GUIDED, 1).exists()


def test_a_finished_guide_is_taken_as_it_is(make_request, invented, scored):
    request = make_request("infnet-table3", seeds=1, overrides=SHORT)
    guide = request.config(GUIDED.guide, 0)
    configuration.override(guide, ["--config.model.width=8", "--config.data.size=(64, 64)"])
    folder = request.folder(GUIDED.guide, 0)
    write_run(folder, guide, epochs=9)
    before = (folder / "metrics.jsonl").read_text()
    assert f"guided by {folder.absolute()}" in progress.overview(request)
    (run,) = runner.run_row(request, GUIDED).runs
    assert (folder / "metrics.jsonl").read_text() == before
    config = request.config(GUIDED)
    assert (config.model.guide.width, config.model.guide_size) == (8, (64, 64))
    assert "dtype" not in config.model.guide
    assert run.guide == "infnet of 64×64 after 9 epochs"


def test_another_guide_can_be_given(make_request, invented, scored, tmp_path):
    guide = configuration.load(f"{CONFIGS / 'baseline.py'}:net=unet")
    write_run(tmp_path / "unet", guide, epochs=3)
    weights = tmp_path / "published.pth"
    weights.write_bytes(b"weights")
    for path, name, said in (
        (tmp_path / "unet", "unet", "unet of 256×256 after 3 epochs"),
        (weights, "infnet", "published.pth"),
    ):
        override = f"--config.init@guided_fcn8s={path}"
        request = make_request("infnet-table3", seeds=1, overrides=(*SHORT, override))
        request = dataclasses.replace(request, out=tmp_path / name)
        (run,) = runner.run_row(request, GUIDED).runs
        assert run.guide == said
        assert request.config(GUIDED).model.guide.name == name
        assert not request.folder(GUIDED.guide, 0).exists()


def test_what_all_rows_start_from_is_no_guide(make_request, tmp_path):
    """A backbone for all: the guide is trained from it, and the guided row has the trained one."""
    override = f"--config.init={tmp_path / 'backbone.pth'}"
    request = make_request("infnet-table3", overrides=(*SHORT, override))
    plan.check_overrides(request)
    assert request.trains_guide(GUIDED)
    assert request.config(GUIDED).init == str(request.folder(GUIDED.guide, 0).absolute())
    for row in (GUIDED.guide, ROWS["fcn8s"]):
        assert request.config(row).init == str(tmp_path / "backbone.pth")
    assert request.not_applying(GUIDED) == [override]
    assert progress.missing_guides(request, GUIDED, [0, 1]) == [0, 1]
    said = progress.overview(dataclasses.replace(request, selected=("guided_fcn8s",)))
    assert f"{override} does not apply: it would be this row's guide, which --config.init@" in said
    named = (override, f"--config.init@guided_fcn8s={tmp_path / 'guide.pth'}")
    both = dataclasses.replace(request, overrides=(*SHORT, *named))
    assert both.config(GUIDED).init == str(tmp_path / "guide.pth")
    assert not both.trains_guide(GUIDED)
    assert both.trains_guide(ROWS["guided_unet"])


def test_classes_are_compared_each_for_itself(make_request, invented, scored):
    names = ("fcn8s", "guided_fcn8s", "fcn8s-consolidation", "guided_fcn8s-consolidation")
    request = make_request("infnet-table3", selected=names, overrides=SHORT)
    *_, results = runner.run_rows(request)
    document = caption.document(request, results)
    found = {line[0]: line[1] for line in document.difference_lines}
    assert found == {
        "Inf-Net + FCN8s, ground-glass": "+20.00",
        "Inf-Net + FCN8s, consolidation": "+10.00",
    }
    assert document.difference_title.startswith("Dice less that of FCN8s in the same class")
    assert "stopping rule reached by 0 of 4 runs" in document.head
    text = " ".join(document.caption)
    assert "Set for this table: data.size=(32, 32); epochs=2." in text
    assert "0 of them without ground-glass and 0 of them without consolidation" in text


def test_runs_that_rows_share_are_counted_once(make_request):
    names = ("fcn8s", "fcn8s-consolidation")
    request = make_request("infnet-table3", selected=names, seeds=1, overrides=SHORT)
    said = progress.overview(request)
    assert "fcn8s-consolidation: the runs of fcn8s, scored in another way" in said
    assert "2 epochs at most" in said


def test_an_override_can_be_for_some_rows_only(make_request):
    overrides = (
        "--config.learning_rate@fcn8s,guided_fcn8s=1e-7",
        "--config.learning_rate=1e-3",
        "--config.epochs@infnet=7",
        "--config.model.labeller.width@guided_fcn8s=8",
    )
    request = make_request("infnet-table3", overrides=overrides)
    plan.check_overrides(request)
    rates = {name: request.config(row).learning_rate for name, row in ROWS.items()}
    assert {name for name, rate in rates.items() if rate == 1e-7} == {
        *("fcn8s", "guided_fcn8s", "fcn8s-consolidation", "guided_fcn8s-consolidation")
    }
    assert set(rates.values()) == {1e-7, 1e-3}
    assert request.config(GUIDED.guide).epochs == 7
    assert request.config(GUIDED).model.labeller.width == 8
    assert request.config(ROWS["guided_unet"]).model.labeller.width == 64
    assert all(not request.not_applying(row) for row in ROWS.values())
    assert overrides[0] in caption.command(request)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs@fcn9s=3", r"infnet-table3 has no runs 'fcn9s', only deeplab8, .*guided_fcn8s"),
        ("epoch@fcn8s=3", r"no field --config\.epoch; the nearest is --config\.epochs"),
        ("model.labeller.width@fcn8s=3", r"no field --config\.model\.labeller\.width"),
        ("epochs@fcn8s=many", "expected a value like 100"),
    ],
)
def test_an_override_that_its_rows_cannot_take_is_refused(make_request, override, message):
    request = make_request("infnet-table3", overrides=(f"--config.{override}",))
    with pytest.raises(configuration.ConfigError, match=message):
        plan.check_overrides(request)
