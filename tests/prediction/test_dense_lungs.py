"""Lungs by their air and by a network together, which here is one that knows the truth."""

import numpy as np
import pytest

from cosup_jax import phantom
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.prediction import lungs
from cosup_jax.prediction.lung_tissue import LungError, NoLungsError
from cosup_jax.weights import lung_network

SPACING = (5.0, 3.5, 3.5)  # coarse already, so that a network sees the volume as it is


@pytest.fixture(scope="module")
def patient():
    volume = phantom.draw_volume(3, size=96, slices=20, infected=False)
    assert min(volume.spacing) > 2
    return volume


@pytest.fixture(scope="module")
def lower_back(patient):
    """The back of the lower half of the patient's left lung."""
    left = patient.lung == 1
    rows = np.flatnonzero(left.any((0, 2)))
    part = left.copy()
    part[10:] = False
    part[:, : rows[len(rows) // 2]] = False
    return part


def dense(patient, part):
    return np.where(part, np.int16(30), patient.image)


def knows(truth):
    return lambda coarse, sides: truth.copy()


def volume_of(found):
    return np.count_nonzero(found.labels)


def test_a_dense_part_is_lung_by_the_network(patient, lower_back):
    image, truth = dense(patient, lower_back), patient.lung > 0
    by_air = lungs.find(image, patient.spacing)
    found = lungs.find(image, patient.spacing, knows(truth))
    assert volume_of(by_air) < 0.95 * truth.sum()
    assert volume_of(found) == pytest.approx(truth.sum(), rel=0.02)
    voxel_ml = np.prod(patient.spacing) / 1000
    assert found.dense_ml == pytest.approx((volume_of(found) - volume_of(by_air)) * voxel_ml)
    assert by_air.dense_ml == 0
    assert (found.labels[lower_back] == lungs.LEFT).mean() > 0.9


@pytest.mark.parametrize("grown", [1, -1])
def test_another_border_of_the_network_changes_nothing(patient, grown):
    truth = patient.lung > 0
    moved = np.roll(truth, grown, 2) | truth if grown > 0 else np.roll(truth, grown, 2) & truth
    found = lungs.find(patient.image, patient.spacing, knows(moved))
    np.testing.assert_array_equal(found.labels, lungs.find(patient.image, patient.spacing).labels)
    assert found.dense_ml == 0


def test_what_does_not_touch_the_lungs_is_left_out(patient):
    truth = patient.lung > 0
    liver = truth.copy()
    liver[:, :8, :8] = True
    found = lungs.find(patient.image, patient.spacing, knows(liver))
    assert not found.labels[:, :8, :8].any()


def test_where_the_network_misses_a_lung_nothing_is_told(patient):
    with pytest.raises(LungError, match=r"a network takes \d+ % of what looks like lung for"):
        lungs.find(patient.image, patient.spacing, knows(patient.lung == lungs.LEFT))


def test_without_air_there_are_none_whatever_a_network_says(patient):
    with pytest.raises(NoLungsError, match="no air"):
        lungs.find(np.maximum(patient.image, -100), patient.spacing, knows(patient.lung > 0))


def test_the_extent_is_that_of_air_and_network_together(patient):
    """A base without air in a slice: the network alone shows lung there."""
    image = patient.image.copy()
    image[:4] = np.maximum(image[:4], 20)
    truth = patient.lung > 0
    found = lungs.find(image, patient.spacing, knows(truth))
    assert found.extent is not None
    shown = np.flatnonzero(truth.sum((1, 2)) * np.prod(patient.spacing[1:]) >= 100)
    assert found.extent == (shown[0], shown[-1])
    assert lungs.find(image, patient.spacing).extent is None


class Shown:
    """Says of each pixel whether it is bright, and counts what it was shown."""

    def __init__(self):
        self.shown = []
        made = lung_network.LungNetwork.__new__(lung_network.LungNetwork)
        made._settings, made.threshold = Preprocessing((64, 64)), 0.5
        made._predictor = self._predict
        self.network = made

    def _predict(self, images):
        self.shown.append(images.shape)
        return (images[..., 0] > 0).astype(np.float32)


def test_slices_between_are_as_the_one_before_them():
    fake = Shown()
    volume = np.zeros((21, 64, 64), np.float32)
    volume[:10, :30] = 500
    volume[10:, 30:] = 500
    found = fake.network(volume, (2.5, 2.5, 2.5))
    assert fake.shown == [(8, 64, 64, 1)] * 2
    np.testing.assert_array_equal(found, volume > 0)
    fake.network(volume, (7.0, 2.5, 2.5))
    assert len(fake.shown) == 2 + 3
