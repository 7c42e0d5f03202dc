"""What several tests of data read."""

import pytest

from cosup_jax.data import datasets


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """The tiny dataset of generated chests, built; nobody changes it."""
    data_dir = str(tmp_path_factory.mktemp("tfds"))
    builder = datasets.make_builder("lung_phantom", config="tiny", data_dir=data_dir)
    datasets.prepare(builder)
    return builder
