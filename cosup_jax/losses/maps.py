"""What the losses of one class share: which maps fit, and what a pixel of a target means."""

import jax
import jax.numpy as jnp


def check_maps(logits: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> None:
    """Refuses what is not a batch of logits with a target, and a weight for each slice.

    Raises:
      ValueError: other shapes than (B, H, W, 1), twice, and (B,).
    """
    if logits.shape != target.shape or logits.ndim != 4 or logits.shape[-1] != 1:
        raise ValueError(
            f"logits of shape {logits.shape} and target of shape {target.shape}: both must be the "
            "same (B, H, W, 1)"
        )
    if weights is not None and weights.shape != logits.shape[:1]:
        raise ValueError(
            f"weights of shape {weights.shape}, but the batch has {logits.shape[0]} slices"
        )


def as_truth(target: jax.Array) -> jax.Array:
    """Returns a target as float32: of bool and whole numbers, not zero is 1, as in `metrics`.

    So a mask of 0 and 255 is the mask of 0 and 1. Floating targets may be soft, and are kept but
    for what is above 1, which is 1.

    Example:
      >>> as_truth(jnp.array([0, 1, 255])).tolist(), as_truth(jnp.array([0, 0.5, 255])).tolist()
      ([0.0, 1.0, 1.0], [0.0, 0.5, 1.0])
    """
    target = jnp.asarray(target)
    if not jnp.issubdtype(target.dtype, jnp.floating):
        return target.astype(bool).astype(jnp.float32)
    return jnp.minimum(target.astype(jnp.float32), 1)
