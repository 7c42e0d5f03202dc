"""What the tests of prediction share: a network whose masks are known, and a trained one."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import ndimage

from cosup_jax import phantom, weights
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.models import SegOutput
from cosup_jax.prediction import cohort
from cosup_jax.weights import lung_network
from tests.prediction.scan_files import Brightest, no_lung


class Bright(nn.Module):
    """Takes for infection whatever is brighter than the mean of its slice."""

    @nn.compact
    def __call__(self, x, train):
        return SegOutput(logits=4 * jnp.asarray(x))


@pytest.fixture(scope="session")
def bright():
    """A network that needs no training, for slices of 32 × 32."""
    return weights.Pretrained(
        "bright", Bright(), {"params": {}}, Preprocessing((32, 32)), "0" * 64, {}
    )


@pytest.fixture(autouse=True)
def by_air(monkeypatch):
    """Lungs are found by their air alone, which needs no network compiled."""
    monkeypatch.setattr(lung_network, "shipped", lambda: None)
    monkeypatch.setattr(lung_network, "find_each", no_lung)


@pytest.fixture
def fake(monkeypatch):
    """Predicts with `Brightest` in place of a network."""
    monkeypatch.setattr(cohort, "Segmenter", Brightest)


@pytest.fixture
def chest():
    """A phantom; its marks, and the same with a speck far from the lungs."""
    patient = phantom.draw_volume(3, size=96, slices=16, infected=True)
    far = ndimage.distance_transform_edt(patient.lung == 0, sampling=patient.spacing)
    far[(patient.image < -250) | (far > 40)] = 0  # somewhere in the body
    marks = patient.mask > 0
    marks[np.unravel_index(far.argmax(), far.shape)] = True
    return patient, patient.mask > 0, marks
