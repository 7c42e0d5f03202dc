"""Records: what the results of one scan were made of, and whether they are still whole.

Each scan has a folder with `findings.json` in it: where the scan lay, what the results were made of
(its content, weights, settings, version), which files there are, and its row of the table.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosup_jax import files
from cosup_jax.data import sources
from cosup_jax.scans.results import MASKS, RECORD

DONE, FAILED, EARLIER = "done", "failed", "earlier"
# Settings that say what is written or which scans are meant, not what is found: who asks for less
# has it already.
OUTPUTS = ("report", "probability", "format", "identify", "series")
AS_PREDICTED = "the figures are those of the mask as predicted"
_OWN_FILES = re.compile(r"(mask|classes|probability)(\.nii\.gz|\.dcm)?|report\.html")
_LONGEST = 180  # bytes of a name, so that what is put before and behind it has room
_DIGITS = 12


@dataclass(frozen=True)
class Identity:
    """Which scan it is, whatever its content.

    Attributes:
      path: digest of the path of its file or folder.
      place: digest of that path, and of which of the scans there it is.
      name: what its folder is to be called.
    """

    path: str
    place: str
    name: str


@dataclass(frozen=True)
class Record:
    """The record of one folder of results.

    Attributes:
      folder: the folder.
      row: the row of the table; `status` is `done` or `failed`.
      made_of: `input` (SHA-256 of the scan's content, None where it was unreadable), `weights`
        (their digest), `settings`, `version`.
      path: see `Identity`, where the scan failed; empty for results, which need not be found by it.
      place: see `Identity`; empty in records of versions that did not keep it.
      sizes: bytes of each file of results, by its path in the folder; likewise.
      earlier: something else lies in that place by now, and has results of its own.
      digests: SHA-256 of each file of the mask as it was written, by its path in the folder; None
        in records of versions that did not keep them.
    """

    folder: Path
    row: Mapping[str, Any]
    made_of: Mapping[str, Any]
    path: str = ""
    place: str = ""
    sizes: Mapping[str, int] | None = None
    earlier: bool = False
    digests: Mapping[str, str] | None = None

    @property
    def done(self) -> bool:
        """Whether there are results."""
        return self.row["status"] == DONE

    @property
    def content(self) -> str | None:
        """SHA-256 of the scan that it was made of."""
        return self.made_of.get("input")

    def is_whole(self) -> bool:
        """Whether all files are there as they were written, or a mask that somebody corrected."""
        if self.sizes is None:
            return True
        found, masks = measure(self.folder), self.digests or {}
        return found.keys() == self.sizes.keys() and all(
            size == self.sizes[name] or (size and name in masks) for name, size in found.items()
        )

    def is_changed(self) -> bool:
        """Whether somebody has put something into the folder, or changed a file of it.

        Files that are gone or empty are a fault of a disk, and not somebody's work.
        """
        if self.sizes is None:
            return False
        found = measure(self.folder)
        other = any(size and size != self.sizes.get(name) for name, size in found.items())
        return other or self.is_corrected()

    def is_corrected(self) -> bool:
        """Whether a mask lies there that was not written so, under whatever name of ours.

        False where nobody knows, as there are no `digests`.
        """
        if self.digests is None:
            return False
        return any(self.digests.get(name) != d for name, d in mask_digests(self.folder).items())

    def lost_mask(self) -> str:
        """Returns which file of the mask, as it was written, is gone or empty; or nothing."""
        found = measure(self.folder) if self.digests else {}
        lost = sorted(name for name in self.digests or () if not found.get(name))
        many = f" ({len(lost)} files)" * (len(lost) > 1)
        return f"of its mask {lost[0]} is gone or empty{many}" if lost else ""

    def write(self, folder: Path) -> None:
        """Writes the record into a folder."""
        fields = dataclasses.asdict(self)
        names = ("made_of", "path", "place", "earlier", "row", "sizes", "digests")
        files.write_json(folder / RECORD, {name: fields[name] for name in names})


def read(folder: Path) -> Record | None:
    """Returns the record of a folder, or None where there is none that is whole.

    Raises:
      OSError: there is one, but it cannot be read.
    """
    try:
        found = files.read_json(folder / RECORD)
    except (files.FileError, FileNotFoundError, NotADirectoryError):
        return None
    row, made_of = found.get("row"), found.get("made_of")
    if not isinstance(row, dict) or not isinstance(made_of, dict):
        return None
    if row.get("status") not in (DONE, FAILED):
        return None
    known = {name: found[name] for name in ("path", "place", "sizes", "earlier") if name in found}
    if isinstance(found.get("digests"), dict):
        known["digests"] = found["digests"]
    return Record(folder, row, made_of, **known)


def measure(folder: Path) -> dict[str, int]:
    """Returns the bytes of each file of results in a folder; hidden files are left out."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in _visible(folder)
        if path.name != RECORD
    }


def mask_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of the files of the mask in a folder, but for empty, unreadable ones."""
    found = {}
    for path in _visible(folder):
        name = path.relative_to(folder)
        if name.parts[0] in ("mask", *MASKS):
            with contextlib.suppress(OSError):
                if path.stat().st_size:
                    found[name.as_posix()] = sources.file_digest(path)
    return found


def _visible(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        yield from (Path(place, name) for name in names if name[0] != ".")


def is_remains(folder: Path) -> bool:
    """Whether a folder is empty, or holds files of ours with a record that is none."""
    names = {path.name for path in folder.iterdir()}
    if not names:
        return True
    rest = {name for name in names if name[0] != "."} - {RECORD}
    return RECORD in names and read(folder) is None and all(map(_OWN_FILES.fullmatch, rest))


def serves(made_of: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether results are what a call wants: made of the same, with all that is to be written."""
    if any(made_of.get(name) != wanted[name] for name in ("input", "weights", "version")):
        return False
    old, new = made_of.get("settings", {}), wanted["settings"]
    if values(old) != values(new) or old.get("identify") != new.get("identify"):
        return False
    if old.get("format") not in (new.get("format"), "both"):
        return False
    return all(old.get(name) or not new.get(name) for name in ("report", "probability"))


def values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings on which the findings depend."""
    return {name: value for name, value in settings.items() if name not in OUTPUTS}


def digest(settings: Mapping[str, Any]) -> str:
    """Returns what the table tells settings apart by; it says nothing of what is written."""
    return short(json.dumps(values(settings), sort_keys=True))


def short(text: str) -> str:
    """Returns the first digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def fold(name: str) -> str:
    """Returns what two names share that some file system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def fit(name: str) -> str:
    """Returns a name with no more bytes than fit.

    >>> fit("ct"), len(fit("é" * 200).encode())
    ('ct', 180)
    """
    return name.encode()[:_LONGEST].decode(errors="ignore")
