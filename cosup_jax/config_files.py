"""Where the configuration files lie, and how they find each other.

In a clone they are the folder `configs` beside this package; the wheel has the same files in
`cosup_jax/configs`. Each begins with `from configs import base`, and so does one of the user's own:
that is the `base.py` beside the file, or else that of this package, wherever a process was started.
"""

import contextlib
import difflib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

NAME = "configs"
_HERE = Path(__file__).resolve().parent


def folder() -> Path:
    """Returns the folder of the configuration files that come with this package."""
    installed = _HERE / NAME
    return installed if installed.is_dir() else _HERE.parent / NAME


def names() -> list[str]:
    """Returns what the configurations are called."""
    found = (path.stem for path in folder().glob("*.py"))
    return sorted(name for name in found if name not in ("__init__", "base"))


def find(spec: str) -> tuple[Path, str]:
    """Returns the file that is meant by `NAME`, `NAME:arguments` or a path, and the arguments.

    Raises:
      FileNotFoundError: there is none; the message says which there are.
    """
    given, _, argument = spec.partition(":")
    path = Path(given).expanduser()
    if path.is_file():
        return path, argument
    if given in names():
        return folder() / f"{given}.py", argument
    if path.suffix or len(path.parts) != 1:
        raise FileNotFoundError(
            f"no configuration file {given!r}; the ones at hand are called {', '.join(names())}"
        )
    near = difflib.get_close_matches(given, names(), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise FileNotFoundError(
        f"no configuration {given!r}{hint}; there are {', '.join(names())}, or give the path of one"
    )


@contextlib.contextmanager
def importable(path: Path) -> Iterator[None]:
    """Inside, `configs` is the package that a configuration file means, whatever is called so.

    Args:
      path: the file.
    """
    beside = path.resolve().parent
    place = beside if (beside / "base.py").is_file() else folder()
    known = sys.modules.get(NAME)
    if known is not None and str(place) in map(str, getattr(known, "__path__", ())):
        yield
        return
    others = {name: sys.modules.pop(name) for name in [*sys.modules] if _is_ours(name)}
    module = types.ModuleType(NAME)
    module.__path__ = [str(place)]
    sys.modules[NAME] = module
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(others)


def _is_ours(name: str) -> bool:
    return name == NAME or name.startswith(f"{NAME}.")
