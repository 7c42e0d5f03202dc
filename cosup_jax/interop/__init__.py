"""Weights of other people's networks: read safely, renamed, and checked tensor by tensor."""

from cosup_jax.interop.convert import ConversionError, Converted, load
from cosup_jax.interop.files import WeightsFileError, check_header, read_tensors

__all__ = [
    "ConversionError",
    "Converted",
    "WeightsFileError",
    "check_header",
    "load",
    "read_tensors",
]
