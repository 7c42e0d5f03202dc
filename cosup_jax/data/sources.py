"""What a dataset is built of, told by content: a copy or a link is the same source."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

DIGITS = 16  # hexadecimal, of a digest that stands in names and metadata


def digest(described: Any) -> str:
    """Returns the digest of what was described, the bytes of every file in it included.

    Args:
      described: text, numbers, dataclasses, functions, sequences, sets and mappings of these, and
        paths of files, which count by their content and not by where they lie.

    Raises:
      OSError: a file cannot be read.
    """
    return hashlib.sha256(repr(_content(described)).encode()).hexdigest()[:DIGITS]


def _content(value: Any) -> Any:
    if isinstance(value, Path):
        return file_digest(value)
    if dataclasses.is_dataclass(value):
        return [_content(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return sorted((repr(key), _content(entry)) for key, entry in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_content(entry) for entry in value]
    return value.__qualname__ if isinstance(value, Callable) else value  # type: ignore[arg-type]


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file; one that did not change is read once by a process.

    A file that was written to has another time of status change (ctime), which nobody can set.
    """
    found = path.stat()
    return _file_digest(
        path.resolve(), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns,
        found.st_ctime_ns,
    )  # fmt: skip


@functools.lru_cache(maxsize=1 << 17)
def _file_digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
