"""Files and folders of ours: written whole or not at all, read with a name in the error, locked.

What lies under a final name is complete and on the disk, whenever the process or the machine stops.
The half of a file or folder lies under a hidden name beside it, which the next write of the same
takes over. Nothing here knows what the files hold.
"""

import contextlib
import csv
import errno
import fcntl
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

PART, REPLACED = ".part", ".replaced"
MAX_JSON = 2**26  # bytes of one JSON file of ours; the largest so far has some 100 kB
# What some file systems answer to a call that they do not know.
UNKNOWN_CALL = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
# Some programs pass over blanks before these, and take the wide forms for them.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][-+]?\d+)?")


class FileError(ValueError):
    """A file or folder that cannot be used as it is; the message names it and says what to do."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yields a file to write into, which takes the place of `path` when the block ends.

    If the block raises, `path` stays as it was. Several processes may write the same path at once:
    one of them comes last, and what it wrote stands there whole. Missing folders are made.

    Raises:
      FileError: `path` is there and is no file.
      OSError: the disk is full or cannot be written.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise FileError(f"{path}: is a folder or a device, expected the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    part, descriptor = _open_part(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)  # before it is closed, while nobody else can take it over
        sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _open_part(path: Path) -> tuple[Path, int]:
    """Returns an empty file beside `path` that this process alone writes, open."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    part = path.with_name(f".{path.name}{PART}")
    while True:
        descriptor = os.open(part, flags, 0o666)
        locked = try_lock(descriptor)
        # It may have become the final file between the two calls.
        if locked and is_at(part, descriptor):
            os.ftruncate(descriptor, 0)
            return part, descriptor
        os.close(descriptor)
        if not locked:
            own = path.with_name(f".{path.name}.{os.getpid()}{PART}")
            return own, os.open(own, flags | os.O_TRUNC, 0o666)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one that stands at `path` now."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def try_lock(descriptor: int) -> bool | None:
    """Takes the kernel's lock (flock) of an open file, which its closing gives back.

    Returns:
      True; False where another holds it; None where the file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in UNKNOWN_CALL:
            return None
        raise
    return True


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the file system can tell."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNKNOWN_CALL:
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole, see `writing`; one that holds this already keeps its time of change."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file whole, see `write_bytes`; names that are no text are spelled in it."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole, see `write_bytes`.

    Raises:
      ValueError: a number is NaN or infinite, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, kind: type = dict) -> Any:
    """Reads a JSON file of ours.

    Args:
      path: the file.
      kind: what it must hold, `dict` or `list`.

    Raises:
      FileError: it is damaged, or holds something else; the message names it.
      OSError: it is missing or cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_JSON + 1)
    return parse_json(content, str(path), kind)


def parse_json(content: bytes | str, where: str, kind: type = dict) -> Any:
    """Reads JSON of ours; `where` is what an error calls it. See `read_json`."""
    wanted = "an object" if kind is dict else "a list"
    if len(content) > MAX_JSON:
        raise FileError(f"{where}: larger than {MAX_JSON >> 20} MiB; this is not what was written")
    if not content.strip():
        raise FileError(f"{where}: is empty, expected {wanted} in JSON; put the file back")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else error
        raise FileError(
            f"{where}: is damaged, it holds no JSON ({told}); put the file back"
        ) from error
    if not isinstance(value, kind):
        raise FileError(f"{where}: is damaged, expected {wanted} in JSON; put the file back")
    return value


def write_csv(
    path: Path, rows: Iterable[Mapping[str, Any]], names: Sequence[str] | None = None
) -> None:
    """Writes a CSV file whole, see `write_bytes`; no cell of it is a formula, see `as_cell`.

    Args:
      path: the file.
      rows: a mapping each; what a row lacks is left empty.
      names: the columns; None for those of the first row.
    """
    rows = list(rows)
    columns = list(rows[0]) if names is None else list(names)
    text = io.StringIO()
    writer = csv.DictWriter(text, [as_cell(name) for name in columns], restval="")
    writer.writeheader()
    writer.writerows({as_cell(name): as_cell(value) for name, value in r.items()} for r in rows)
    write_text(path, text.getvalue())


def as_cell(value: Any) -> Any:
    """Returns a value as a table has it: a text that a spreadsheet takes for a formula gets a '.

    >>> as_cell("=1+1"), as_cell("-0.5"), as_cell(-0.5)
    ("'=1+1", '-0.5', -0.5)
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def from_cell(text: str) -> str:
    """Returns the text that `as_cell` made a cell of."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text[1:]) else text


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yields an empty folder, which takes the place of `folder` when the block ends.

    The old one is moved away first and removed last. If the block raises, or the process is
    killed, the old one is there, or comes back with `recover`, or the new one is complete. Where
    several processes may replace the same folder, hold a lock (`cosup_jax.locks`).
    """
    recover(folder)
    new, old = _beside(folder)
    new.mkdir(parents=True)
    try:
        yield new
        for place, _, names in os.walk(new):
            for name in names:
                _sync_file(Path(place, name))
            sync_folder(Path(place))
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Brings a folder in order that a killed `replacing` has left; any other stays as it is."""
    new, old = _beside(folder)
    if old.exists() and not folder.exists():
        # The old one is moved away only when the new one is complete.
        (new if new.exists() else old).rename(folder)
    for left in (old, new):
        if left.exists():
            shutil.rmtree(left)


def _beside(folder: Path) -> tuple[Path, Path]:
    return tuple(folder.with_name(f".{folder.name}{end}") for end in (PART, REPLACED))  # type: ignore[return-value]


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
