"""Fast initialisation on the host: NumPy draws instead of a compiled `model.init`.

A draw depends on the seed, on the path of the leaf and on its shape, on nothing else: two networks
that share a path start there from the same numbers, which makes an ablation a cleaner comparison.
"""

import hashlib
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# γ is the factor of an attention, which at first changes nothing.
_ONES, _ZEROS = ("scale", "var"), ("bias", "mean", "gamma")


def initialise(model: nn.Module, image_shape: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Initialises a network without running or compiling it.

    Kernels are drawn as the modules' own `layers.kernel_init` does: normal, not truncated, with
    variance 2 / fan_in, fan_in being the product of all axes of the kernel but the last. Where the
    network's attribute `initial` is `xavier_uniform`, they are uniform within
    ±√(6 / (fan_in + fan_out)), fan_out being the product of all axes but the last but one, and
    where it is `normal_0.01` they have a deviation of 0.01. `scale` and `var` are one, `bias`,
    `mean` and `gamma` zero.

    Args:
      model: a network called with `(x, train)`.
      image_shape: (H, W, C) of an image, or (B, H, W, C) of a batch.
      seed: a whole number from 0 to 2⁶⁴ − 1.

    Returns:
      Float32 NumPy arrays under `params` and `batch_stats`; a collection that the network has not
      got is an empty dictionary.

    Raises:
      ValueError: a leaf has a name for which no rule is known, or the shape is not that of images.
    """
    if len(image_shape) not in (3, 4):
        raise ValueError(f"image_shape is {image_shape}, expected (H, W, C) or (B, H, W, C)")
    image = jax.ShapeDtypeStruct((1, *image_shape[-3:]), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    drawn = {
        name: jax.tree_util.tree_map_with_path(
            lambda path, leaf, name=name: _draw(
                seed,
                f"{name}/{jax.tree_util.keystr(path, simple=True, separator='/')}",
                leaf.shape,
                getattr(model, "initial", ""),
            ),
            shapes[name],
        )
        for name in shapes
        if name in ("params", "batch_stats")
    }
    return {"params": {}, "batch_stats": {}} | drawn


def _draw(seed: int, path: str, shape: tuple[int, ...], initial: str) -> np.ndarray:
    kind = path.rsplit("/", 1)[-1]
    if kind in _ONES:
        return np.ones(shape, np.float32)
    if kind in _ZEROS:
        return np.zeros(shape, np.float32)
    if kind != "kernel":
        raise ValueError(
            f"no rule to initialise {path!r}: a leaf is called kernel, "
            f"{', '.join((*_ONES, *_ZEROS))}; name it so or add a rule to initialise.py"
        )
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    key = np.array([seed, int.from_bytes(digest, "little")], np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    fan_in = math.prod(shape[:-1])
    if initial == "xavier_uniform":
        bound = np.float32(math.sqrt(6 / (fan_in + fan_in // shape[-2] * shape[-1])))
        return (2 * random.random(shape, np.float32) - 1) * bound
    deviation = 0.01 if initial == "normal_0.01" else math.sqrt(2 / fan_in)
    return random.standard_normal(shape, np.float32) * np.float32(deviation)
