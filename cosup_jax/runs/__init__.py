"""What a run leaves in its folder, and how it is opened again."""

from cosup_jax.runs.run import (
    CONFIG,
    DATA,
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
    "Run",
    "build_model",
    "open_run",
    "own",
    "preprocessing",
    "read_config",
]
