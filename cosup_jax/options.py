"""One way to spell options: words joined by dashes. Underscores are read as dashes."""

import difflib
import re
from collections.abc import Sequence

_NAME_BYTES, _PATH_BYTES = 255, 4095  # that file systems take
_BETWEEN = re.compile(r"[\s,=]+")  # several paths in one argument
_OPTION = re.compile(r"--?[A-Za-z]")
_FIELD = re.compile(r"--?config\.[^=]*")
_PART = re.compile(r"(--?config\.[^=\[]*)\[")
_END = "--"  # behind the last argument; what follows it on a command line is no option
_SHOWN = 40  # characters of an argument in a message


def spelled(name: str) -> str:
    """Returns a name of words as the command line spells it.

    >>> spelled("train_source")
    'train-source'
    """
    return name.replace("_", "-")


def dashed(arguments: Sequence[str], keep: str = "--config.") -> list[str]:
    """Returns a command line with the names of its options spelled with dashes.

    Args:
      arguments: without the program's name.
      keep: what the names of fields begin with, which are spelled as they are.

    >>> dashed(["--train_source=a_b", "x_y", "--config.batch_size=4", "--", "--a_b"])
    ['--train-source=a_b', 'x_y', '--config.batch_size=4', '--', '--a_b']
    """
    found: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("--") and not name.startswith(keep) and "--" not in found:
            name = spelled(name)
        found.append(f"{name}{equals}{value}")
    return found


def no_path(text: str) -> str:
    r"""Returns why a text can be no path on any file system, or an empty text.

    >>> no_path("runs/c2f"), no_path("a\0b")
    ('', 'holds a NUL character')
    """
    if "\0" in text:
        return "holds a NUL character"
    for path in _BETWEEN.split(text):
        longest = max(map(_bytes, path.split("/")))
        if longest > _NAME_BYTES:
            return f"holds a name of {longest:,} bytes, where a file's has at most {_NAME_BYTES}"
        if _bytes(path) > _PATH_BYTES:
            return f"is a path of over {_PATH_BYTES:,} bytes"
    return ""


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))  # what is no text stands for a byte each


def check(arguments: Sequence[str]) -> None:
    r"""Refuses what can be no path, in whatever argument; none of other values looks like that.

    Raises:
      ValueError: naming the option.

    >>> check(["--workdir", "a\0b"])
    Traceback (most recent call last):
    ValueError: --workdir: 'a\x00b' holds a NUL character; give another
    """
    before = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        named = argument.startswith("-")
        if not named or not equals:
            value = argument
        if why := no_path(value):
            name = option if named else before or "an argument"
            shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
            raise ValueError(f"{name}: {shown!r} {why}; give another")
        before = option if named and not equals else ""


def joined(argv: Sequence[str]) -> list[str]:
    """Writes each `--config.x value` as one word, `--config.x=value`.

    Raises:
      ValueError: a field without a value, or a part of a field.

    >>> joined(["train.py", "--config.a", "-1", "--config.b=c", "d", "--e", "f"])
    ['train.py', '--config.a=-1', '--config.b=c', 'd', '--e', 'f']
    """
    found: list[str] = []
    waiting = ""
    for argument in [*argv, _END]:
        is_option = argument == _END or _OPTION.match(argument)
        if waiting and is_option:
            raise ValueError(f"{waiting}: has no value; expected {waiting}=VALUE")
        if part := _PART.match(argument):
            raise ValueError(
                f"{argument}: sets a part of a field; expected all of it, {part[1]}=VALUE"
            )
        if _FIELD.fullmatch(argument):
            waiting = argument
        else:
            found.append(f"{waiting}={argument}" if waiting else argument)
            waiting = ""
    return found[:-1]


def nearest(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Returns a hint at the field whose name is like one that is none; empty where none is.

    >>> nearest("data.sise", ["data.size", "epochs"])
    '; the nearest is data.size'
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; the nearest is {prefix}{near[0]}" if near else ""


def last_of_each(argv: Sequence[str]) -> list[str]:
    """Drops all but the last of several `--config.x=…` of one field, which the last one wins.

    ml_collections would join tuples that are given twice.

    >>> last_of_each(["train.py", "--config.a=(1, 2)", "--b", "--config.a=(3, 4)"])
    ['train.py', '--b', '--config.a=(3, 4)']
    """
    names = [a.lstrip("-").partition("=")[0] if a.startswith("-") else "" for a in argv]
    return [
        argument
        for i, (argument, name) in enumerate(zip(argv, names, strict=True))
        if not (name.startswith("config.") and "=" in argument and name in names[i + 1 :])
    ]
