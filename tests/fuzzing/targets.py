"""All that is read from files, for `.ci/fuzz.py` and the suite."""

from pathlib import Path

from tests.fuzzing import files, runs, scans
from tests.fuzzing.mutations import Target


def all_of(run: Path, folder: Path) -> dict[str, tuple[Target, Path]]:
    """Returns all targets, each with a folder of its own in `folder`.

    Args:
      run: a finished run on `lung_phantom`, whose dataset lies in the folder `tfds` beside it.
      folder: an empty folder.
    """
    found = {}
    for name, target in (files.targets() | scans.targets() | runs.targets(run)).items():
        place = folder / name.replace(" ", "_")
        place.mkdir(parents=True)
        target.beside(place)
        found[name] = target, place
    return found
