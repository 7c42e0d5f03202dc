"""What the tests of training share."""

import pytest

from cosup_jax import models
from tests.training import tiny


@pytest.fixture(autouse=True, scope="package")
def tiny_network():
    """Configurations may name the tiny network here."""
    tiny.register()
    yield
    del models._NETWORKS["tiny"]
