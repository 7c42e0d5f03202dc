"""What the measures of soft maps share: NumPy in gives NumPy out, JAX in gives JAX out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # NumPy or JAX; what goes in decides what comes out
_BEYOND = 1.0  # what lies further outside of 0..1 are grey values or logits
EPS = 2.0**-52  # MATLAB's eps, part of the published definitions of S and E


def namespace(*arrays: Array) -> tuple[Any, Any]:
    """Returns the module to compute with and its float type: jnp, float32 or np, float64."""
    # NumPy is asked for first, for asking for JAX takes microseconds that add up.
    if all(isinstance(array, np.ndarray | np.generic) for array in arrays):
        return np, np.float64
    if any(isinstance(array, jax.Array) for array in arrays):
        return jnp, jnp.float32
    return np, np.float64


def check_slices(found: Array, truth: Array, what: str = "probabilities") -> None:
    """Refuses what is not a batch of maps and a truth of the same shape.

    Raises:
      ValueError: the shapes differ or are not (B, H, W, 1) or (B, H, W); slices of a volume are
        (Z, H, W), a batch of their own.
    """
    if found.shape != truth.shape or found.ndim not in (3, 4):
        raise ValueError(
            f"{what} of shape {found.shape} and truth of shape {truth.shape}: both must be the "
            "same (B, H, W, 1) or (B, H, W)"
        )
    if found.ndim == 4 and found.shape[-1] != 1:
        raise ValueError(f"a map of shape {found.shape} has {found.shape[-1]} channels, expected 1")


def pixel_mean(values: Array) -> Array:
    """Computes the mean of each slice, (B, H, W) or (B, H, W, 1) to (B,).

    Rows first: a float32 sum over a whole slice in one go would be off by 1e-6 and more.
    """
    return values.mean(axis=tuple(range(2, values.ndim))).mean(axis=1)


def soft_slices(prob: Array, truth: Array) -> tuple[Array, Array]:
    """Returns soft maps and their truth as (B, H, W) floats and bools, the channel axis dropped.

    Raises:
      ValueError: as `check_slices` and `check_range`.
      TypeError: the map is not of a floating type, as grey values 0..255 nobody divided.
    """
    check_slices(prob, truth)
    check_floating(prob)
    check_range(prob)
    _, dtype = namespace(prob, truth)
    shape = prob.shape[:3]
    return prob.reshape(shape).astype(dtype, copy=False), truth.reshape(shape).astype(
        bool, copy=False
    )


def check_floating(prob: Array) -> None:
    """Refuses maps that hold no probabilities.

    Raises:
      TypeError: the map is not of a floating type.
    """
    if not jnp.issubdtype(prob.dtype, jnp.floating):
        raise TypeError(
            f"the map is {prob.dtype}, expected a floating type with values 0..1: divide grey "
            "values by 255 first"
        )


def check_range(prob: Array) -> None:
    """Refuses maps with values that are no probabilities, where these are known: not under `jit`.

    Raises:
      ValueError: one is NaN, or so far outside of 0..1 that the map is of grey values or logits.
    """
    if isinstance(prob, jax.core.Tracer) or not prob.size:
        return
    low, high = float(prob.min()), float(prob.max())
    if not (low >= -_BEYOND and high <= 1 + _BEYOND):  # nor is NaN
        raise ValueError(
            f"the map holds values from {low:g} to {high:g}, expected probabilities 0..1: divide "
            "grey values by 255, take the sigmoid of logits"
        )
