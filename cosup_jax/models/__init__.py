"""The networks. All take (B, H, W, 1) images and return the raw logits of a `SegOutput`."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models import layers
from cosup_jax.models.cosup import CoSupNet, confidence_maps, without_heads
from cosup_jax.models.guided import GuidedNet
from cosup_jax.models.infnet import InfNet
from cosup_jax.models.initialise import initialise
from cosup_jax.models.multiclass import FCN8s, MultiClassUNet
from cosup_jax.models.output import SegOutput
from cosup_jax.models.zoo import (
    SCRN,
    ACFNet,
    AttentionUNet,
    CENet,
    CPFNet,
    DANet,
    DeepLabV3Plus,
    F3Net,
    PSPNet,
    UNet,
    UNetPP,
)

__all__ = [
    "CoSupNet",
    "SegOutput",
    "available",
    "build",
    "check_size",
    "confidence_maps",
    "count_classes",
    "initialise",
    "without_heads",
]

_NETWORKS: dict[str, type[nn.Module]] = {
    "acfnet": ACFNet,
    "attention_unet": AttentionUNet,
    "cenet": CENet,
    "cosup": CoSupNet,
    "cpfnet": CPFNet,
    "danet": DANet,
    "deeplabv3plus": DeepLabV3Plus,
    "f3net": F3Net,
    "fcn8s": FCN8s,
    "guided": GuidedNet,
    "infnet": InfNet,
    "multiclass_unet": MultiClassUNet,
    "pspnet": PSPNet,
    "scrn": SCRN,
    "unet": UNet,
    "unetpp": UNetPP,
}


def available() -> tuple[str, ...]:
    """Returns the names `build` knows, in alphabetical order."""
    return tuple(sorted(_NETWORKS))


def count_classes(model: nn.Module) -> int:
    """Returns the logits of a pixel: 1 for infection or not, else one a class and background."""
    return getattr(model, "classes", 1)


def build(name: str, **settings: Any) -> nn.Module:
    """Builds a network by name.

    Args:
      name: one of `available()`.
      **settings: fields of the network, such as `width` and `fusion` of `CoSupNet`. A mapping
        stands for a network built of it, as the `guide` of `GuidedNet`.

    Raises:
      ValueError: no such network, or it has no such setting; the message lists those there are.

    Example:
      >>> build("cosup", width=16, mask_levels=(5,)).edge_stages
      ('S1', 'S2')
    """
    if name not in _NETWORKS:
        raise ValueError(f"name is {name!r}, expected one of the networks {', '.join(available())}")
    network = _NETWORKS[name]
    fields = [
        field.name for field in dataclasses.fields(network) if field.name not in ("parent", "name")
    ]
    for setting in settings:
        if setting not in fields:
            near = difflib.get_close_matches(setting, fields, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"{setting} is no setting of the network {name!r}{hint}, which has "
                f"{', '.join(fields)}"
            )
    common = {name: settings[name] for name in ("dtype", "axis_name") if name in settings}
    parts = {}
    for part, value in settings.items():
        if isinstance(value, Mapping):
            try:
                parts[part] = build(**{**common, **value})
            except ValueError as error:
                raise ValueError(f"{part}.{error}") from error
    return network(**settings | parts)


def check_size(model: nn.Module, size: tuple[int, int]) -> None:
    """Refuses a (height, width) of slices that a network cannot take, without tracing it.

    Raises:
      ValueError: the message says what to pad to.
    """
    image = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    layers.check_image(image, model.multiple, getattr(model, "smallest", 0))
