"""A network and its weights as a compiled function from prepared slices to probabilities."""

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cosup_jax.models.output import SegOutput

# Axes of (B, H, W, 1). Front and back are never exchanged: networks know which way a patient lies,
# and lose more by that than the mean gains.
_FLIPS = ((), (2,))


class Predictor:
    """A function from slices to the probability of infection, compiled once for each shape.

    Called with (B, H, W, 1) float32 slices, prepared as the network was trained, it returns
    (B, H, W) float32 probabilities σ(S_p), or the softmax (B, H, W, C) of all classes.

    Args:
      model: a network of `cosup_jax.models`.
      variables: `{"params": …, "batch_stats": …}`.
      tta: average the probabilities of each slice and its mirror image (test-time augmentation).
      by_class: return those of each class, of a network with several.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        *,
        tta: bool = False,
        by_class: bool = False,
    ) -> None:
        self._variables = jax.device_put(dict(variables))
        self._kind = model, tta, by_class
        self._compiled: dict[tuple[int, ...], jax.stages.Compiled] = {}
        self._lock = threading.Lock()  # so that two threads do not compile the same

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Returns the probabilities of a batch."""
        return np.asarray(self._for(image.shape)(self._variables, image))

    def memory(self, shape: tuple[int, ...]) -> int:
        """Returns the bytes that a batch of (B, H, W, 1) needs on the device, without weights."""
        found = self._for(shape).memory_analysis()
        return 0 if found is None else found.output_size_in_bytes + found.temp_size_in_bytes

    def _for(self, shape: tuple[int, ...]) -> jax.stages.Compiled:
        with self._lock:
            if shape not in self._compiled:
                image = jax.ShapeDtypeStruct(shape, jnp.float32)
                self._compiled[shape] = _probabilities.lower(
                    *self._kind, self._variables, image
                ).compile()
            return self._compiled[shape]


# One function for all, so that networks that differ in their weights alone are traced once.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _probabilities(
    model: nn.Module, tta: bool, by_class: bool, variables: Mapping[str, Any], image: jax.Array
) -> jax.Array:
    def predict(axes: tuple[int, ...]) -> jax.Array:
        flipped = jnp.flip(image, axes)
        output: SegOutput = model.apply(variables, flipped, train=False)  # type: ignore[assignment]
        if by_class:
            return jnp.flip(jax.nn.softmax(output.logits), axes)
        return jnp.flip(jax.nn.sigmoid(output.infection)[..., 0], axes)

    flips = _FLIPS if tta else _FLIPS[:1]
    return sum(map(predict, flips), jnp.zeros((), jnp.float32)) / len(flips)


def make_predictor(
    model: nn.Module, variables: Mapping[str, Any], *, tta: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the `Predictor` of a network and its weights."""
    return Predictor(model, variables, tta=tta)
