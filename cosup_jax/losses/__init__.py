"""The losses: of co-supervision and fusion, of Inf-Net, of the comparators, and of several classes.

Those of the first are to be had here; the others are in `infnet`, `supervised` and `multiclass`.
"""

import difflib
import functools
from collections.abc import Callable
from typing import Any

from cosup_jax.losses import infnet, multiclass, supervised
from cosup_jax.losses.cross_entropy import joint_cross_entropy_loss
from cosup_jax.losses.joint import (
    REDUCTIONS,
    DiceOptions,
    Weights,
    dice_loss,
    edge_loss,
    fusion_loss,
    joint_loss,
    semantic_loss,
    soft_dice,
    weighted_sum,
)

__all__ = [
    "REDUCTIONS",
    "DiceOptions",
    "Weights",
    "build",
    "dice_loss",
    "edge_loss",
    "fusion_loss",
    "infnet",
    "joint_cross_entropy_loss",
    "joint_loss",
    "multiclass",
    "semantic_loss",
    "soft_dice",
    "supervised",
    "weighted_sum",
]

_OF_JOINT = ("theta", "beta", "zeta", "omega", "reduction", "eps")
# name → function of (output, mask, edge) and the options a configuration may give it
_LOSSES: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "joint": (joint_loss, _OF_JOINT),
    "infnet": (infnet.infnet_loss, ("weighted_bce", "omega")),
    "joint_cross_entropy": (joint_cross_entropy_loss, _OF_JOINT),
    "maps_cross_entropy": (
        supervised.maps_cross_entropy_loss,
        ("prediction", "omega", "zeta", "hardest", "sure"),
    ),
    "cross_entropy_dice": (supervised.cross_entropy_dice_loss, ("background", "eps")),
    "multiclass_joint": (multiclass.multiclass_joint_loss, _OF_JOINT),
    "cross_entropy": (multiclass.cross_entropy_loss, ("summed",)),
    "one_hot": (multiclass.one_hot_loss, ()),
}


def build(name: str, **options: Any) -> Callable:
    """Returns a loss by name, with its options set.

    Args:
      name: `joint`, `joint_cross_entropy` or `infnet`; `maps_cross_entropy` or
        `cross_entropy_dice`, those of the comparators' authors; or for several classes
        `multiclass_joint`, `cross_entropy` or `one_hot`.
      **options: arguments of `joint_loss`, `infnet.infnet_loss`, or of the function in
        `supervised` or `multiclass`.

    Returns:
      A function of a `SegOutput`, mask and edge that returns the loss and its parts.

    Raises:
      ValueError: no such loss, or it has no such option; the message lists those there are.

    Example:
      >>> build("infnet", theta=0.8)
      Traceback (most recent call last):
      ValueError: loss 'infnet' has no option 'theta'; it has weighted_bce, omega
    """
    if name not in _LOSSES:
        raise ValueError(f"there is no loss {name!r}; the losses are {', '.join(_LOSSES)}")
    function, known = _LOSSES[name]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"loss {name!r} has no option {option!r}{hint}; it has {', '.join(known)}"
            )
    return functools.partial(function, **options)
