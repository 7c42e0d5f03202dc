"""The threshold and the peak that weights bring along, and what is taken where they bring none."""

import dataclasses

import numpy as np
import pytest

from cosup_jax import cli, runs, weights
from cosup_jax.prediction import cohort, segment
from tests.prediction.test_weights import rewrite


@pytest.fixture(scope="module")
def file(tiny_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("threshold") / "x.safetensors"
    weights.save(path, runs.open_run(tiny_run), {}, threshold=0.3, peak=0.95)
    return path


def test_a_file_keeps_it_and_older_files_have_a_half(file, tiny_run, tmp_path):
    assert weights.load(file).threshold == 0.3
    assert weights.load_pretrained(tiny_run).threshold == 0.5
    old = rewrite(file, tmp_path / "old.safetensors", lambda _, about: about.pop("threshold"))
    assert weights.load(old).threshold == 0.5


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, float("nan"), "0.5", None, [0.5], True, 1])
def test_what_is_none_is_refused(file, tmp_path, value):
    def change(_, about):
        about["threshold"] = value

    path = rewrite(file, tmp_path / "x.safetensors", change)
    with pytest.raises(weights.WeightsError, match="threshold .*; expected a number between"):
        weights.load(path)


def test_a_file_keeps_its_peak_and_older_files_have_none(file, tiny_run, tmp_path):
    assert weights.load(file).peak == 0.95
    assert weights.load_pretrained(tiny_run).peak == 0
    old = rewrite(file, tmp_path / "old.safetensors", lambda _, about: about.pop("peak"))
    assert weights.load(old).peak == 0


@pytest.mark.parametrize("value", [1.0, -0.5, float("nan"), "0.9", None, [0.9], True])
def test_what_is_no_peak_is_refused(file, tmp_path, value):
    path = rewrite(file, tmp_path / "x.safetensors", lambda _, about: about.update({"peak": value}))
    with pytest.raises(weights.WeightsError, match="peak .*; expected a number from 0 to below 1"):
        weights.load(path)


def test_a_volume_is_cut_at_the_threshold_of_the_weights_unless_another_is_given(bright):
    volume = np.random.default_rng(0).uniform(0, 200, (2, 32, 32))
    sure = dataclasses.replace(bright, threshold=0.9)
    given = {"intensity": "grey8"}
    own = segment.segment(volume, network=sure, **given)
    same = segment.segment(volume, network=bright, threshold=0.9, **given)
    half = segment.segment(volume, network=sure, threshold=0.5, **given)
    np.testing.assert_array_equal(own, same)
    np.testing.assert_array_equal(half, segment.segment(volume, network=bright, **given))
    assert 0 < own.sum() < half.sum()


def test_predict_takes_those_of_the_weights_unless_others_are_given(file, tmp_path, monkeypatch):
    taken = []

    def process(sources, out, network, settings, share):
        taken.append((settings.threshold, settings.peak))
        return []

    monkeypatch.setattr(cohort, "process", process)
    slices = tmp_path / "scan"
    slices.mkdir()
    (slices / "a_1.png").write_bytes(b"")
    command = ["predict", str(slices), "--out", str(tmp_path / "out"), "--weights", str(file)]
    assert cli.main(command) == 0
    assert cli.main([*command, "--threshold=0.6", "--peak=0.8"]) == 0
    assert taken == [(0.3, 0.95), (0.6, 0.8)]
