"""A tiny run on tiny phantoms, shared by the tests that need the whole loop."""

from pathlib import Path

from cosup_jax import config as configuration

CONFIGS = Path(__file__).parents[1] / "configs"


def tiny_config(data_dir, **changes):
    """Returns a configuration that trains in seconds; `changes` are dotted fields."""
    config = configuration.load(str(CONFIGS / "quickstart.py"))
    config.data.config = "tiny"
    config.data.data_dir = str(data_dir)
    config.data.size = (32, 32)
    config.model.width = 4
    config.batch_size = 4
    config.epochs = 2
    config.devices = 1
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config
