"""What a file of weights says of itself, read without a tensor of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from cosup_jax import files, interop
from cosup_jax.data.schema import UNKNOWN_PATIENT, normal_name

KEY = "cosup_jax"
SUFFIX = ".safetensors"
# What comes of settings of another type than they should be.
MISREAD = (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError)


class WeightsError(ValueError):
    """Weights that are not there, damaged, or of another network; the message says what to give."""


def trained_on(path: Path) -> dict[str, Any] | None:
    """Returns whose slices the weights in a file of `save` were trained on, as its card says.

    Whom its run knows, who may be patients of a hospital, a file does not hold. Its card may name
    patients, under `trained_on`; that there were no others it does not say.

    Returns:
      what `data.people.people` does of a split, `schema.UNKNOWN_PATIENT` among the patients; None
      of a file that `save` has not written.

    Raises:
      WeightsError: it is damaged.
    """
    if path.suffix != SUFFIX:
        return None
    try:
        interop.check_header(path)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if KEY not in metadata:
            return None
        named = parse(metadata).get("card", {}).get("trained_on", [])
        if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
            raise WeightsError("its card has no list of texts under trained_on")
    except (WeightsError, files.FileError) as error:
        raise WeightsError(f"{path}: {error}") from error
    except (SafetensorError, OSError, *MISREAD) as error:
        raise WeightsError(f"{path}: damaged, or no weights of this package: {error}") from error
    patients = sorted({UNKNOWN_PATIENT, *map(normal_name, named)})
    return {"dataset": f"the weights {path.stem}", "patients": patients}


def parse(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Returns what the metadata of a file of `weights.save` say.

    Raises:
      WeightsError: it is none.
      FileError: they are damaged.
    """
    if KEY not in metadata:
        raise WeightsError(
            "holds tensors, but does not say of which network; expected a file of "
            "`python -m cosup_jax export_weights`"
        )
    return files.parse_json(metadata[KEY], f"what it says under {KEY}")
