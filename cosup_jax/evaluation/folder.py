"""The folder of an evaluation: its files by name, and none that an earlier evaluation has left."""

import contextlib
import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from cosup_jax import files
from cosup_jax.evaluation import tables

PREDICTIONS, TRUTHS = "predictions", "truths"
SAVED = "saved_predictions"  # stands in the summary where these two folders were written
OVERLAYS, FUSION, CALIBRATION, BLAND_ALTMAN = "overlays", "fusion", "calibration", "bland_altman"
FIGURES = tuple(f"{name}.png" for name in (OVERLAYS, FUSION, CALIBRATION, BLAND_ALTMAN))


def map_paths(folder: Path, case_id: str, slice_index: int | str) -> tuple[Path, Path]:
    """Returns where the map of a slice and its truth are written."""
    name = f"{case_id}_{slice_index}.png"
    return folder / PREDICTIONS / name, folder / TRUTHS / name


@contextlib.contextmanager
def renewing(folder: Path, maps: Collection[Path] = ()) -> Iterator[list[Path]]:
    """Yields a list for the files that the block writes; others of an earlier evaluation go.

    Only what this package has written does: tables and figures by their names, where a summary of
    ours lies beside them, and maps where that summary says that they were saved.

    Args:
      folder: where the block writes tables and figures.
      maps: pictures that stay: those written just now, or those scored.
    """
    earlier = _read_summary(folder)
    if earlier.get(SAVED) is True:
        stay = {path.resolve() for path in maps}
        for path in _saved_maps(folder):
            if path.resolve() not in stay:
                path.unlink(missing_ok=True)
        for name in (PREDICTIONS, TRUTHS):
            with contextlib.suppress(OSError):  # it is not there, or not empty
                (folder / name).rmdir()
    written: list[Path] = []
    yield written
    if earlier:
        for name in (*tables.FILES, *FIGURES):
            if folder / name not in written:
                (folder / name).unlink(missing_ok=True)


def _read_summary(folder: Path) -> dict:
    """Returns the summary of the evaluation that lies in a folder; empty where none does."""
    try:
        found = files.read_json(folder / tables.SUMMARY)
    except (OSError, files.FileError):
        return {}
    return found if "protocol" in found and "per_case" in found else {}


def _saved_maps(folder: Path) -> list[Path]:
    try:
        with (folder / tables.PER_SLICE).open(newline="", encoding="utf-8") as file:
            rows = [(files.from_cell(r["case_id"]), r["slice_index"]) for r in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
    return [path for row in rows if "/" not in "".join(row) for path in map_paths(folder, *row)]
