"""What the tests of prediction share: a network whose masks are known, and a trained one."""

import jax.numpy as jnp
import pytest
from flax import linen as nn

from cosup_jax import weights
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.models import SegOutput
from cosup_jax.prediction import cohort, lung_network
from tests.prediction.scan_files import Brightest


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


@pytest.fixture
def fake(monkeypatch):
    """Predicts with `Brightest` in place of a network."""
    monkeypatch.setattr(cohort, "Segmenter", Brightest)
