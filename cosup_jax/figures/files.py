"""Figures into files."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cosup_jax import files

_DPI = 110
_NO_DATE = {".pdf": {"CreationDate": None}}  # the same figure gives the same bytes


def save(figure: Figure, path: Path, suffixes: Sequence[str] = (".png",)) -> None:
    """Saves a figure.

    Args:
      figure: what to save.
      path: the file without its suffix; its folder is made.
      suffixes: of the files to write, such as `.png` and `.pdf`.
    """
    for suffix in suffixes:
        content, kind = io.BytesIO(), suffix.removeprefix(".")
        figure.savefig(content, format=kind, dpi=_DPI, metadata=_NO_DATE.get(suffix))
        files.write_bytes(path.parent / f"{path.name}{suffix}", content.getvalue())
