"""Scans one after another: masks, findings, pages, and one table of all of them.

A scan whose content, weights and settings are still the same is not computed again. Several
processes may work on one folder of results; each scan is done by one of them.
"""

import os
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging
from tqdm import tqdm

from cosup_jax import __version__, locks, weights
from cosup_jax.prediction import ahead, records, results, table
from cosup_jax.prediction.folder import Folder
from cosup_jax.prediction.records import DONE, FAILED, Identity, Record
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.prediction.settings import CohortError, Settings
from cosup_jax.prediction.table import Call
from cosup_jax.scans.find import Source
from cosup_jax.scans.results import TABLE
from cosup_jax.weights import lung_network

_LONGEST_REASON = 400
# Names of folders and files that identify nobody, and stand in many a reason.
_COMMON = {"dicom", "series", "file", "files", "image", "images", "scan", "scans"}


def process(
    sources: Sequence[Source],
    out: Path,
    network: weights.Pretrained,
    settings: Settings,
    *,
    share: tuple[int, int] = (1, 1),
) -> list[dict[str, Any]]:
    """Processes scans, going on where an earlier call was interrupted.

    Whatever is wrong with a scan becomes the reason in its row, and the others are done.

    Args:
      sources: from `scans.find`; one that is given twice is taken once.
      out: the folder for results; made where it is missing.
      network: from `load_pretrained`.
      settings: see `Settings`.
      share: (I, N) for every Nth of the scans from the Ith on, which other calls do the rest of.

    Returns:
      one row for each scan of the share, as `cohort.csv` has it; `status` is `done` or `failed`.

    Raises:
      CohortError: the folder for results cannot be made or written.
    """
    folder, places = open_folder(out, network, settings), by_place(sources)
    segmenter = Segmenter(network, tta=settings.tta)
    rows: dict[str, dict[str, Any]] = {}
    number, count = share
    names = names_of(places) if count > 1 else {}
    own = dict([*places.items()][number - 1 :: count])
    with tqdm(total=len(own), unit="scan", disable=len(own) < 2) as bar:
        scans = Scans(folder, network, segmenter, settings, bar)
        for wait in (False, True):  # what others work on is waited for at the end
            for place, source in own.items():
                if place in rows:
                    continue
                if row := scans.process(source, wait=wait, name=names.get(place, "")):
                    rows[place] = row
                    bar.update()
    forget_others(folder, places, settings)
    return [rows[place] for place in own]


def open_folder(
    out: Path, network: weights.Pretrained, settings: Settings, *, table_at_end: bool = False
) -> Folder:
    """Returns the folder for results, made where it is missing and tidied up; see `Folder`.

    Raises:
      CohortError: it cannot be made or written.
    """
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        if (out / TABLE).is_dir():
            raise CohortError(f"{out / TABLE}: is a folder, where the table should be; rename it")
        call = Call(network.digest, settings.kept(), __version__)
        folder = Folder(out, call, table_at_end=table_at_end)
        folder.tidy()
    return folder


def by_place(sources: Sequence[Source]) -> dict[str, Source]:
    """Returns each scan once, by its place."""
    places: dict[str, Source] = {}
    for source in sources:
        places.setdefault(place_of(source), source)
    return places


def names_of(places: Mapping[str, Source]) -> dict[str, str]:
    """Returns what the results of scans are called in whatever order they are done.

    They are the names that they get in the given order: a second scan of a name has its place
    behind it. Those without a name are left out, which are called by their content.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for place, source in places.items():
        if source.name:
            folded = records.fold(records.fit(source.name))
            second = f"{records.fit(source.name)}-{place[:6]}"
            names[place] = second if folded in taken else source.name
            taken.add(folded)
    return names


def forget_others(folder: Folder, places: Mapping[str, Source], settings: Settings) -> None:
    """Removes failures of scans that are no longer there, and writes the table.

    Args:
      folder: of results.
      places: of all scans of the call.
      settings: of the call.
    """
    with _writing(folder.path):
        paths = set() if settings.series is not None else {*map(path_of, places.values())}
        folder.forget(paths, set(places))


def path_of(source: Source) -> str:
    """Returns a digest of where a scan lies."""
    return records.short(str(source.path.resolve()))


def place_of(source: Source) -> str:
    """Returns a digest of where a scan lies, and of which one there it is."""
    case = source.name if source.kind == "slices" else source.part
    return records.short(f"{source.kind}\0{source.path.resolve()}\0{case}")


@dataclass
class Scans:
    """What scans are processed with, one after another."""

    folder: Folder
    network: weights.Pretrained
    segmenter: Segmenter
    settings: Settings
    bar: tqdm
    _begun: bool = False

    def process(self, source: Source, *, wait: bool, name: str = "") -> dict[str, Any] | None:
        """Returns the row of a scan; None where another process works on it.

        Args:
          source: the scan.
          wait: for the other process, rather.
          name: what its results are called, see `names_of`.
        """
        content: str | None = None
        fault: Exception | None = None
        try:
            content = source.digest()
        except Exception as error:  # of a file in any condition
            fault = error
        place = place_of(source)
        name = name or source.name or f"scan_{(content or place)[:8]}"
        scan = Identity(path_of(source), place, name)
        with _writing(self.folder.path):
            if not (record := self._finished(scan, source, content)):
                try:
                    with self.folder.working(scan, wait=wait) as work:
                        # It may have been finished since.
                        record = self._finished(scan, source, content) or self._make(
                            scan, source, content, fault, work
                        )
                except locks.LockedError:
                    return None
        row = table.row(record, self.folder.call)
        if row["status"] == FAILED:
            path, why = str(source.path), row["reason"]
            self.bar.write(why if why.startswith(path) else f"{path}: {why}")
        elif row["scan"] != source.name:
            # The only place where the two names stand together.
            self.bar.write(f"{source.path} is {row['scan']}")
        return row

    def _finished(self, scan: Identity, source: Source, content: str | None) -> Record | None:
        record = self.folder.finished(scan, content) if content else None
        if record is None:
            return None
        moved = record.place != scan.place and bool(source.name)
        if record.earlier or moved:
            return self.folder.restore(scan, record, {"input": self._input(source)})
        return record

    def _make(
        self,
        scan: Identity,
        source: Source,
        content: str | None,
        fault: Exception | None,
        work: Path,
    ) -> Record:
        settings = self.settings
        before = self.folder.before(scan, content)
        if before:
            settings = settings.joined(before.made_of["settings"])
        row: dict[str, Any] = {
            "scan": scan.name,
            "input": self._input(source),
            "status": FAILED,
            "sha256": content or "",
            "weights": f"{self.network.name} {self.network.digest[:12]}",
        }
        started = time.perf_counter()
        if content and not fault:
            maker = results.Maker(self.network, self.segmenter, settings)
            self._begin()
            try:
                found = maker.make(source.read(settings.hu_offset), work, scan.name, content)
                row |= {**found, "status": DONE, "seconds": round(time.perf_counter() - started, 1)}
            except Exception as error:  # whatever reading raises, of a file in any condition
                if isinstance(error, OSError) and self._is_ours(error):
                    raise
                fault = error
        if fault:
            hidden = source.kind == "dicom" and not settings.identify
            logging.debug("%s: %s", source.path, "".join(traceback.format_exception(fault)))
            row["reason"] = reason(fault, source if hidden else None)
        call = Call(self.network.digest, settings.kept(), __version__)
        record = Record(work, row, call.made_of(content))
        return self.folder.publish(scan, work, record)

    def _begin(self) -> None:
        """Has the first scan's networks compiled while it is read."""
        if not self._begun:
            self._begun = True
            ahead.begin(self.segmenter.prepare, lung_network.prepare)

    def _input(self, source: Source) -> str:
        return "" if source.kind == "dicom" and not self.settings.identify else str(source.path)

    def _is_ours(self, error: OSError) -> bool:
        """Whether an error is that of the folder of results, and not of the scan."""
        if error.errno in results.NO_ROOM:
            return True
        named = error.filename
        return isinstance(named, str | os.PathLike) and Path(named).is_relative_to(self.folder.path)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turns what a disk refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise CohortError(
            f"--out={out}: {error.strerror or error}; what is finished there is kept, and the same "
            "command goes on"
        ) from error


def reason(error: Exception, hidden: Source | None = None) -> str:
    """Returns what went wrong in one sentence.

    Args:
      error: what was raised.
      hidden: the scan, where neither names of its files nor its headers may be told.
    """
    own = type(error).__module__.partition(".")[0] == "cosup_jax"
    if isinstance(error, OSError):
        told = error.strerror or type(error).__name__
        if error.filename and not hidden:
            told = f"{error.filename}: {told}"
    elif isinstance(error, MemoryError):
        told = "there is not enough memory for it"
    elif own:
        told = str(error)
    else:
        told = f"it cannot be read ({type(error).__name__})"
        told += "" if hidden else f": {error}"
    told = " ".join(told.split())
    if hidden:
        names = {hidden.path, *hidden.path.parents, *hidden.files}
        words = {word for path in names for word in (path.name, path.stem) if len(word) > 3}
        words = {word for word in words if word.casefold().rstrip("0123456789") not in _COMMON}
        for word in sorted(words, key=len, reverse=True):
            told = told.replace(word, "…")
    return told if len(told) <= _LONGEST_REASON else f"{told[: _LONGEST_REASON - 1]}…"
