"""Losses for several classes of infection: softmax in place of the sigmoid, Dice class by class.

All functions are pure, work under `jit`, `grad` and `pmap`. Classes are whole numbers, 0 the
background; logits are (B, H, W, C), one for each class.
"""

from typing import TYPE_CHECKING, Unpack

import jax
import jax.numpy as jnp
import optax

from cosup_jax.losses import infnet, joint
from cosup_jax.losses.infnet import MeanOptions
from cosup_jax.losses.joint import DiceOptions, Weights

if TYPE_CHECKING:
    from cosup_jax.models.output import SegOutput


def one_against_rest(logits: jax.Array) -> jax.Array:
    """Returns the logit of each class against all others: log p_c − log (1 − p_c), p = softmax.

    Its sigmoid is p_c, so what is defined for one class holds for each of several.

    Args:
      logits: (B, H, W, C) floating, C ≥ 2.

    Returns:
      (B, H, W, C) float32.

    Example:
      >>> two = jnp.array([0.5, 2.0]).reshape(1, 1, 1, 2)
      >>> one_against_rest(two).ravel().tolist()
      [-1.5, 1.5]
    """
    z = logits.astype(jnp.float32)
    others = [jax.nn.logsumexp(jnp.delete(z, c, axis=-1), axis=-1) for c in range(logits.shape[-1])]
    return z - jnp.stack(others, axis=-1)


def class_dice(logits: jax.Array, classes: jax.Array, **options: Unpack[DiceOptions]) -> jax.Array:
    """Computes soft Dice as the mean over all classes but the background.

    Args:
      logits: (B, H, W, C) floating.
      classes: (B, H, W, 1) whole numbers 0..C−1.
      **options: see `joint.soft_dice`.

    Returns:
      A float32 scalar in 0..1.

    Raises:
      ValueError: shapes do not fit.
    """
    _check(logits, classes)
    against = one_against_rest(logits)
    each = [
        joint.soft_dice(against[..., c : c + 1], classes == c, **options)
        for c in range(1, logits.shape[-1])
    ]
    return jnp.mean(jnp.stack(each))


def multiclass_joint_loss(
    output: "SegOutput",
    classes: jax.Array,
    edge: jax.Array,
    *,
    theta: float = 0.8,
    beta: float = 0.4,
    zeta: Weights = 1.0,
    omega: Weights = 1.0,
    **options: Unpack[DiceOptions],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes the joint loss of co-supervision with `class_dice` for S_p and the ASSM heads.

    Neither paper has it. The edges are those of all infection, as with one class.

    Args:
      output: what a network with `classes` ≥ 2 returned.
      classes: (B, H, W, 1) whole numbers.
      edge: (B, H, W, 1), the edge of all infection.
      theta: θ, weight of the edge loss.
      beta: β, weight of the semantic loss.
      zeta: ζ_i, one number for all edge stages or one for each.
      omega: ω_i, one number for all mask stages or one for each.
      **options: see `joint.soft_dice`.

    Returns:
      As `joint.joint_loss`.

    Raises:
      ValueError: shapes, or the number of ζ_i or ω_i, do not fit.
    """
    heads = [1 - class_dice(logits, classes, **options) for logits in output.mask_logits]
    parts = {
        "edge": joint.edge_loss(output.edge_logits, edge, zeta, **options),
        "semantic": joint.weighted_sum("omega", omega, heads),
        "fusion": 1 - class_dice(output.logits, classes, **options),
    }
    parts["total"] = theta * parts["edge"] + beta * parts["semantic"] + parts["fusion"]
    return parts["total"], parts


def cross_entropy_loss(
    output: "SegOutput",
    classes: jax.Array,
    edge: jax.Array,
    *,
    summed: bool = False,
    **options: Unpack[MeanOptions],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes the cross-entropy of the softmax, as FCN8s is trained.

    Args:
      output: what a network returned; only its `logits` are looked at.
      classes: (B, H, W, 1) whole numbers 0..C−1.
      edge: not used.
      summed: add up the pixels of a slice instead of averaging them. FCN's learning rate of 1e-10
        belongs to a sum over pixels of one slice.
      **options: `weights` and `axis_name` of `infnet.structure_loss`.

    Returns:
      The mean over slices, and it again as `total`.

    Raises:
      ValueError: shapes do not fit.
    """
    _check(output.logits, classes)
    z, labels = output.logits.astype(jnp.float32), classes[..., 0].astype(jnp.int32)
    pixels = optax.softmax_cross_entropy_with_integer_labels(z, labels)
    per_slice = jnp.sum(pixels, axis=(1, 2)) if summed else jnp.mean(pixels, axis=(1, 2))
    return _total(per_slice, **options)


def one_hot_loss(
    output: "SegOutput", classes: jax.Array, edge: jax.Array, **options: Unpack[MeanOptions]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Computes the binary cross-entropy of each class alone, as Inf-Net's release trains its U-Net.

    Args:
      output: what a network returned; only its `logits` are looked at.
      classes: (B, H, W, 1) whole numbers 0..C−1.
      edge: not used.
      **options: `weights` and `axis_name` of `infnet.structure_loss`.

    Returns:
      The mean over pixels, classes and slices, and it again as `total`.

    Raises:
      ValueError: shapes do not fit.
    """
    _check(output.logits, classes)
    wanted = jax.nn.one_hot(classes[..., 0].astype(jnp.int32), output.logits.shape[-1])
    bce = optax.sigmoid_binary_cross_entropy(output.logits.astype(jnp.float32), wanted)
    return _total(jnp.mean(bce, axis=(1, 2, 3)), **options)


def _total(
    per_slice: jax.Array, **options: Unpack[MeanOptions]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    total = infnet.mean_over_slices(per_slice, **options)
    return total, {"total": total}


def _check(logits: jax.Array, classes: jax.Array) -> None:
    fit = logits.ndim == 4 and classes.shape == (*logits.shape[:3], 1)
    if not fit or logits.shape[-1] < 2:
        raise ValueError(
            f"logits of shape {logits.shape} and classes of shape {classes.shape}: expected "
            "(B, H, W, C) with a logit for each of at least two classes, and (B, H, W, 1)"
        )
