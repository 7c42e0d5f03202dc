"""data.json: what a run was trained and selected on, and whose slices; read and checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cosup_jax import files

DATA = "data.json"
PEOPLE = ("trained_on", "selected_on")


def read_data(folder: Path) -> dict[str, Any]:
    """Reads the data.json of a run.

    Args:
      folder: the run's.

    Returns:
      `dataset`, `splits` and `fingerprint` of its records, and for each of `PEOPLE` what
      `data.people.joined` returns; without those that an earlier version did not keep, and empty
      where there is no such file.

    Raises:
      FileError: it is damaged.
    """
    path = folder / DATA
    found = files.read_json(path) if path.is_file() else {}
    for name, fits in _FIELDS.items():
        if name in found and not fits(found[name]):
            raise files.FileError(
                f"{path}: is damaged, {name} is not what a run writes there; put the file back"
            )
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_people(value: Any) -> bool:
    if not isinstance(value, dict) or not {"dataset", "patients"} <= value.keys():
        return False
    earlier = value.get("earlier", [])
    return (
        _is_text(value["dataset"])
        and _is_text(value.get("collection", ""))
        and _are_texts(value["patients"])
        and _are_texts(value.get("cases", []))
        and isinstance(earlier, list)
        and all(_are_people(one) and "earlier" not in one for one in earlier)
    )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "dataset": _is_text,
    "fingerprint": _is_text,
    "splits": _are_texts,
    **dict.fromkeys(PEOPLE, _are_people),
}
