"""cosup-jax: COVID-19 lung infection segmentation on chest CT in JAX/Flax.

`load_pretrained` and `segment` are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosup_jax.prediction.segment import segment
    from cosup_jax.weights import load_pretrained

__all__ = ["load_pretrained", "segment"]
__version__ = "0.1.0"

_HOMES = {"load_pretrained": "cosup_jax.weights", "segment": "cosup_jax.prediction.segment"}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)
