"""What a run leaves in its folder, and how it is opened again."""

from cosup_jax.runs.data import DATA, PEOPLE, read_data
from cosup_jax.runs.run import (
    CONFIG,
    Run,
    build_model,
    open_run,
    own,
    preprocessing,
    read_config,
)

__all__ = [
    "CONFIG",
    "DATA",
    "PEOPLE",
    "Run",
    "build_model",
    "open_run",
    "own",
    "preprocessing",
    "read_config",
    "read_data",
]
