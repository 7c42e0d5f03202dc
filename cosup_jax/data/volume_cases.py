"""What volumes of every dataset share: files listed by name, and slices cut into examples."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax.data import schema
from cosup_jax.data.builder import DatasetLayoutError


def by_name(
    paths: Iterable[Path], name_of: Callable[[Path], str], one: str = "one file per volume"
) -> dict[str, Path]:
    """Returns paths by the names of their volumes, in the form in which names are compared.

    Args:
      paths: in any order; hidden ones are left out.
      name_of: the name of a volume, from its path.
      one: what is expected of each, for the message.

    Raises:
      DatasetLayoutError: two paths have one name (`.nii` and `.nii.gz`).
    """
    found: dict[str, Path] = {}
    for path in sorted(path for path in paths if not path.name.startswith(".")):
        name = schema.normal_name(name_of(path))
        if name in found:
            raise DatasetLayoutError(f"{path}: has the name of {found[name].name}; expected {one}")
        found[name] = path
    return found


def examples(
    slices: Iterable[np.ndarray],
    mask: Sequence[np.ndarray] | np.ndarray | None,
    lung: Sequence[np.ndarray] | np.ndarray | None,
    *,
    lungs_only: bool = False,
    **of_volume: Any,
) -> Iterator[dict[str, Any]]:
    """Yields the slices of a volume as examples of the schema.

    Args:
      slices: (H, W) as stored, in the axial view, from the feet to the head.
      mask: classes of infection of each, (H, W) uint8; None where nobody has drawn any.
      lung: lungs of each, likewise.
      lungs_only: leave out slices without lungs.
      **of_volume: what is the same for all slices, see `schema.make_example`.
    """
    for i, pixels in enumerate(slices):
        if lungs_only and lung is not None and not lung[i].any():
            continue
        yield schema.make_example(
            pixels,
            slice_index=i,
            mask=None if mask is None else mask[i],
            lung=None if lung is None else lung[i],
            **of_volume,
        )
