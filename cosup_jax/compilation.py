"""JAX's cache of compiled programs, kept between starts of this package's commands.

Compiling the training step of ResUNet_C2F takes longer than many steps; a second start reads the
program back instead. Where JAX's own variables are set they count: `JAX_COMPILATION_CACHE_DIR`
names another folder, `JAX_ENABLE_COMPILATION_CACHE=false` turns the cache off.
"""

import os
from pathlib import Path

from absl import logging

_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_SWITCH = "JAX_ENABLE_COMPILATION_CACHE"


def use_cache() -> Path | None:
    """Has JAX keep what it compiles in the user's cache folder; call it before JAX is imported.

    The folder is `cosup-jax/compiled` in `$XDG_CACHE_HOME`, by default `~/.cache`. Only its owner
    may enter it, because whoever can write there decides what is run. JAX ignores an entry that
    it cannot read. Nothing is ever removed; the folder may be deleted at any time.

    Returns:
      The folder, also where the user has named it; None where the cache is off or no folder can be
      made, of which a warning tells.
    """
    if os.environ.get(_SWITCH, "true").lower() in ("false", "0", "off", "no", "f", "n"):
        return None
    if named := os.environ.get(_FOLDER):
        return Path(named)
    # Relative paths are to be ignored (XDG Base Directory Specification).
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        folder = (base if base.is_absolute() else Path.home() / ".cache") / "cosup-jax" / "compiled"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} is not writable")
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        logging.warning(
            "compiled programs are not kept: %s; name another folder in %s", error, _FOLDER
        )
        return None
    # JAX reads its variables when it is imported, so asking for a folder need not cost the import.
    os.environ[_FOLDER] = str(folder)
    return folder
