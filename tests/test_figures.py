"""Pictures: the right colour at the right pixel, and figures that say what they show."""

import numpy as np
import pytest
from PIL import Image

from cosup_jax import figures

pytestmark = pytest.mark.usefixtures("drawn")
RNG = np.random.default_rng(0)
IMAGE = RNG.random((2, 16, 16))
TRUTH = IMAGE > 0.5
ROWS = ("case a\nslice 1", "case b\nslice 2")


def words(figure):
    """All that is written on a figure."""
    figure.draw_without_rendering()
    found = [t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return "\n".join(found)


def shown(figure, row, column):
    """The picture in one place of a grid of two rows."""
    axes = [axis for axis in figure.axes if axis.images]
    return np.asarray(axes[row * (len(axes) // 2) + column].images[0].get_array())


def test_overlay_colours_agreement_misses_and_false_alarms():
    image = np.zeros((2, 2), np.float32)
    prediction = np.array([[True, False], [True, False]])
    truth = np.array([[True, True], [False, False]])
    picture = figures.overlay(image, prediction, truth).astype(float) / 255
    expected = [[figures.AGREED, figures.MISSED], [figures.FALSE, (0, 0, 0)]]
    np.testing.assert_allclose(picture, 0.5 * np.asarray(expected), atol=0.01)


def test_a_constant_image_is_drawn():
    assert np.isfinite(figures.grey(np.full((4, 4), 3.0))).all()


def test_overlays_have_a_row_for_each_slice():
    case = {"title": "worst", "image": IMAGE[0], "prediction": ~TRUTH[0], "truth": TRUTH[0]}
    figure = figures.overlays([case, {**case, "title": "best"}])
    for word in ("worst", "best", "found", "missed", "false alarm"):
        assert word in words(figure)
    np.testing.assert_array_equal(shown(figure, 1, 1), TRUTH[0])


def test_figure_6_has_a_column_for_each_network():
    predictions = {"U-Net": ~TRUTH, "C2F": TRUTH}
    scores = {"U-Net": [0.0, 0.0], "C2F": [1.0, 0.99]}
    figure = figures.networks(IMAGE, predictions, TRUTH, rows=ROWS, scores=scores)
    assert all(word in words(figure) for word in ("U-Net", "C2F", "Dice 0.99", *ROWS, "truth"))
    np.testing.assert_array_equal(
        shown(figure, 1, 2), figures.overlay(IMAGE[1], TRUTH[1], TRUTH[1])
    )
    np.testing.assert_array_equal(shown(figure, 1, 3), TRUTH[1])


def test_figure_7_has_a_column_for_each_stage():
    maps = {"S1 (edge)": IMAGE, "S5 (mask)": 1 - IMAGE}
    figure = figures.stages(IMAGE, maps, ~TRUTH, TRUTH, rows=ROWS)
    assert all(word in words(figure) for word in (*maps, "edge truth", "mask truth"))
    np.testing.assert_allclose(shown(figure, 0, 2), 1 - IMAGE[0], rtol=1e-6)
    np.testing.assert_array_equal(shown(figure, 0, 3), ~TRUTH[0])


def test_figure_8_shows_confidence_and_its_complement():
    maps = {"P1": IMAGE, "Y1": IMAGE * 30 - 9, "Sp": IMAGE**2}
    figure = figures.fusion(IMAGE, maps, TRUTH, rows=ROWS)
    np.testing.assert_allclose(shown(figure, 1, 1) + shown(figure, 1, 2), 1, rtol=1e-6)
    np.testing.assert_allclose(shown(figure, 1, 4), IMAGE[1] ** 2, rtol=1e-6)


def test_learning_curves_name_runs_where_there_are_several():
    rows = [
        {"epoch": e, **{f"{p}/{m}": e for p in ("train", "validation") for m in ("loss", "dice")}}
        for e in (1, 2)
    ]
    assert "seed0, validation" in words(figures.learning_curves({"seed0": rows, "seed1": rows}))
    assert "seed0" not in words(figures.learning_curves({"seed0": rows}))


def test_dice_by_size_counts_slices_and_leaves_out_those_without_infection():
    share = np.array([0.0, 0.1, 0.2, 0.25, 3.0, 20.0])
    runs = {"a": (share, share / 20), "b": (share, 1 - share / 20)}
    written = words(figures.dice_by_size(runs))
    assert "up to 0.25 %\n3 slices" in written
    assert "1 to 4 %\n1 slice" in written
    assert "over 4 %\n1 slice" in written
    assert "0.25 to 1 %" not in written


def test_calibration_leaves_out_empty_bins():
    nan = np.nan
    found = (np.array([0.1, nan, 0.9]), np.array([0.0, nan, 1.0]), np.array([5, 0, 5]), 0.1)
    figure = figures.calibration({"run": found})
    assert "run, ECE 0.1000" in words(figure)
    curve = figure.axes[0].lines[-1]
    np.testing.assert_allclose(curve.get_xydata(), [[0.1, 0.0], [0.9, 1.0]])


@pytest.mark.parametrize("suffixes", [(".png",), (".png", ".pdf")])
def test_files_are_written_and_are_the_same_again(tmp_path, suffixes):
    maps = {"P1": IMAGE, "Y1": IMAGE, "Sp": IMAGE}
    for name in ("once", "again"):
        figure = figures.fusion(IMAGE, maps, TRUTH, rows=ROWS)
        figures.save(figure, tmp_path / "new" / name, suffixes)
    assert len(list((tmp_path / "new").iterdir())) == 2 * len(suffixes)
    for suffix in suffixes:
        once, again = (tmp_path / "new" / f"{name}{suffix}" for name in ("once", "again"))
        assert once.read_bytes() == again.read_bytes()
    with Image.open(tmp_path / "new" / "once.png") as picture:
        assert np.asarray(picture).std() > 1
