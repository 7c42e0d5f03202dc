"""The losses: of co-supervision and fusion, of Inf-Net, of the comparators, and of several classes.

Those of the first are to be had here; the others are in `infnet`, `supervised` and `multiclass`.
"""

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cosup_jax.losses import infnet, multiclass, supervised
from cosup_jax.losses.cross_entropy import joint_cross_entropy_loss
from cosup_jax.losses.joint import (
    REDUCTIONS,
    DiceOptions,
    Weights,
    check_weights,
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
    "check",
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

_OF_CLASSES = ("multiclass_joint", "cross_entropy", "one_hot")  # whose networks have a softmax
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
      ValueError: theta is no option of the loss 'infnet', which has weighted_bce, omega
    """
    if name not in _LOSSES:
        raise ValueError(f"name is {name!r}, expected one of the losses {', '.join(_LOSSES)}")
    function, known = _LOSSES[name]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"{option} is no option of the loss {name!r}{hint}, which has {', '.join(known)}"
            )
    return functools.partial(function, **options)


def check(
    settings: Mapping[str, Any], edges: Sequence[str], masks: Sequence[str], classes: int
) -> None:
    """Refuses a loss that does not fit a network, before anything is traced.

    Args:
      settings: the arguments of `build`.
      edges: heads of the network that are supervised by edges.
      masks: heads supervised by the mask.
      classes: logits of a pixel.

    Raises:
      ValueError: weights for another number of heads, or a loss of several classes for a network
        of one, or the other way round.
    """
    for letter, heads in (("zeta", edges), ("omega", masks)):
        check_weights(letter, settings.get(letter, 1.0), len(heads))
    name = settings["name"]
    if (name in _OF_CLASSES) != (classes > 1):
        fit = [loss for loss in _LOSSES if (loss in _OF_CLASSES) == (classes > 1)]
        raise ValueError(
            f"name is {name!r}, but the network has {classes} logits a pixel (classes); for it "
            f"there are {', '.join(fit)}"
        )
