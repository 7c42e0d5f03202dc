"""From prepared slices to probabilities, with a network and its weights."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cosup_jax.models.output import SegOutput

_FLIPS = ((), (2,), (1,), (1, 2))  # axes of (B, H, W, 1)


def make_predictor(
    model: nn.Module, variables: Mapping[str, Any], *, tta: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from slices to the probability of infection.

    Args:
      model: a network of `cosup_jax.models`.
      variables: `{"params": …, "batch_stats": …}`.
      tta: average the probabilities over the four flips of each slice (test-time augmentation).

    Returns:
      A function of (B, H, W, 1) float32 slices, prepared as the network was trained, that returns
      (B, H, W) float32 probabilities σ(S_p). It compiles once for each shape.
    """
    placed = jax.device_put(dict(variables))

    @jax.jit
    def probabilities(variables: Mapping[str, Any], image: jax.Array) -> jax.Array:
        def predict(axes: tuple[int, ...]) -> jax.Array:
            flipped = jnp.flip(image, axes)
            output: SegOutput = model.apply(variables, flipped, train=False)  # type: ignore[assignment]
            return jnp.flip(jax.nn.sigmoid(output.logits), axes)

        flips = _FLIPS if tta else _FLIPS[:1]
        return sum(map(predict, flips), jnp.zeros((), jnp.float32))[..., 0] / len(flips)

    return lambda image: np.asarray(probabilities(placed, image))
