"""Each class of infection scored for itself."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest

from cosup_jax import cli, evaluation, figures, models, runs
from cosup_jax.data import datasets
from cosup_jax.evaluation import gallery, pictures
from tests.phantoms import tiny_config
from tests.training.tiny import TinyNet

NAMES = ("ground-glass", "consolidation", "effusion")


@pytest.fixture(scope="module")
def scored(tiny_run, tmp_path_factory):
    """Summaries of an untrained network for four classes, and its run in the folder written."""
    config = tiny_config(tiny_run.parent / "tfds")
    model = TinyNet(classes=4)
    variables = models.initialise(model, (32, 32, 1), 0)
    folder = tmp_path_factory.mktemp("classes")
    run = runs.Run(folder, config, model, variables, 1)
    return evaluation.evaluate_classes(run, protocol="semiseg", out=folder), run


def test_every_class_is_counted_where_it_is(scored, tiny_run):
    summaries, run = scored
    folder = run.workdir
    builder = datasets.make_builder(
        "lung_phantom", config="tiny", data_dir=str(tiny_run.parent / "tfds")
    )
    truth = {
        (e["case_id"].decode(), str(e["slice_index"])): e["mask"]
        for e in builder.as_data_source(split="test")
    }
    assert tuple(summaries) == NAMES
    for label, name in enumerate(NAMES, 1):
        with (folder / name / "per_slice.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(truth) == summaries[name]["dice"]["n"]
        for row in rows:
            wanted = (truth[row["case_id"], row["slice_index"]] == label).sum()
            assert int(row["tp"]) + int(row["fn"]) == wanted
        assert summaries[name]["class"] == name
        assert {"s_alpha", "e_phi_mean", "sensitivity", "specificity", "mae"} <= set(
            summaries[name]
        )
    assert (folder / "classes.png").stat().st_size > 0


def test_a_picture_does_not_stay_beside_other_tables(scored, tmp_path):
    run, folder = scored[1], tmp_path / "out"
    for name in ("classes.png", "effusion/bland_altman.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"of an earlier evaluation")
    shutil.copy(run.workdir / "effusion/summary.json", folder / "effusion")
    evaluation.evaluate_classes(run, split="validation", out=folder, draw=False)
    assert not [*folder.rglob("*.png")]
    assert {path.name for path in folder.iterdir()} == set(NAMES)


def test_under_semiseg_a_class_is_where_it_is_the_likeliest(scored):
    """One value over all thresholds above 0, at which every pixel is infection."""
    for name in NAMES:
        with (scored[1].workdir / name / "per_slice.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                tp, fp, fn, tn = (int(row[n]) for n in ("tp", "fp", "fn", "tn"))
                pixels = tp + fp + fn + tn
                dice = 2 * tp / (2 * tp + fp + fn) if tp else 0
                everywhere = 2 * (tp + fn) / (tp + fn + pixels)
                assert float(row["dice"]) == pytest.approx((255 * dice + everywhere) / 256)
                assert float(row["mae"]) == pytest.approx((fp + fn) / pixels)


def test_the_likeliest_class_needs_no_majority():
    each = np.zeros((2, 2, 3), np.float32)
    each[:] = 0.3, 0.36, 0.34
    each[0] = 0.5, 0.2, 0.3
    found = [evaluation.classes.is_likeliest(each, (4, 4), label=i) for i in range(3)]
    assert [int(f.sum()) for f in found] == [12, 4, 0]
    np.testing.assert_array_equal(sum(found), 1)


def test_networks_that_tell_classes_apart_are_drawn_side_by_side(scored, tiny_run, monkeypatch):
    drawn, scores = {}, []
    monkeypatch.setattr(figures, "save", lambda figure, path, _: drawn.update({path.name: figure}))
    monkeypatch.setattr(pictures, "networks", lambda _, found, each: scores.append(each))
    network = scored[1]
    unit = network.config.copy_and_resolve_references()
    unit.data.scaling = "unit"
    other = dataclasses.replace(network, config=unit)
    gallery.draw({"a": network, "b": other, "one": runs.open_run(tiny_run)}, "nowhere", slices=2)
    titles = [axes.get_title() for axes in drawn["classes"].axes]
    assert titles[:4] == ["image", "a", "b", "truth"]
    # Each sees the slices as it was trained to, whoever stands beside it.
    gallery.draw({"b": other}, "nowhere", slices=2)
    beside, alone = (each["b"].slices for each in scores)
    assert beside == alone
    assert beside != scores[0]["a"].slices


def test_a_network_of_one_class_is_refused(tiny_run):
    with pytest.raises(ValueError, match="does not tell classes apart"):
        evaluation.evaluate_classes(runs.open_run(tiny_run))


def test_the_command_takes_one_way_at_a_time(tiny_run, capsys):
    arguments = ["evaluate", "--workdir", str(tiny_run), "--by_class", "--tune_threshold"]
    assert cli.main(arguments) == 1
    assert "--tune-threshold does not go with --by-class" in capsys.readouterr().err


def test_colours_say_which_class(drawn, tmp_path):
    image = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (1, 8, 1))
    found = np.zeros((1, 8, 8), np.uint8)
    found[0, :4, 4] = 1
    found[0, 4:, 4] = 2
    each = {"one": found, "other": 0 * found}
    figure = figures.classes(image, each, 0 * found, rows=["a"], names=NAMES[:2])
    figures.save(figure, tmp_path / "classes")
    assert (tmp_path / "classes.png").stat().st_size > 1000
    prediction, other, truth = (figure.axes[i].images[0].get_array() for i in (1, 2, 3))
    np.testing.assert_array_equal(other, truth)
    differing = np.abs(np.asarray(prediction) - np.asarray(truth)).max(axis=-1) > 0
    np.testing.assert_array_equal(differing, found[0] > 0)
    red, green = np.asarray(prediction)[0, 4], np.asarray(prediction)[7, 4]
    assert red[0] > red[1]
    assert green[1] > green[0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == list(NAMES[:2])
