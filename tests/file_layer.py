"""A file layer that refuses to write below a folder, as a full disk or one to be read only does.

Permission bits would not do: the administrator, as whom tests may run, is not bound by them.
"""

import builtins
import errno
import io
import os
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def refuse(monkeypatch, folder, number=errno.ENOSPC):
    """Has every call that would write below `folder` fail with an error number."""
    root = os.path.realpath(folder)

    def is_below(path):
        if isinstance(path, int):
            return False
        return Path(os.path.realpath(os.fspath(path))).is_relative_to(root)

    def wrap(module, name, writes):
        real = getattr(module, name)

        def call(path, *args, **kwargs):
            target = args[0] if name in ("rename", "replace") else path
            if writes(*args, **kwargs) and is_below(target):
                raise OSError(number, os.strerror(number), os.fspath(target))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(module, name, call)

    def in_mode(mode="r", *args, **kwargs):
        return any(letter in mode for letter in "wax+")

    for module in (builtins, io):
        wrap(module, "open", in_mode)
    wrap(os, "open", lambda flags, *args, **kwargs: bool(flags & WRITING))
    for name in ("mkdir", "rename", "replace"):
        wrap(os, name, lambda *args, **kwargs: True)
