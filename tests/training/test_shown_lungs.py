"""Runs whose network is shown where lung is: what they see, and what is known of them later."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from cosup_jax import cli, evaluation, runs, weights
from cosup_jax.data import chest, preprocess, schema, shown_lungs
from cosup_jax.data.preprocess import prepare_image
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.training import loop
from cosup_jax.training.setup import RunMismatch, check_config, make_setup
from cosup_jax.weights import lung_network
from cosup_jax.weights.predictor import Predictor
from tests.phantoms import tiny_config
from tests.training import tiny


def configured(data_dir, **changes):
    made = tiny_config(data_dir, **{"data__lungs": True, "data__crop": "volume"} | changes)
    made.model = tiny.TINY
    return made


@pytest.fixture(scope="module")
def shown_run(data_dir, tmp_path_factory):
    """The folder of a run that was shown lungs; only to be read."""
    folder = tmp_path_factory.mktemp("shown") / "run"
    made = configured(data_dir)
    loop.train_seeds(made, [made.seed], [folder])
    return folder


def test_predict_shows_the_network_what_it_was_trained_on(shown_run, data_dir, tmp_path):
    network = weights.load_pretrained(shown_run)
    setup = make_setup(configured(data_dir), tmp_path)
    segmenter, predict = Segmenter(network), Predictor(network.model, network.variables)
    opened, examples = setup.open("validation"), setup.builder.as_data_source(split="validation")
    slices = {}
    for prepared, example in zip(opened, examples, strict=True):
        values = schema.true_values(example)[..., 0]
        lung = chest.touching(lung_network.find_in(values, "hu"))
        slices.setdefault(prepared["case_id"], []).append((values, lung, prepared["image"]))
    shown = []
    for case in slices.values():
        boxes = segmenter.boxes([values for values, *_ in case], "hu")
        found = segmenter([values for values, *_ in case], "hu", len(case), boxes)
        for (values, lung, image), (box,), prob in zip(case, boxes, found, strict=True):
            grey = preprocess.apply_window(values, network.preprocessing.window)
            dark = np.where(lung, grey, grey / 2)[box].astype(np.float32)
            wanted = preprocess.z_score(preprocess.resize_image(dark, (32, 32)))
            np.testing.assert_allclose(image[..., 0], wanted, atol=1e-5)
            there = preprocess.resize_image(predict(image[None])[0], values[box].shape)
            np.testing.assert_allclose(prob[box], there, atol=1e-5)
            shown.append(lung[box].mean())
    assert 0.1 < np.mean(shown) < 0.9


def flat(grey):
    """What OpenCV's equalizeHist makes of (H, W) grey values, uint8."""
    counts = np.bincount(grey.ravel(), minlength=256)
    below = np.cumsum(counts)
    first = below[np.flatnonzero(counts)[0]]
    return np.round(255 * (below - first) / (grey.size - first))[grey].astype(np.float32)


def windowed_slice():
    """Air, a body, and lungs in it at an eighth of the body's grey values, (96, 96) uint8."""
    grey = np.random.default_rng(0).integers(0, 40, (96, 96))
    grey[16:80, 8:88] = np.random.default_rng(1).integers(180, 250, (64, 80))
    lung = np.zeros((96, 96), bool)
    lung[24:72, 16:80] = True
    grey[lung] = np.random.default_rng(2).integers(25, 75, lung.sum())
    return grey.astype(np.uint8), lung


def test_what_pillow_makes_flat_is_known_as_such():
    grey, lung = windowed_slice()
    made = np.asarray(ImageOps.equalize(Image.fromarray(grey))).astype(np.float32)
    assert shown_lungs.has_flat_histogram(made)
    found = shown_lungs.unflattened(made, lung)
    np.testing.assert_allclose(np.percentile(found[lung], 10), 0.16 * 255, rtol=0.01)


def test_of_a_flat_histogram_lungs_are_made_as_dark_as_a_window_leaves_them():
    grey, lung = windowed_slice()
    made = flat(grey)
    assert np.percentile(made[lung], 10) > 0.3 * 255
    assert shown_lungs.has_flat_histogram(made)
    found = shown_lungs.unflattened(made, lung)
    np.testing.assert_allclose(np.percentile(found[lung], 10), 0.16 * 255, rtol=0.01)
    assert (np.diff(found.ravel()[np.argsort(made, axis=None)]) >= 0).all()  # none changes place
    assert (found.min(), found.max()) == (0, 255)
    np.testing.assert_allclose(shown_lungs.unflattened(made / 255, lung), found / 255, atol=1e-5)
    assert shown_lungs.unflattened(made, np.zeros_like(lung)) is made
    windowed = grey.astype(np.float32)
    assert not shown_lungs.has_flat_histogram(windowed)
    assert shown_lungs.unflattened(windowed, lung) is windowed


def test_predict_and_training_bend_a_flat_histogram_and_no_hu(shown_run, monkeypatch):
    grey, lung = windowed_slice()
    monkeypatch.setattr(lung_network, "find_each", lambda s, _: [lung for _ in s])
    network = weights.load_pretrained(shown_run)
    shown = []
    monkeypatch.setattr(
        "cosup_jax.prediction.segmenter.prepare_image",
        lambda values, *rest: shown.append(values) or prepare_image(values, *rest),
    )
    made, whole = flat(grey), [(np.s_[:, :],)]
    for intensity in ("grey8", "hu"):
        list(Segmenter(network)(iter([made]), intensity, 1, whole))
    np.testing.assert_array_equal(shown[0], shown_lungs.unflattened(made, lung))
    np.testing.assert_array_equal(shown[1], made)
    example = {
        "image": made.astype(np.int16)[..., None],
        "mask": np.zeros((96, 96, 1), np.uint8),
        **{"has_mask": True, "case_id": b"a", "patient_id": b"p", "slice_index": 0},
        **{"intensity": schema.INTENSITIES.index("grey8")},
        **{"rescale_slope": 1.0, "rescale_intercept": 0.0},
    }
    prepared = preprocess.prepare_example(example, network.preprocessing, lungs=lambda *_: lung)
    wanted = shown_lungs.unflattened(made.astype(np.int16).astype(np.float32), lung)
    np.testing.assert_allclose(
        prepared["image"],
        prepare_image(wanted, "grey8", network.preprocessing, chest.touching(lung)),
        atol=1e-6,
    )


@pytest.mark.parametrize("protocol", ["cosup", "semiseg"])
def test_it_is_scored_by_what_it_is_shown(shown_run, data_dir, protocol):
    run = runs.open_run(shown_run)
    scored = evaluation.evaluate_run(run, protocol=protocol, split="validation")
    plain = runs.open_run(shown_run, ["--config.data.lungs=False"])
    assert (
        scored["mae"]
        != evaluation.evaluate_run(plain, protocol=protocol, split="validation")["mae"]
    )
    row = json.loads((shown_run / "metrics.jsonl").read_text().splitlines()[run.epoch - 1])
    if protocol == "cosup":
        assert scored["dice"]["mean"] == pytest.approx(row["validation/dice"], abs=1e-5)


def test_the_run_says_so_and_what_is_made_of_it(shown_run, tmp_path):
    assert weights.load_pretrained(shown_run).preprocessing.lungs
    command = ["--workdir", str(shown_run), "--out"]
    assert cli.main(["export_weights", *command, str(tmp_path / "w.safetensors")]) == 0
    assert weights.load(tmp_path / "w.safetensors").preprocessing.lungs
    assert cli.main(["export", *command, str(tmp_path / "p.stablehlo")]) == 0
    assert json.loads((tmp_path / "p.stablehlo.json").read_text())["preprocessing"]["lungs"]


def test_a_run_does_not_go_on_without_them(shown_run, data_dir):
    assert check_config(configured(data_dir), shown_run)
    with pytest.raises(RunMismatch, match=r"differing in data\.lungs\)"):
        check_config(configured(data_dir, data__lungs=False), shown_run)


def test_a_network_that_is_shown_lungs_takes_no_slice_without_them():
    settings = preprocess.Preprocessing((16, 16), lungs=True)
    with pytest.raises(ValueError, match="give the lungs of the slice"):
        prepare_image(np.zeros((16, 16), np.float32), "hu", settings)


@pytest.mark.parametrize(("darkest", "beyond"), [(0.0, 50.0), (-20.0, 40.0)])
def test_what_lies_beyond_is_half_as_bright(darkest, beyond):
    grey = np.array([[darkest, 100.0, 100.0]], np.float32)
    lung = np.array([[False, True, False]])
    assert shown_lungs.darkened(grey, lung).tolist() == [[darkest, 100.0, beyond]]
