"""cosup-jax: COVID-19 lung infection segmentation on chest CT in JAX/Flax."""

__version__ = "0.1.0"
