"""The files and folders that a user gave, by what they may be."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cosup_jax.scans import dicom_files, images, nifti, results

ARCHIVES = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
ARCHIVE = "archive of a kind that is not read; unpack it"
HALVES = (".hdr", ".img")
HALF = "half of a volume in two files (.hdr and .img), not read; convert it to .nii"
DISC = "index of a disc"
UNREADABLE = "file or folder that cannot be read"


@dataclass
class Aside:
    """What belongs to no scan: how many of which kind, and the first of the files named nowhere.

    Attributes:
      counts: by kind, in words that come from no file.
      first: a file of another kind, by which the user sees what is meant.
      lines: what else is to be said on the terminal, and nowhere else.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: Path | None = None
    lines: list[str] = field(default_factory=list)

    def add(self, kind: str, path: Path | None = None) -> None:
        """Counts one file."""
        self.counts[kind] += 1
        self.first = self.first or path

    def __len__(self) -> int:
        return self.counts.total()

    def __str__(self) -> str:
        listed = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        first = f" (the first is {self.first})" if self.first else ""
        return "\n".join([f"set aside: {listed}{first}"] * bool(listed) + self.lines)


@dataclass
class Given:
    """The files of one input.

    Attributes:
      path: what was given, a folder or a file.
      is_folder: which of the two.
      volumes: NIfTI files.
      zips: zip files.
      dicom: files that say that they are DICOM.
      pictures: by folder.
      discs: folders with the index of a disc in them.
      others: files of another kind.
      aside: what is none of these, and `others`.
    """

    path: Path
    is_folder: bool
    volumes: list[Path] = field(default_factory=list)
    zips: list[Path] = field(default_factory=list)
    dicom: list[Path] = field(default_factory=list)
    pictures: dict[Path, list[Path]] = field(default_factory=dict)
    discs: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    aside: Aside = field(default_factory=Aside)


def collect(path: Path, ignore: Path, seen: set[Path]) -> Given:
    """Finds the files of one input.

    Folders in folders are searched too; hidden ones, folders of results and links to folders are
    not, and what cannot be read is counted.

    Args:
      path: a file or folder.
      ignore: a folder that is not searched.
      seen: files that were found before, and are not found again; those found now are added.
    """
    given = Given(path, path.is_dir())
    if not given.is_folder:
        _sort(given, path.parent, [path], seen)
        return given

    def unreadable(error: OSError) -> None:
        given.aside.add(UNREADABLE, Path(error.filename) if error.filename else None)

    for place, folders, files in os.walk(path, onerror=unreadable):
        folder = Path(place)
        if results.is_here(folder):
            given.aside.add("folder of results")
            del folders[:]
            continue
        folders[:] = sorted(f for f in folders if f[0] != "." and (folder / f).resolve() != ignore)
        for name in folders:
            if (folder / name).is_symlink():
                given.aside.add("link to a folder", folder / name)
        paths = [folder / name for name in sorted(files) if name[0] != "."]
        for special in (found for found in paths if not found.is_file()):
            given.aside.add(UNREADABLE, special)
        _sort(given, folder, [found for found in paths if found.is_file()], seen)
    return given


def _sort(given: Given, folder: Path, files: Iterable[Path], seen: set[Path]) -> None:
    """Tells by name, and where names say nothing by content, what files are."""
    for path in files:
        place = path.resolve()
        if place in seen:
            continue
        seen.add(place)
        name, suffix = path.name.lower(), path.suffix.lower()
        if name.endswith(nifti.SUFFIXES):
            given.volumes.append(path)
        elif suffix == ".zip":
            given.zips.append(path)
        elif suffix in images.IMAGE_SUFFIXES:
            given.pictures.setdefault(folder, []).append(path)
        elif path.name.upper() == dicom_files.INDEX:
            given.discs.append(folder)
            given.aside.add(DISC)
        elif name in (results.TABLE, results.UNCERTAIN):
            given.aside.add("table of results")
        elif suffix in ARCHIVES:
            given.aside.add(ARCHIVE, path)
        elif suffix in HALVES:
            given.aside.add(HALF, path)
        else:
            try:
                if dicom_files.looks_like(path):
                    given.dicom.append(path)
                else:
                    given.others.append(path)
                    given.aside.add("file of another kind", path)
            except OSError:
                given.aside.add(UNREADABLE, path)
