"""`python -m cosup_jax`, see `cosup_jax.cli`."""

import sys

from cosup_jax import signals

if __name__ == "__main__":
    signals.catch()  # before what takes longer to import

from cosup_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
