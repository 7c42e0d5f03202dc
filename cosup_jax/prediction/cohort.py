"""Scans one after another: masks, findings, pages, and one table of all of them.

A scan whose content, weights and settings are still the same is not computed again. Several
processes may work on one folder of results; each scan is done by one of them.
"""

import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging
from tqdm import tqdm

from cosup_jax import __version__, locks, weights
from cosup_jax.prediction import records, results, table
from cosup_jax.prediction.folder import Folder
from cosup_jax.prediction.records import DONE, FAILED, Identity, Record
from cosup_jax.prediction.segment import Segmenter
from cosup_jax.prediction.settings import CohortError, Settings
from cosup_jax.prediction.table import Call
from cosup_jax.scans.find import Source
from cosup_jax.scans.results import TABLE

_LONGEST_REASON = 400


def process(
    sources: Sequence[Source], out: Path, network: weights.Pretrained, settings: Settings
) -> list[dict[str, Any]]:
    """Processes scans, going on where an earlier call was interrupted.

    Whatever is wrong with a scan becomes the reason in its row, and the others are done.

    Args:
      sources: from `scans.find`; one that is given twice is taken once.
      out: the folder for results; made where it is missing.
      network: from `load_pretrained`.
      settings: see `Settings`.

    Returns:
      one row for each scan, as `cohort.csv` has it; `status` is `done` or `failed`.

    Raises:
      CohortError: the folder for results cannot be made or written.
    """
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        if (out / TABLE).is_dir():
            raise CohortError(f"{out / TABLE}: is a folder, where the table should be; rename it")
        folder = Folder(out, Call(network.digest, settings.kept(), __version__))
        folder.tidy()
    segmenter = Segmenter(network, tta=settings.tta)
    rows: dict[str, dict[str, Any]] = {}
    places: dict[str, Source] = {}
    for source in sources:
        places.setdefault(place_of(source), source)
    with tqdm(total=len(places), unit="scan", disable=len(places) < 2) as bar:
        scans = _Scans(folder, network, segmenter, settings, bar)
        for wait in (False, True):  # what others work on is waited for at the end
            for place, source in places.items():
                if place not in rows and (row := scans.process(source, wait=wait)):
                    rows[place] = row
                    bar.update()
    with _writing(out):
        paths = set() if settings.series is not None else {*map(path_of, places.values())}
        folder.forget(paths, set(places))
    return [rows[place] for place in places]


def path_of(source: Source) -> str:
    """Returns a digest of where a scan lies."""
    return records.short(str(source.path.resolve()))


def place_of(source: Source) -> str:
    """Returns a digest of where a scan lies, and of which one there it is."""
    case = source.name if source.kind == "slices" else source.part
    return records.short(f"{source.kind}\0{source.path.resolve()}\0{case}")


@dataclass
class _Scans:
    folder: Folder
    network: weights.Pretrained
    segmenter: Segmenter
    settings: Settings
    bar: tqdm

    def process(self, source: Source, *, wait: bool) -> dict[str, Any] | None:
        """Returns the row of a scan; None where another process works on it."""
        content: str | None = None
        fault: Exception | None = None
        try:
            content = source.digest()
        except Exception as error:  # of a file in any condition
            fault = error
        place = place_of(source)
        name = source.name or f"scan_{(content or place)[:8]}"
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
        for word in sorted(words, key=len, reverse=True):
            told = told.replace(word, "…")
    return told if len(told) <= _LONGEST_REASON else f"{told[: _LONGEST_REASON - 1]}…"
