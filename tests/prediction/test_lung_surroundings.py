"""Air that is no lung, and lungs that are cut, shut in or dense: right to 2 %, or a reason."""

import numpy as np
import pytest

from cosup_jax import phantom
from cosup_jax.prediction import lungs
from cosup_jax.prediction.lung_tissue import LungError, NoLungsError

SIZE = 96


@pytest.fixture(scope="module")
def patient():
    return phantom.draw_volume(3, size=SIZE, slices=20, infected=False)


def check(found, truth):
    volume = np.count_nonzero(found.labels) / np.count_nonzero(truth)
    assert volume == pytest.approx(1, abs=0.02)
    overlap = np.count_nonzero((found.labels > 0) & (truth > 0))
    assert overlap > 0.96 * np.count_nonzero(truth)


def rings(image, gap, thick):
    """Where a shell as the body's outline lies around it, `gap` pixels away."""
    body = (image > -200).any(0)
    rows, columns = (np.flatnonzero(body.any(axis)) for axis in (1, 0))
    y, x = np.mgrid[:SIZE, :SIZE]
    y, x = y - (rows[0] + rows[-1]) / 2, x - (columns[0] + columns[-1]) / 2
    half = np.ptp(rows) / 2, np.ptp(columns) / 2
    inner, outer = (
        (y / (half[0] + grown)) ** 2 + (x / (half[1] + grown)) ** 2 for grown in (gap, gap + thick)
    )
    return (inner >= 1) & (outer < 1) & (image.max(0) < -300)


@pytest.mark.parametrize("gap", [1, 3, 5])
@pytest.mark.parametrize("fabric", [-100, -700])
def test_air_and_fabric_of_a_blanket_are_no_lung(patient, gap, fabric):
    image = patient.image.copy()
    shell = rings(image, gap, 2)
    noise = np.random.default_rng(0).normal(fabric, 60, (len(image), shell.sum()))
    image[:, shell] = noise.astype(np.int16)
    found = lungs.find(image, patient.spacing)
    assert found.apart
    check(found, patient.lung)


@pytest.mark.parametrize("fill", [-3024, -1024, -1000, 0])
def test_lungs_are_found_in_a_field_that_cuts_them(patient, fill):
    y, x = np.nonzero((patient.lung > 0).any(0))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    outside = np.hypot(rows - y.mean(), columns - x.mean()) > 0.9 * np.ptp(x) / 2
    image, lung = patient.image.copy(), patient.lung.copy()
    image[:, outside], lung[:, outside] = fill, 0
    check(lungs.find(image, patient.spacing), lung)


@pytest.mark.parametrize("margin", [6, 0, -3])
def test_lungs_that_touch_the_pictures_border_are_those_in_the_picture(patient, margin):
    _, y, x = np.nonzero(patient.lung)
    crop = np.s_[
        :,
        max(0, y.min() - margin) : y.max() + 1 + margin,
        max(0, x.min() - margin) : x.max() + 1 + margin,
    ]
    found = lungs.find(patient.image[crop], patient.spacing)
    assert found.apart
    check(found, patient.lung[crop])


def test_a_bubble_in_the_stomach_is_no_lung(patient):
    z, y, x = np.ogrid[: len(patient.image), :SIZE, :SIZE]
    bubble = ((z - 2) / 3) ** 2 + ((y - 40) / 9) ** 2 + ((x - 56) / 10) ** 2 < 1
    image, lung = patient.image.copy(), patient.lung.copy()
    image[bubble] = np.random.default_rng(0).normal(-1000, 20, bubble.sum())
    lung[bubble] = 0
    check(lungs.find(image, patient.spacing), lung)


@pytest.mark.parametrize("side", [lungs.LEFT, lungs.RIGHT])
def test_where_one_lung_is_dense_there_is_no_volume(patient, side):
    image = np.where(patient.lung == side, np.int16(30), patient.image)
    with pytest.raises(LungError, match="one lung only") as error:
        lungs.find(image, patient.spacing)
    assert not isinstance(error.value, NoLungsError)


def ellipse(shape, centre, radii, depth=None):
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2
    height = np.zeros(z.shape) if depth is None else ((z - shape[0] / 2) / depth) ** 2
    return inside + height < 1


def abdomen(gas):
    shape = 30, 96, 96
    image = np.where(ellipse(shape, (48, 48), (32, 42)), 45.0, -1000.0)
    bubbles = ellipse(shape, (38, 30), (9, 10), 9) | ellipse(shape, (38, 66), (8, 10), 9)
    return np.where(bubbles, gas, image)


def on_a_mattress():
    image = abdomen(45.0)
    foam = np.zeros(image.shape, bool)
    foam[:, 80:88] = True
    texture = np.random.default_rng(1).normal(-850, 60, image.shape)
    image = np.where(foam & (image < -500), texture, image)
    image[:, 88:90] = 100  # the table
    return image


def legs():
    image = np.full((30, 96, 96), -1000.0)
    for column in (30, 68):
        image[ellipse(image.shape, (48, column), (19, 19))] = 45
    image[:, 26:29, 15:83] = image[:, 67:70, 15:83] = 20
    return image


@pytest.mark.parametrize(
    "image",
    [abdomen(-1000.0), abdomen(-930.0), abdomen(-850.0), on_a_mattress(), legs()],
    ids=["gas", "dense gas", "gas as dense as lung", "mattress", "legs"],
)
def test_air_elsewhere_is_no_lung(image):
    noisy = image + np.random.default_rng(0).normal(0, 15, image.shape)
    with pytest.raises(NoLungsError, match="no lungs found"):
        lungs.find(noisy.astype(np.int16), (5.0, 3.5, 3.5))
