"""One owner at a time: of a run's folder, of a dataset's build, of a folder of results.

The kernel's lock of a file (flock) ends with its holder, however that ends, so nothing has to be
cleaned up; the file itself stays. On shared file systems one machine may not see the locks of
another, and a process number says nothing there. So the holder also writes a sign of life into the
file every few seconds, and a sign of another machine is watched: while it moves the lock is held,
and when it stands still its holder is gone. No clocks are compared.
"""

import contextlib
import datetime
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cosup_jax import files

SIGN_S = 10.0  # seconds between two signs of life
PATIENCE = 3  # so many of them must be missing
_POLL_S = 0.5
_RECORD = 4096  # bytes that are read of a sign
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_held: dict[tuple[int, int], Path] = {}


class LockedError(files.FileError):
    """Another process works there; the message says which and where."""


@contextlib.contextmanager
def lock(path: Path, what: str, *, wait: bool = False, remove: bool = False) -> Iterator[None]:
    """Holds a lock while the block runs. A process may take one that it holds already.

    Args:
      path: the lock's file, made where it is missing, with its folder.
      what: what is locked, for messages: `the run in runs/c2f`.
      wait: wait for another holder to end, with a word, rather than refuse.
      remove: the file is taken away at the end, where it would stand among a user's results.

    Raises:
      LockedError: another process holds it, and `wait` is not set.
      OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, _OPEN, 0o666)
    try:
        if _key(descriptor) in _held:
            yield
            return
        _acquire(descriptor, path, what, wait)
        while not files.is_at(path, descriptor):  # the holder before has taken it away
            os.close(descriptor)
            descriptor = os.open(path, _OPEN, 0o666)
            _acquire(descriptor, path, what, wait)
        key = _key(descriptor)
        over = threading.Event()
        _sign(descriptor)
        living = threading.Thread(target=_live, args=(descriptor, over), daemon=True)
        living.start()
        _held[key] = path
        try:
            yield
        finally:
            del _held[key]
            over.set()
            living.join()
            with contextlib.suppress(OSError):  # a full disk does not keep a lock
                os.ftruncate(descriptor, 0)
                if remove:
                    path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def may_be_held(path: Path) -> bool:
    """Whether another process holds a lock, as far as can be told without waiting for it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if _key(descriptor) in _held:
            return False
        sign = _read(path)
        return not files.try_lock(descriptor) or (bool(sign) and _machine(sign) != _here())
    finally:
        os.close(descriptor)


def _key(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _acquire(descriptor: int, path: Path, what: str, wait: bool) -> None:
    told = False
    while True:
        locked = files.try_lock(descriptor)
        if locked is None:
            _say(f"{path}: this file system has no locks; start nothing else in {what} meanwhile")
        sign = _read(path)
        free = locked is not False
        if free and sign and (locked is None or _machine(sign) != _here()):
            _say(
                f"{what} was last worked on by {_owner(sign)}; watching for "
                f"{SIGN_S * PATIENCE:.0f} s whether that is still so"
            )
            free = not _moves(path, sign)
        if free:
            return
        if not wait:
            raise LockedError(
                f"{what} is worked on by {_owner(_read(path))}; wait until that has ended, or give "
                "another folder"
            )
        if not told:
            _say(f"waiting for {_owner(_read(path))}, which works on {what}")
            told = True
        time.sleep(_POLL_S)


def _moves(path: Path, sign: bytes) -> bool:
    """Watches whether another machine renews its sign of life."""
    for _ in range(int(SIGN_S * PATIENCE / _POLL_S)):
        time.sleep(_POLL_S)
        if (now := _read(path)) != sign:
            return bool(now)
    return False


def _live(descriptor: int, over: threading.Event) -> None:
    while not over.wait(SIGN_S):
        with contextlib.suppress(OSError):
            _sign(descriptor)


def _sign(descriptor: int) -> None:
    sign = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "machine": _here(),
        "alive": datetime.datetime.now(datetime.UTC).isoformat(),
    }
    content = json.dumps(sign).encode()
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def _read(path: Path) -> bytes:
    """Opens the file anew, as a shared file system shows another machine's writing only so."""
    try:
        with path.open("rb") as file:
            return file.read(_RECORD)
    except FileNotFoundError:  # taken away meanwhile
        return b""


def _fields(sign: bytes) -> dict[str, object]:
    try:
        return files.parse_json(sign, "sign of life")
    except files.FileError:
        return {}  # just being written, or none


def _machine(sign: bytes) -> object:
    return _fields(sign).get("machine")


def _owner(sign: bytes) -> str:
    known = _fields(sign)
    if not known:
        return "another process"
    return f"process {known.get('process')} on {known.get('host')} (alive at {known.get('alive')})"


def _here() -> str:
    """Returns what tells this machine's kernel, whose locks count, from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
