"""Writes the `dummy_data` of the builders, on which TFDS's own tests of them run.

    python -m tests.dummy.write [NAME ...]

writes that of the datasets named, or of all, into `tfds_builders/<name>/dummy_data`, in place of
what is there. The files are phantoms in the layouts of the publishers, and git ignores them.
"""

import importlib
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import tfds_builders


def write(name: str, folder: Path) -> None:
    """Writes the small source files of one dataset into a folder."""
    importlib.import_module(f"tests.dummy.{name}").write(folder)


def main(names: Iterable[str]) -> None:
    """Writes the dummy data of some datasets to where TFDS looks for it."""
    for name in names or tfds_builders.available():
        folder = Path(tfds_builders.load_class(name).code_path).parent / "dummy_data"
        shutil.rmtree(folder, ignore_errors=True)
        write(name, folder)
        print(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
