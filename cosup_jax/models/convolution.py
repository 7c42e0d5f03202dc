"""A convolution that suits a CPU better: of one channel, and in its gradient by the kernel."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

# Pixels of a slice times input channels times output channels; in smaller maps nothing is saved.
LARGE = 2**24
# What is multiplied at a time: few enough for a core's cache.
PIXELS = 1024
Pairs = Sequence[tuple[int, int]]


def convolve(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Pairs, **options: Any
) -> jax.Array:
    """Convolves, in the place of `jax.lax.conv_general_dilated` in `nn.Conv`.

    The result is that function's, and so is the gradient but for rounding. XLA takes the gradient
    by the kernel as one convolution over the batch whose window is the whole map; on a CPU it runs
    on one core and out of its cache. Where maps are large (float32, stride 1), a CPU takes it by
    `kernel_gradient` instead, about three times as fast; other devices do as XLA does. A map of one
    channel, such as a slice, is not convolved but multiplied by each tap of the kernel, which is
    joined with what follows: no matrix is made of it. Such convolutions have no forward-mode
    derivative (`jax.jvp`).

    Args:
      x: (B, H, W, C).
      kernel: (k, l, C, F).
      strides: steps along H and W.
      padding: zeros before and after, along H and along W; not a name such as "SAME".
      **options: the others that `nn.Conv` gives.

    Returns:
      (B, H', W', F), of the type of `x`.
    """

    def whole(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

    multiplied = x.shape[1] * x.shape[2] * kernel.shape[2] * kernel.shape[3]
    if tuple(strides) != (1, 1) or options["feature_group_count"] != 1:
        return whole(x, kernel)
    large = multiplied >= LARGE and x.dtype == jnp.float32
    single = x.shape[-1] == 1 and tuple(options["rhs_dilation"]) == (1, 1)
    if not (large or single):
        return whole(x, kernel)
    result = functools.partial(of_one_channel, padding=padding) if single else whole
    by_rows = functools.partial(
        kernel_gradient,
        size=kernel.shape[:2],
        padding=padding,
        dilation=options["rhs_dilation"],
    )

    @jax.custom_vjp
    def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return result(x, kernel)

    def forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return result(x, kernel), (x, kernel)

    def backward(
        kept: tuple[jax.Array, jax.Array], change: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        x, kernel = kept
        by_maps = jax.vjp(lambda x: whole(x, kernel), x)[1](change)[0]

        def at_once(x: jax.Array, change: jax.Array) -> jax.Array:
            return jax.vjp(lambda k: whole(x, k), kernel)[1](change)[0]

        if not large:
            return by_maps, at_once(x, change)
        return by_maps, jax.lax.platform_dependent(x, change, cpu=by_rows, default=at_once)

    convolution.defvjp(forward, backward)
    return convolution(x, kernel)


def of_one_channel(x: jax.Array, kernel: jax.Array, padding: Pairs) -> jax.Array:
    """Convolves maps of one channel with stride 1, by products and sums alone.

    Args:
      x: (B, H, W, 1).
      kernel: (k, l, 1, F).
      padding: zeros before and after, along H and along W.

    Returns:
      (B, H', W', F), of the type of `x`, summed in float32.
    """
    height, width = kernel.shape[:2]
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), *padding, (0, 0)))
    rows, columns = padded.shape[1] - height + 1, padded.shape[2] - width + 1
    taps = kernel.astype(jnp.float32)[None, None, None, :, :, 0]
    total = jnp.zeros((), jnp.float32)
    for i in range(height):
        for j in range(width):
            total += padded[:, i : i + rows, j : j + columns] * taps[..., i, j, :]
    return total.astype(x.dtype)


@jax.named_scope("kernel_gradient")
def kernel_gradient(
    x: jax.Array,
    change: jax.Array,
    size: Sequence[int],
    padding: Pairs,
    dilation: Sequence[int] = (1, 1),
) -> jax.Array:
    """Takes the gradient of Σ convolution(x, kernel) · change by the kernel, a few rows at a time.

    What all taps of the kernel see of those rows stands side by side in one matrix, whose product
    with the rows of `change` is their share.

    Args:
      x: (B, H, W, C), convolved with stride 1.
      change: (B, H', W', F), the gradient by the convolution's result.
      size: height k and width l of the kernel.
      padding: zeros before and after, along H and along W.
      dilation: distance of the kernel's taps along H and W.

    Returns:
      (k, l, C, F), the sum over all slices and rows.
    """
    b, h, w, features = change.shape
    rows = max(n for n in range(1, h + 1) if h % n == 0 and (n == 1 or n * w <= PIXELS))
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    seen = (1, rows + dilation[0] * (size[0] - 1), *padded.shape[2:])
    starts = [(i * dilation[0], j * dilation[1]) for i in range(size[0]) for j in range(size[1])]

    def add(n: jax.Array, total: jax.Array) -> jax.Array:
        at = (n // (h // rows), n % (h // rows) * rows, 0, 0)
        (part,) = jax.lax.dynamic_slice(padded, at, seen)
        (piece,) = jax.lax.dynamic_slice(change, at, (1, rows, w, features))
        taps = jnp.concatenate([part[i : i + rows, j : j + w] for i, j in starts], -1)
        return total + jnp.einsum("hwk,hwf->kf", taps, piece)

    nothing = jnp.zeros((len(starts) * x.shape[-1], features), x.dtype)
    total = jax.lax.fori_loop(0, b * h // rows, add, nothing)
    return total.reshape(*size, x.shape[-1], features)
