"""What a command says of an error: one sentence, and the traceback where it is asked for."""

import errno
import os
import sys
from collections.abc import Iterator

DEBUG = "--debug"
# What the machine or the user can mend. Of other errors the program is to blame.
_EXPECTED = (ValueError, OSError, RuntimeError, ImportError, MemoryError, EOFError)
_FULL = "the disk is full; make room and start the same command again"
_HINTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the quota of this place is used up; make room and start the same command again",
    errno.EROFS: "this place can only be read; give another folder",
    errno.EACCES: "permission denied; give another folder, or change its permissions",
    errno.EPERM: "permission denied; give another folder, or change its permissions",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "something else of this name stands in the way",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.ENOENT: "no such file or folder",
    errno.ENAMETOOLONG: "this name, or the whole path, is too long; give a shorter one",
}
# Where another path was meant: who looked there knows what was expected.
_MISTAKEN = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
# What libraries say in C++, where no number of an error comes with it.
_SAID = {
    "No space left on device": _FULL,
    "Read-only file system": _HINTS[errno.EROFS],
    "embedded null": "a path holds a NUL character; give another",
    "RESOURCE_EXHAUSTED": "out of memory; a smaller batch or size needs less",
}


def tell(program: str, error: BaseException, *, debug: bool = False) -> int:
    """Prints one sentence on an error to stderr, or raises it again to show the traceback.

    Returns:
      1, the exit status.
    """
    if debug:
        raise error
    print(f"{program}: {sentence(error)}", file=sys.stderr)
    return 1


def sentence(error: BaseException) -> str:
    """Returns what to say of an error: where, what, and what to do.

    >>> sentence(OSError(errno.ENOSPC, "No space left on device", "runs/a"))
    'runs/a: the disk is full; make room and start the same command again'
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _HINTS:
            place = f"{one.filename}: " if one.filename is not None else ""
            hint = f"{place}{_HINTS[one.errno]}"
            if one is error.__cause__ and one.errno in _MISTAKEN and isinstance(error, ValueError):
                return str(error).replace(str(one), hint)  # says what to give instead, too
            return hint
    for text, hint in _SAID.items():
        if text in str(error):
            return f"{hint} ({_first_line(error)})"
    if isinstance(error, MemoryError):
        return f"out of memory; a smaller batch or size needs less ({_first_line(error)})"
    if isinstance(error, ValueError) and str(error):
        return str(error)  # of this package, with all that it has to say
    if isinstance(error, AssertionError) and _was_raised_in(error, "xla_bridge.py"):
        # JAX's, without a word, where it is installed without what is asked for.
        asked = os.environ.get("JAX_PLATFORMS", "")
        return f"JAX has no device of the platform asked for (JAX_PLATFORMS={asked!r}); unset it"
    if isinstance(error, _EXPECTED) or not _is_builtin(error):
        return _first_line(error)
    return (
        f"{type(error).__name__}: {_first_line(error)}; this should not happen. Please report it "
        f"with what {DEBUG} shows"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and those it came from, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _was_raised_in(error: BaseException, file: str) -> bool:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and os.path.basename(place.tb_frame.f_code.co_filename) == file


def _is_builtin(error: BaseException) -> bool:
    return type(error).__module__ == "builtins"


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":  # as a KeyError has it
        text = text[1:-1]
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
