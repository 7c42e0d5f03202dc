"""`cosup` and `python -m cosup_jax`, see `cosup_jax.cli`."""

import sys

from cosup_jax import signals


def cosup(program: str = "cosup") -> int:
    """Runs the command line of this process and returns its exit status."""
    signals.catch()  # before what takes longer to import
    from cosup_jax.cli import main

    return main(program=program)


if __name__ == "__main__":
    sys.exit(cosup("python -m cosup_jax"))
