"""A network that is shown slices cut to the lungs is scored as what predict makes of them is."""

import csv
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from matplotlib.figure import Figure

from cosup_jax import cli, evaluation, figures, metrics, models, runs, weights
from cosup_jax.data import chest, datasets, pipeline, schema
from cosup_jax.data.preprocess import prepare_image, resize_image, resize_labels
from cosup_jax.evaluation import gallery
from cosup_jax.models import SegOutput
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.weights import lung_network
from cosup_jax.weights.predictor import Predictor
from tests.data import slice_folders
from tests.phantoms import tiny_config
from tests.prediction.scan_files import no_lung
from tests.training.tiny import TinyNet

SHAPE = (48, 64)


class Dim(nn.Module):
    """Takes for infection what is darker than the body and brighter than the lungs."""

    @nn.compact
    def __call__(self, x, train):
        return SegOutput(logits=2 - 8 * jnp.abs(jnp.asarray(x) + 0.3))


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A run of `Dim` on scans with infection that lies outside of the boxes, too."""
    root = tmp_path_factory.mktemp("marked")
    shapes = {("train", "a"): [SHAPE], ("val", "b"): [SHAPE] * 3, ("val", "c"): [(56, 72)] * 2}
    shapes[("val", "d")] = [SHAPE, (64, 64)]
    slice_folders.draw_chests(root / "source", shapes)
    changes = {"data__name": "slice_folder", "data__config": "", "data__crop": "volume"}
    config = tiny_config(root / "tfds", data__source=str(root / "source"), **changes)
    return runs.Run(root / "run", config, Dim(), {"params": {}}, 1)


@pytest.fixture(scope="module")
def on_phantoms(tiny_run):
    """The tiny run, whose network is shown cut slices here."""
    return runs.open_run(tiny_run, ["--config.data.crop=volume"])


@pytest.fixture(params=["marked", "on_phantoms"])
def run(request):
    return request.getfixturevalue(request.param)


def scans(run, split):
    """Values in their unit, truths and intensity of the slices of each case, by slice."""
    found = {}
    for example in datasets.open_dataset(run.config.data).as_data_source(split=split):
        case = found.setdefault(example["case_id"].decode(), {})
        values, truth = schema.true_values(example)[..., 0], example["mask"][..., 0] > 0
        intensity = schema.intensity_name(example["intensity"])
        case[int(example["slice_index"])] = values, truth, intensity
    return found


def as_predicted(run, split):
    """The probability of each slice as `Segmenter` has it, and its truth, by case and slice."""
    network = weights.Pretrained(
        "x", run.model, run.variables, run.preprocessing, "", {}, crop=run.crop
    )
    segmenter, found = Segmenter(network), {}
    for case, slices in scans(run, split).items():
        values = [slices[i][0] for i in sorted(slices)]
        intensity = next(iter(slices.values()))[2]
        boxes = segmenter.boxes(values, intensity)
        maps = segmenter(values, intensity, len(values), boxes)
        for i, prob in zip(sorted(slices), maps, strict=True):
            found[case, i] = prob, slices[i][1]
    return found


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def dice(pairs):
    both, sides = (sum(map(np.sum, each)) for each in zip(*pairs, strict=True))
    return 2 * both / sides if sides else 1.0


def test_at_their_own_size_slices_are_scored_as_predict_marks_them(run, tmp_path):
    wanted = as_predicted(run, "validation")
    rules = evaluation.PROTOCOLS["semiseg"]
    evaluation.evaluate_run(run, protocol="semiseg", split="validation", out=tmp_path, draw=False)
    found = rows(tmp_path, "per_slice")
    assert len(found) == len(wanted)
    for row in found:
        prob, truth = wanted[row["case_id"], int(row["slice_index"])]
        assert int(row["tp"]) + int(row["fn"]) == truth.sum()
        assert sum(int(row[n]) for n in ("tp", "fp", "fn", "tn")) == truth.size
        scored = rules.score(prob, truth)
        measures = {**rules.ratios(scored.counts, scored.levels), **scored.soft}
        for name in rules.measures:
            assert float(row[name]) == pytest.approx(measures[name], abs=1e-6), name


@pytest.mark.parametrize("protocol", ["cosup", "semiseg"])
def test_volumes_are_those_of_predict_whatever_the_protocol(run, protocol, tmp_path):
    evaluation.evaluate_run(run, protocol=protocol, split="validation", out=tmp_path, draw=False)
    wanted = {}
    for (case, _), (prob, truth) in as_predicted(run, "validation").items():
        mask = prob > metrics.THRESHOLD
        wanted.setdefault(case, []).append((mask & truth, mask.astype(int) + truth))
    found = {row["case_id"]: float(row["dice"]) for row in rows(tmp_path, "per_volume")}
    assert found == pytest.approx({case: dice(pairs) for case, pairs in wanted.items()}, abs=1e-6)


def test_infection_outside_of_the_box_is_missed(marked, tmp_path):
    boxes = pipeline.find_boxes(
        datasets.open_dataset(marked.config.data), "validation", marked.preprocessing, chest.VOLUME
    )
    assert all(box[0].start > 3 for box in boxes)
    whole = dataclasses.replace(marked, config=tiny_config("", data__crop=""))
    whole.config.data = marked.config.data.copy_and_resolve_references()
    whole.config.data.crop = ""
    summaries = [
        evaluation.evaluate_run(one, protocol="cosup", split="validation", out=out, draw=False)
        for one, out in ((marked, tmp_path / "cut"), (whole, tmp_path / "whole"))
    ]
    assert summaries[0]["truths"]["stored"] == summaries[1]["truths"]["stored"]
    assert summaries[0]["truths"]["scored"] != summaries[1]["truths"]["scored"]
    # All that lies in the lung is found, 12 pixels of each slice are not.
    found = as_predicted(marked, "validation")
    for prob, truth in found.values():
        assert not prob[:3, :4].any()
        assert (prob[truth] == 0).sum() == 12
        assert (prob[truth] > 0.5).any()


def test_at_the_networks_size_the_cut_slice_is_scored(marked, tmp_path):
    summary = evaluation.evaluate_run(
        marked, protocol="cosup", split="validation", out=tmp_path, draw=False
    )
    assert summary["protocol_description"].endswith(
        "cut to the box of their volume's lungs, outside of which nothing is scored"
    )
    builder = datasets.open_dataset(marked.config.data)
    boxes = pipeline.find_boxes(builder, "validation", marked.preprocessing, chest.VOLUME)
    wanted = {}
    source = builder.as_data_source(split="validation")
    for example, box in zip(source, boxes, strict=True):
        image = prepare_image(
            schema.true_values(example)[..., 0][box], "grey8", marked.preprocessing
        )
        truth = resize_labels((example["mask"][..., 0][box] > 0).astype(np.uint8), (32, 32)) > 0
        mask = 2 - 8 * np.abs(image[..., 0] + 0.3) > 0
        pair = (mask & truth, mask.astype(int) + truth)
        wanted[example["case_id"].decode(), str(example["slice_index"])] = dice([pair])
    found = {
        (r["case_id"], r["slice_index"]): float(r["dice"]) for r in rows(tmp_path, "per_slice")
    }
    assert found == pytest.approx(wanted, abs=1e-6)
    assert max(found.values()) > 0.3


def test_the_protocol_is_printed_with_the_cut(tiny_run, tmp_path, capsys):
    command = ["evaluate", f"--workdir={tiny_run}", "--config.data.crop=volume", "--no-pictures"]
    for protocol, says in (("cosup", "scored"), ("semiseg", "found")):
        assert cli.main([*command, f"--protocol={protocol}", f"--out={tmp_path}"]) == 0
        assert f"lungs, outside of which nothing is {says}" in capsys.readouterr().out
    whole = [*command[:2], "--no-pictures", f"--out={tmp_path}"]
    assert cli.main(whole) == 0
    assert "slices are cut" not in capsys.readouterr().out


def looking(run, crop):
    """The run as it were with another `data.crop`."""
    config = run.config.copy_and_resolve_references()
    config.data.crop = crop
    return dataclasses.replace(run, config=config)


def most_is_lung(slices, intensity):
    return (np.arange(len(s))[:, None] >= np.full(s.shape, len(s) // 4) for s in slices)


@pytest.mark.parametrize("crop", [weights.SLICE, weights.BOTH])
def test_of_a_run_that_looks_closer_the_box_is_scored_and_it_is_said(marked, crop):
    box = evaluation.evaluate_run(marked, split="validation")
    closer = evaluation.evaluate_run(looking(marked, crop), split="validation")
    says = closer["protocol_description"]
    assert says.endswith("; predict looks closer, at each slice's own, which --as-predict scores")
    assert closer | {"protocol_description": ""} == box | {"protocol_description": ""}


def test_of_a_run_that_looks_at_mirror_images_too_it_is_said(marked):
    mirrored = evaluation.evaluate_run(looking(marked, weights.MIRRORED), split="validation")
    says = mirrored["protocol_description"]
    assert says.endswith("; predict looks at its mirror image too, which --as-predict scores")


@pytest.mark.parametrize("crop", weights.CROPS[1:])
def test_as_predict_it_is_scored_by_what_is_marked_in_the_box(marked, monkeypatch, tmp_path, crop):
    """The maps of `Segmenter`, and no mask that needs lungs, which are not looked for here."""
    marked = looking(marked, crop)
    monkeypatch.setattr(lung_network, "shipped", lambda: None)
    monkeypatch.setattr(
        lung_network, "find_each", most_is_lung if crop in chest.CLOSER else no_lung
    )
    evaluation.evaluate_product(marked, split="validation", out=tmp_path)
    wanted = as_predicted(marked, "validation")
    for row in rows(tmp_path, "per_slice"):
        prob, truth = wanted[row["case_id"], int(row["slice_index"])]
        counts = metrics.confusion((prob > 0.5)[None], truth[None])
        assert [int(row[n]) for n in counts._fields] == [int(n[0]) for n in counts]


def assert_shown(images, slices, run):
    """Each image is that of one of the slices in HU, cut to its box."""
    cut = [prepare_image(values[box], "hu", run.preprocessing)[..., 0] for values, box in slices]
    assert len(images)
    for image in images:
        assert any(np.array_equal(image, one) for one in cut)


@pytest.mark.parametrize("protocol", ["cosup", "semiseg"])
def test_classes_are_scored_and_shown_in_the_box(protocol, tiny_run, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "classes", lambda image, *_, **__: shown.append(image) or Figure())
    model = TinyNet(classes=3)
    variables = models.initialise(model, (32, 32, 1), 0)
    config = tiny_config(tiny_run.parent / "tfds", data__crop="volume")
    run = runs.Run(tmp_path / "run", config, model, variables, 1)
    summaries = evaluation.evaluate_classes(run, protocol=protocol, split="test", out=tmp_path)
    builder = datasets.open_dataset(config.data)
    boxes = pipeline.find_boxes(builder, "test", run.preprocessing, chest.VOLUME)
    predict = Predictor(model, variables, by_class=True)
    for label, name in enumerate(("ground-glass", "consolidation"), 1):
        assert "cut to the box" in summaries[name]["protocol_description"]
        found = {(r["case_id"], r["slice_index"]): r for r in rows(tmp_path / name, "per_slice")}
        for example, box in zip(builder.as_data_source(split="test"), boxes, strict=True):
            values, labels = schema.true_values(example)[..., 0], example["mask"][..., 0]
            each = predict(prepare_image(values[box], "hu", run.preprocessing)[None])[0]
            if protocol == "cosup":
                mask = each[..., label] > 0.5
                truth = resize_labels((labels[box] == label).astype(np.uint8), (32, 32)) > 0
            else:
                mask, truth = np.zeros(labels.shape, bool), labels == label
                there = mask[box]
                resized = [resize_image(each[..., i], there.shape) for i in range(3)]
                there[...] = np.argmax(resized, axis=0) == label
            row = found[example["case_id"].decode(), str(example["slice_index"])]
            assert int(row["tp"]) == (mask & truth).sum()
            assert int(row["fp"]) == (mask & ~truth).sum()
            assert int(row["fn"]) == (truth & ~mask).sum()
    pairs = zip(builder.as_data_source(split="test"), boxes, strict=True)
    assert_shown(shown[0], [(schema.true_values(e)[..., 0], box) for e, box in pairs], run)


def test_figures_show_cut_slices_and_not_beside_whole_ones(
    on_phantoms, tiny_run, monkeypatch, tmp_path
):
    shown = []
    monkeypatch.setattr(figures, "networks", lambda image, *_, **__: shown.append(image))
    gallery.draw({"cut": on_phantoms}, tmp_path)
    builder = datasets.open_dataset(on_phantoms.config.data)
    boxes = pipeline.find_boxes(builder, "test", on_phantoms.preprocessing, chest.VOLUME)
    pairs = zip(builder.as_data_source(split="test"), boxes, strict=True)
    assert_shown(shown[0], [(schema.true_values(e)[..., 0], box) for e, box in pairs], on_phantoms)
    with pytest.raises(ValueError, match=r"differ in data\.crop: 'volume' and ''"):
        gallery.draw({"cut": on_phantoms, "whole": runs.open_run(tiny_run)}, "nowhere")


def test_a_threshold_is_chosen_on_cut_slices_too(on_phantoms):
    summary = evaluation.evaluate_run(on_phantoms, tune_threshold=True)
    assert json.loads(json.dumps(summary["tuned_threshold"]))["dice"]["n"] == 8
