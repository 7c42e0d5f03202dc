"""A folder of results: a folder for each scan, and one table of all of them.

The table is made of the records alone, whoever wrote them and when. Several processes may use the
folder at once: a scan is worked on by the one that holds the lock of its place; names are given,
folders moved and the table written by the one that holds the folder's own lock. What has a hidden
name is unfinished. What a killed process leaves is tidied up by the next one.
"""

import contextlib
import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cosup_jax import files, locks
from cosup_jax.prediction import records, table
from cosup_jax.prediction.records import Identity, Record
from cosup_jax.prediction.table import Call
from cosup_jax.scans.results import TABLE, UNCERTAIN

_TURN_S, _TURNS = 0.05, 40  # how often it is tried to come to the table before it is told
_UNFINISHED = re.compile(r"\.([0-9a-f]{12})\.(work|lock)")
_MOVED = re.compile(rf"\.(.+)({re.escape(files.PART)}|{re.escape(files.REPLACED)})")


class Folder:
    """The folder of results of a cohort.

    Args:
      path: the folder, which is there.
      call: what results the present call makes.
      table_at_end: the table is not written after each scan, but by `forget` alone.
    """

    def __init__(self, path: Path, call: Call, *, table_at_end: bool = False) -> None:
        self.path, self.call, self._table_at_end = path, call, table_at_end
        self._known: dict[str, tuple[tuple[int, ...], Record | None]] = {}

    def records(self) -> list[Record]:
        """Returns the records of all folders, in the order of the table."""
        found: dict[str, tuple[tuple[int, ...], Record | None]] = {}
        with os.scandir(self.path) as entries:
            names = [
                e.name for e in entries if e.name[0] != "." and e.is_dir(follow_symlinks=False)
            ]
        for name in sorted(names, key=table.numbered):
            with contextlib.suppress(OSError):
                stat = (self.path / name / records.RECORD).stat()
                stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                known = self._known.get(name)
                found[name] = (
                    known
                    if known and known[0] == stamp
                    else (stamp, records.read(self.path / name))
                )
        self._known = found
        return [record for _, record in found.values() if record is not None]

    def finished(self, scan: Identity, content: str) -> Record | None:
        """Returns the record of results of this content that are whole and as this call wants them.

        They are those of the scan's place, or of a scan of the same name that has moved, or came
        before places were recorded.
        """
        wanted = self.call.made_of(content)
        for record in self.records():
            if not record.done or not records.serves(record.made_of, wanted):
                continue
            if self._is_of(record, scan, content) and record.is_whole():
                return record
        return None

    def before(self, scan: Identity, content: str | None) -> Record | None:
        """Returns the record of results that differ only in what of them is written."""
        for record in self.records():
            own = record.place == scan.place and record.content == content and not record.earlier
            if own and record.done and not self.call.differs(record):
                return record
        return None

    def _is_of(self, record: Record, scan: Identity, content: str) -> bool:
        if record.place == scan.place:
            return True
        if record.content != content or records.fold(record.folder.name) != records.fold(scan.name):
            return False
        place = record.row.get("input", "")
        return not record.place or not place or not os.path.exists(place)

    @contextlib.contextmanager
    def working(self, scan: Identity, *, wait: bool = False) -> Iterator[Path]:
        """Yields an empty folder for the results of a scan, which nobody else works on meanwhile.

        Raises:
          locks.LockedError: another process works on it, and `wait` is not set.
        """
        work = self.path / f".{scan.place}.work"
        lock = self.path / f".{scan.place}.lock"
        with locks.lock(lock, f"{scan.name} in {self.path}", wait=wait, remove=True):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def publish(self, scan: Identity, work: Path, record: Record) -> Record:
        """Gives results their name, in one step; what had that name is replaced or set aside.

        Results of the same content are replaced. Those of other content are kept under another
        name, as earlier ones, and so is a folder into which somebody has put something.

        Args:
          scan: which one it is.
          work: the folder from `working`, with the results in it.
          record: of the results; its folder does not matter.
        """
        with self._turn():
            folder = self._make_way(scan, record)
            record = replace(
                record,
                folder=folder,
                row={**record.row, "scan": folder.name},
                path="" if record.done else scan.path,
                place=scan.place,
                sizes=records.measure(work),
                digests=records.mask_digests(work),
            )
            if folder.exists():
                _open_up(folder)
            with files.replacing(folder) as new:
                for path in sorted(work.iterdir()):
                    path.rename(new / path.name)
                record.write(new)
            self._keep_table()
        return record

    def restore(self, scan: Identity, record: Record, row: Mapping[str, Any]) -> Record:
        """Makes results those of a place again, whose scan has moved there or come back.

        Args:
          scan: which one it is.
          record: of the results, from `finished`.
          row: what changes in the row of the table.
        """
        with self._turn():
            folder = self._make_way(scan, record)
            if folder.exists() and folder != record.folder:
                self._remove(folder)
            changed = replace(
                record,
                row={**record.row, **row, "scan": folder.name},
                place=scan.place,
                earlier=False,
            )
            _open_up(record.folder)
            changed.write(record.folder)
            if folder != record.folder:
                record.folder.rename(folder)
                files.sync_folder(self.path)
            self._keep_table()
        return replace(changed, folder=folder)

    def forget(self, paths: set[str], places: set[str]) -> None:
        """Removes failures of scans that are no longer found where they were."""
        with self._turn():
            for record in self.records():
                if not record.done and record.path in paths and record.place not in places:
                    self._remove(record.folder)
            table.write(self.path / TABLE, self.records(), self.call)

    def _keep_table(self) -> None:
        if not self._table_at_end:
            table.write(self.path / TABLE, self.records(), self.call)

    def tidy(self) -> None:
        """Brings in order what killed processes have left; what others work on stays."""
        with self._turn():
            for path in sorted(self.path.iterdir()):
                if found := _MOVED.fullmatch(path.name):
                    if path.is_dir():
                        _open_up(path)
                        with contextlib.suppress(OSError):
                            files.recover(self.path / found[1])
                    elif found[1].startswith(TABLE):
                        path.unlink()
        left = {
            found[1] for path in self.path.iterdir() if (found := _UNFINISHED.fullmatch(path.name))
        }
        for place in sorted(left):
            with (
                contextlib.suppress(locks.LockedError),
                self.working(Identity("", place, "a scan")),
            ):
                pass

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Holds the folder's own lock, which nobody holds for long."""
        path, what = self.path / f".{TABLE}.lock", f"the table of {self.path}"
        with contextlib.ExitStack() as stack:
            for _ in range(_TURNS):
                with contextlib.suppress(locks.LockedError):
                    stack.enter_context(locks.lock(path, what, remove=True))
                    break
                time.sleep(_TURN_S)
            else:
                stack.enter_context(locks.lock(path, what, wait=True, remove=True))
            yield

    def _name(self, scan: Identity, content: str | None) -> str:
        name = records.fit(scan.name)
        for record in self.records():
            own = record.place == scan.place and not record.earlier
            if own and record.folder.name.startswith(name):
                return record.folder.name
            if record.folder.name == name and self._is_of(record, scan, content or ""):
                return name
        for candidate in (name, f"{name}-{scan.place[:6]}"):
            if self._is_free(candidate):
                return candidate
        return f"{name}-{scan.place}"

    def _is_free(self, name: str) -> bool:
        folded = records.fold(name)
        same = [other for other in os.listdir(self.path) if records.fold(other) == folded]
        if folded in (TABLE, UNCERTAIN) or len(same) > 1 or same not in ([], [name]):
            return False
        folder = self.path / name
        return not same or (
            folder.is_dir() and not folder.is_symlink() and records.is_remains(folder)
        )

    def _make_way(self, scan: Identity, new: Record) -> Path:
        """Returns the folder for new results, where there is nothing now but what they replace."""
        folder = self.path / self._name(scan, new.content)
        for record in self.records():
            if record.folder == new.folder:
                continue
            in_place = record.place == scan.place and not record.earlier
            if not in_place and record.folder != folder:
                continue
            same = record.content == new.content and new.done
            if record.done and (not same or record.is_changed()):
                self._set_aside(record, away=record.folder == folder)
            elif record.folder != folder:
                self._remove(record.folder)
        return folder

    def _set_aside(self, record: Record, *, away: bool) -> None:
        """Keeps results as earlier ones, under another name where theirs is needed."""
        _open_up(record.folder)
        replace(record, earlier=True).write(record.folder)
        if away:
            stem = f"{record.folder.name}-{(record.content or record.place)[:6]}"
            names = (f"{stem}-{i}" if i > 1 else stem for i in itertools.count(1))
            record.folder.rename(next(p for n in names if not (p := self.path / n).exists()))

    def _remove(self, folder: Path) -> None:
        away = folder.with_name(f".{folder.name}{files.REPLACED}")
        _open_up(folder)
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def _open_up(folder: Path) -> None:
    """Lets the owner of folders change them, who may have protected them."""
    for place, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            os.chmod(place, os.stat(place).st_mode | 0o700)
