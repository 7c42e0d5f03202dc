"""What the measures of soft maps share: NumPy in gives NumPy out, JAX in gives JAX out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # NumPy or JAX; what goes in decides what comes out
EPS = 2.0**-52  # MATLAB's eps, part of the published definitions of S and E


def namespace(*arrays: Array) -> tuple[Any, Any]:
    """Returns the module to compute with and its float type: jnp, float32 or np, float64."""
    # NumPy is asked for first, for asking for JAX takes microseconds that add up.
    if all(isinstance(array, np.ndarray | np.generic) for array in arrays):
        return np, np.float64
    if any(isinstance(array, jax.Array) for array in arrays):
        return jnp, jnp.float32
    return np, np.float64


def check_slices(prob: Array, truth: Array) -> None:
    """Refuses what is not a batch of probability maps and a truth of the same shape.

    Raises:
      ValueError: the shapes differ or are not (B, H, W, 1) or (B, H, W).
    """
    if prob.shape != truth.shape or prob.ndim not in (3, 4):
        raise ValueError(
            f"probabilities of shape {prob.shape} and truth of shape {truth.shape}: both must be "
            "the same (B, H, W, 1) or (B, H, W)"
        )


def pixel_mean(values: Array) -> Array:
    """Computes the mean of each slice, (B, H, W) or (B, H, W, 1) to (B,).

    Rows first: a float32 sum over a whole slice in one go would be off by 1e-6 and more.
    """
    return values.mean(axis=tuple(range(2, values.ndim))).mean(axis=1)


def soft_slices(prob: Array, truth: Array) -> tuple[Array, Array]:
    """Returns soft maps and their truth as (B, H, W) floats and bools, the channel axis dropped.

    Raises:
      ValueError: as `check_slices`, or there is more than one channel.
      TypeError: the map is not of a floating type, as grey values 0..255 nobody divided.
    """
    check_slices(prob, truth)
    check_floating(prob)
    if prob.ndim == 4 and prob.shape[-1] != 1:
        raise ValueError(f"a map of shape {prob.shape} has {prob.shape[-1]} channels, expected 1")
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
