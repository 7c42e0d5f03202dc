"""Marks that must hold what the network is sure of: `peak` of weights, settings and arguments."""

import dataclasses

import hypothesis
import nibabel as nib
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import ndimage

from cosup_jax.prediction import cohort, hysteresis, segment
from cosup_jax.prediction.settings import CohortError
from tests.prediction.scan_files import NETWORK, Brightest, process, scan_file


@hypothesis.given(st.integers(0, 2**32 - 1), st.floats(0.5, 1))
def test_parts_are_left_that_hold_what_is_sure(seed, peak):
    probability = np.random.default_rng(seed).random((3, 9, 11))
    masks = list(probability > 0.8)
    found = np.stack(hysteresis.holding(masks, list(probability >= peak)))
    parts, count = ndimage.label(probability > 0.8, np.ones((3, 3, 3)))
    wanted = np.zeros(found.shape, bool)
    for number in range(1, count + 1):
        wanted |= (parts == number) & (probability[parts == number].max() >= peak)
    np.testing.assert_array_equal(found, wanted)
    if peak <= 0.8:
        np.testing.assert_array_equal(found, masks)


def test_pictures_of_different_sizes_are_each_for_itself():
    masks = [np.ones((4, 4), bool), np.ones((4, 5), bool), np.zeros((3, 3), bool)]
    sure = [np.zeros((4, 4), bool), np.eye(4, 5) > 0, np.ones((3, 3), bool)]
    found = hysteresis.holding(masks, sure)
    assert [int(mask.sum()) for mask in found] == [0, 20, 0]
    assert [mask.shape for mask in found] == [(4, 4), (4, 5), (3, 3)]


class Grades(Brightest):
    """Stands for a Segmenter: one part of 0.6 to 0.96 over two slices, one of 0.6, one of 0.9."""

    def labelled(self, slices, intensity, count, boxes=None):
        for z, pixels in enumerate(slices):
            found = np.zeros(pixels.shape, np.float32)
            if z in (1, 2):
                found[:4, :4] = 0.6
            if z == 2:
                found[1, 1] = 0.96
                found[8:10, 8:10] = 0.9
                found[16:, 1:3] = 0.6
            yield found, np.ones(pixels.shape, np.uint8)

    def __call__(self, *given):
        return (found for found, _ in self.labelled(*given))


@pytest.fixture
def graded(monkeypatch):
    for module in (cohort, segment):
        monkeypatch.setattr(module, "Segmenter", Grades)


@pytest.mark.parametrize(("peak", "marked"), [(0.0, 52), (0.5, 52), (0.9, 36), (0.95, 32)])
def test_a_scan_is_marked_in_parts_that_reach_the_peak(tmp_path, graded, peak, marked):
    path = scan_file(tmp_path / "a.nii")
    (row,) = process([path], tmp_path / "out", peak=peak, unlimited=True, report=True)
    assert row["status"] == "done"
    mask = np.asarray(nib.load(tmp_path / "out/a/mask.nii.gz").dataobj)
    assert np.count_nonzero(mask) == marked
    assert f"--peak={peak}" in (tmp_path / "out/a/report.html").read_text()
    volume = nib.load(path)
    network = dataclasses.replace(NETWORK, peak=peak)
    for given in ({"network": network}, {"network": NETWORK, "peak": peak}):
        found = segment.segment(
            np.asarray(volume.dataobj), affine=volume.affine, unlimited=True, **given
        )
        np.testing.assert_array_equal(found, mask > 0)


def test_another_peak_is_another_call(tmp_path, graded):
    path = scan_file(tmp_path / "a.nii")
    rows = [process([path], tmp_path / "out", peak=p, unlimited=True)[0] for p in (0.0, 0.95)]
    assert rows[0]["settings"] != rows[1]["settings"]
    assert rows[0]["lesion_ml"] > rows[1]["lesion_ml"]


@pytest.mark.parametrize("peak", [-0.1, 1.0, float("nan")])
def test_what_no_part_can_reach_is_refused(peak):
    with pytest.raises(CohortError, match=r"--peak=.* expected a number from 0 to below 1"):
        process([], "out", peak=peak)
    with pytest.raises(ValueError, match=r"peak=.* expected a number from 0 to below 1"):
        segment.segment(np.zeros((2, 8, 8)), peak=peak)
