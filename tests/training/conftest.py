"""What the tests of training share."""

import pytest

from cosup_jax import models
from cosup_jax.training import loop
from tests.phantoms import tiny_config
from tests.training import tiny


@pytest.fixture(autouse=True, scope="package")
def tiny_network():
    """Configurations may name the tiny network here."""
    tiny.register()
    yield
    del models._NETWORKS["tiny"]


@pytest.fixture(scope="package")
def data_dir(tmp_path_factory):
    """Where runs find the tiny phantoms; the first of them builds the dataset."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="package")
def quick_run(tiny_network, tmp_path_factory):
    """The folder of a trained run of the tiny network, without evaluation; only to be read.

    Its dataset lies in the folder `tfds` beside it.
    """
    folder = tmp_path_factory.mktemp("quick")
    config = tiny_config(folder / "tfds")
    config.model = tiny.TINY
    loop.train_seeds(config, [config.seed], [folder / "run"])
    return folder / "run"
