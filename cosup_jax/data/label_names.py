"""What the labels of a `dataset.json` are called, and which class of infection each is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans import masks


def names(labels: Any, path: Path) -> dict[int, str]:
    """Returns stored value to name, of `{"name": 1}` and of the older `{"1": "name"}`.

    Args:
      labels: as `dataset.json` has them; 0 is the background there, whatever it is called.
      path: of that file.

    Raises:
      DatasetLayoutError: naming the label and what was expected of it.
    """
    if not isinstance(labels, dict) or not labels:
        raise DatasetLayoutError(f"{path}: no labels; expected a name and a value for each")
    found: dict[int, str] = {0: "background"}
    for key, value in labels.items():
        if isinstance(value, list):
            raise DatasetLayoutError(
                f"{path}: the label {key!r} is a region of {value}; regions are not read, expected "
                "one value for each label"
            )
        if "ignore" in (key, value):
            raise DatasetLayoutError(
                f"{path}: has the label 'ignore', for which no slice can be trained on; expected "
                "every voxel to be labelled"
            )
        older = str(key).isdecimal() and not isinstance(value, int)
        number, name = (key, value) if older else (value, key)
        if not str(number).isdecimal() or len(str(number)) > 4:
            raise DatasetLayoutError(
                f"{path}: the label {name!r} has the value {number!r}; expected a whole number"
            )
        if int(number) == 0:
            _check_background(str(name), path)
            continue
        if found.setdefault(int(number), str(name)) != str(name):
            raise DatasetLayoutError(
                f"{path}: the labels {found[int(number)]!r} and {name!r} have both the value "
                f"{number}; expected a value for each"
            )
    return found


def _check_background(name: str, path: Path) -> None:
    try:
        means = masks.classes_of({0: name, 1: "infection"})[0]
    except ValueError:  # a name that says no class
        return
    if means != masks.NOTHING:
        raise DatasetLayoutError(
            f"{path}: the label {name!r} has the value 0, which is the background; expected "
            "another value"
        )


def values(
    named: Mapping[int, str], path: Path, option: str
) -> tuple[Mapping[int, int], Mapping[int, int] | None]:
    """Returns stored value to class, and stored value to lung where lungs are among the labels.

    Args:
      named: of `names`.
      path: of the file that has them.
      option: with which the user can say what values mean.

    Raises:
      DatasetLayoutError: the labels say no class, or none of infection.
    """
    try:
        found = masks.classes_of(named)
    except ValueError as error:
        raise DatasetLayoutError(f"{path}: {error} with {option}") from error
    if not any(label > 0 for label in found.values()):
        raise DatasetLayoutError(
            f"{path}: the labels {list(named.values())} hold no infection; expected one, or "
            f"{option}, which declares the class of each value"
        )
    classes = {value: max(label, 0) for value, label in found.items()}
    if masks.LUNG not in found.values():
        return classes, None
    # Infection lies in either lung, so that sides cannot be kept; effusion lies in none.
    return classes, {value: int(label in (masks.LUNG, 1, 2)) for value, label in found.items()}
