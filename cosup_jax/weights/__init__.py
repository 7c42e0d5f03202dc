"""Trained weights in one file: safetensors, with all that is needed to use them.

The weights that come with the package lie beside this file, each with its model card.
"""

from cosup_jax.weights.about import WeightsError, trained_on
from cosup_jax.weights.files import (
    BOTH,
    CROPS,
    DEFAULT,
    LUNGS,
    MIRRORED,
    SLICE,
    VOLUME,
    WHOLE,
    Pretrained,
    file_of,
    load,
    load_lungs,
    load_pretrained,
    names,
    save,
)

__all__ = [
    "BOTH",
    "CROPS",
    "DEFAULT",
    "LUNGS",
    "MIRRORED",
    "SLICE",
    "VOLUME",
    "WHOLE",
    "Pretrained",
    "WeightsError",
    "file_of",
    "load",
    "load_lungs",
    "load_pretrained",
    "names",
    "save",
    "trained_on",
]
