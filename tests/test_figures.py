"""Pictures: the right colour at the right pixel, and files that open."""

import numpy as np
import pytest
from PIL import Image

from cosup_jax import figures


def test_overlay_colours_agreement_misses_and_false_alarms():
    image = np.zeros((2, 2), np.float32)
    prediction = np.array([[True, False], [True, False]])
    truth = np.array([[True, True], [False, False]])
    picture = figures.overlay(image, prediction, truth).astype(float) / 255
    expected = [[figures.AGREED, figures.MISSED], [figures.FALSE, (0, 0, 0)]]
    np.testing.assert_allclose(picture, 0.5 * np.asarray(expected), atol=0.01)


def test_a_constant_image_is_drawn():
    assert np.isfinite(figures.grey(np.full((4, 4), 3.0))).all()


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return {name: rng.random((2, 16, 16)) for name in ("P1", "Y1", "Sp")}


def test_files_are_written(tmp_path, maps):
    image, truth = maps["Sp"], maps["Sp"] > 0.5
    case = {"title": "a", "image": image[0], "prediction": ~truth[0], "truth": truth[0]}
    figures.save_overlays([case, case], tmp_path / "overlays.png")
    figures.save_fusion_panel(image, maps, truth, tmp_path / "fusion.png")
    rows = [
        {"epoch": e, **{f"{p}/{m}": e for p in ("train", "validation") for m in ("loss", "dice")}}
        for e in (1, 2)
    ]
    figures.save_learning_curve(rows, tmp_path / "curve.png")
    for name in ("overlays", "fusion", "curve"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 200
            assert np.asarray(picture).std() > 1
