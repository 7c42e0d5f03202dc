"""The classical lung mask: on phantoms with known lungs, and where there are none."""

import numpy as np
import pytest

from cosup_jax import phantom
from cosup_jax.prediction import lungs
from cosup_jax.prediction.lung_tissue import LungError, NoLungsError


def overlap(found, truth):
    """Dice of two masks."""
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))


@pytest.fixture(scope="module")
def patient():
    return phantom.draw_volume(0, size=128, slices=16, infected=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("infected", [True, False])
def test_lungs_of_phantoms_are_found_and_told_apart(seed, infected):
    volume = phantom.draw_volume(seed, size=96, slices=16, infected=infected)
    found = lungs.find(volume.image, volume.spacing)
    assert found.apart
    assert found.labels.shape == volume.image.shape
    assert overlap(found.labels == lungs.LEFT, volume.lung == 1) > 0.9
    assert overlap(found.labels == lungs.RIGHT, volume.lung == 2) > 0.9
    ratio = np.count_nonzero(found.labels) / np.count_nonzero(volume.lung)
    assert 0.95 < ratio < 1.05


def test_thin_slices_and_small_pixels_are_worked_out_on_a_coarser_grid(patient):
    fine = patient.image.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    spacing = tuple(side / 2 for side in patient.spacing)
    coarse = lungs.find(patient.image, patient.spacing)
    found = lungs.find(fine[:, :255, :253], spacing)
    assert found.labels.shape == (32, 255, 253)
    plain = coarse.labels[:, :126, :126] > 0
    assert overlap(found.labels[::2, ::2, ::2][:, :126, :126] > 0, plain) > 0.97


def test_a_mirrored_patient_has_mirrored_lungs(patient):
    found = lungs.find(patient.image, patient.spacing).labels
    mirrored = lungs.find(patient.image[..., ::-1], patient.spacing).labels[..., ::-1]
    assert overlap(found == lungs.LEFT, mirrored == lungs.RIGHT) > 0.98


def test_air_around_the_body_whatever_its_value_is_no_lung(patient):
    padded = np.pad(patient.image, [(0, 0), (12, 12), (12, 12)], constant_values=-3024)
    found = lungs.find(padded, patient.spacing).labels
    plain = lungs.find(patient.image, patient.spacing).labels
    assert overlap(found[:, 12:-12, 12:-12] > 0, plain > 0) > 0.99
    assert not found[:, :12].any()


def test_lungs_that_hang_together_are_one(patient):
    joined = patient.image.copy()
    cavity = patient.lung > 0
    rows, columns = np.nonzero(cavity.any(0))
    middle = slice(columns.min() + 5, columns.max() - 5)
    joined[4:12, rows.min() + 8 : rows.max() - 8, middle] = -850
    found = lungs.find(joined, patient.spacing)
    assert not found.apart
    assert set(np.unique(found.labels)) == {0, lungs.EITHER}


BLOCK = np.full((16, 64, 64), 40, np.int16)


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        (lambda image: np.full_like(image, -1000), NoLungsError, "only small pockets of air"),
        (lambda image: np.maximum(image, -100), NoLungsError, "no air in the picture"),
        (lambda image: image, LungError, "mm, is too small"),
        (lambda image: np.where(image > -250, image + 600, image), LungError, "odd contrast"),
    ],
)
def test_where_there_are_none_it_is_said_why(patient, change, kind, reason):
    spacing = (patient.spacing[0], 0.75, 0.75) if "mm" in reason else patient.spacing
    with pytest.raises(LungError, match=reason) as error:
        lungs.find(change(patient.image), spacing)
    assert type(error.value) is kind


def test_slices_smaller_than_a_coarse_voxel_are_refused():
    with pytest.raises(LungError, match="slices of 64 × 2 pixels"):
        lungs.find(BLOCK[:, :2], (2.0, 0.5, 0.5))


def test_a_bubble_of_air_is_no_lung():
    bubble = BLOCK.copy()
    bubble[2:6, 28:36, 28:36] = -900
    with pytest.raises(NoLungsError, match="none of a lung|only small pockets of air"):
        lungs.find(bubble, (2.0, 2.0, 2.0))


def test_too_low_a_stack_does_not_say_that_there_are_none():
    with pytest.raises(LungError, match="in a stack of 5.0 mm") as error:
        lungs.find(np.where(np.arange(64) < 9, -1000, BLOCK)[:1], (5.0, 2.0, 2.0))
    assert not isinstance(error.value, NoLungsError)


def test_near_the_lungs_is_measured_in_mm():
    labels = np.zeros((9, 20, 20), np.uint8)
    labels[4, 10, 10] = 1
    near = lungs.reach(labels, (4.0, 2.0, 2.0), 5.0)
    assert near[3, 10, 10]
    assert near[4, 10, 12]
    assert not near[2, 10, 10]
    assert not near[4, 10, 13]
    assert near.sum() == 1 + 20 + 2 * 9 - 0 - 0
