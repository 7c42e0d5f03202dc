"""What tells a whole checkpoint from a damaged one: checksums of the arrays, a seal on the rest."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cosup_jax import files

SEAL, ARRAYS = "seal", "arrays"


class DamagedError(files.FileError):
    """What was read is not what was written; the message names the file or folder."""


def names(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by names such as `train/params/encoder/kernel`.

    A tree of states and the plain dictionaries that Orbax makes of it have the same names.
    """
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _name(path: tuple[Any, ...]) -> str:
    parts = []
    for key in path:
        for kind in ("key", "name", "idx"):
            if hasattr(key, kind):
                parts.append(str(getattr(key, kind)))
                break
    return "/".join(parts)


def fill(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Returns a tree with each of its leaves taken from `arrays` by its name."""
    return jax.tree.map_with_path(lambda path, _: arrays[_name(path)], tree)


def record(arrays: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """Returns of each array its type, its shape and its checksum, as JSON has them."""
    return {name: [*layout(value), checksum(value)] for name, value in arrays.items()}


def layout(array: Any) -> list[Any]:
    """Returns type and shape of an array, as JSON has them."""
    return [str(jnp.dtype(array.dtype)), list(array.shape)]


def checksum(array: np.ndarray) -> str:
    """Returns the first 128 bits of the SHA-256 over an array's bytes, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:32]


def check(arrays: Mapping[str, np.ndarray], expected: Mapping[str, list[Any]], where: Path) -> None:
    """Refuses arrays that are not those of their record.

    Raises:
      DamagedError: naming the first that differs.
    """
    for name, (*_, wanted) in expected.items():
        if name not in arrays or checksum(arrays[name]) != wanted:
            raise DamagedError(f"{where}: the array {name} is not what was written")


def not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Returns the name of the first array with a number that is NaN or infinite, or None."""
    for name, value in arrays.items():
        if jnp.issubdtype(value.dtype, jnp.floating) and not np.isfinite(value).all():
            return name
    return None


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a JSON object with a checksum over all of it under `seal`."""
    return {**content, SEAL: _seal(content)}


def unsealed(content: Mapping[str, Any], known: set[str], where: Path) -> dict[str, Any]:
    """Returns a JSON object without its seal, which must be right.

    Args:
      content: as read.
      known: the keys of objects that have no seal, since versions before seals wrote them.
      where: its file, for the message.

    Raises:
      DamagedError: the seal is wrong, or there is none on what has keys of later versions.
    """
    rest = {name: value for name, value in content.items() if name != SEAL}
    if SEAL not in content and set(rest) <= known:
        return rest
    if content.get(SEAL) != _seal(rest):
        raise DamagedError(f"{where}: is not what was written")
    return rest


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
