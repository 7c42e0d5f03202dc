"""The commands of `python -m cosup_jax`, one module each; see `cosup_jax.cli`."""
