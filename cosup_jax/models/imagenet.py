"""What networks trained on ImageNet take: three channels in that dataset's normalisation."""

import jax
import jax.numpy as jnp

# Mean and deviation of the red, green and blue channel of ImageNet, for images in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def imagenet_channels(x: jax.Array) -> jax.Array:
    """Makes three channels of each of (B, H, W, C), normalised as ImageNet's: (B, H, W, 3 C).

    Args:
      x: grey values in 0..1, of a floating type.
    """
    mean = jnp.asarray(IMAGENET_MEAN * x.shape[-1], x.dtype)[None, None, None]
    std = jnp.asarray(IMAGENET_STD * x.shape[-1], x.dtype)[None, None, None]
    return (jnp.repeat(x, 3, axis=-1) - mean) / std
