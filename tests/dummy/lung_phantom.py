"""The phantoms are drawn when they are built, and need no files."""

from pathlib import Path


def write(folder: Path) -> None:
    """Makes the folder, which stays empty."""
    folder.mkdir(parents=True, exist_ok=True)
