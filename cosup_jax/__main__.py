"""`python -m cosup_jax`, see `cosup_jax.cli`."""

import sys

from cosup_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
