"""Figures into files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

_DPI = 110
_NO_DATE = {".pdf": {"CreationDate": None}}  # the same figure gives the same bytes


def save(figure: Figure, path: Path, suffixes: Sequence[str] = (".png",)) -> None:
    """Saves a figure.

    Args:
      figure: what to save.
      path: the file without its suffix; its folder is made.
      suffixes: of the files to write, such as `.png` and `.pdf`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in suffixes:
        figure.savefig(
            path.parent / f"{path.name}{suffix}", dpi=_DPI, metadata=_NO_DATE.get(suffix)
        )
