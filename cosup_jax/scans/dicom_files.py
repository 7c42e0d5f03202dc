"""The files of a DICOM folder or zip: bounded, read one at a time, never unpacked to disk."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cosup_jax.scans.nifti import VolumeError

MAX_FILES = 20_000
MAX_FILE_BYTES = 1 << 26  # a slice of 4096 × 4096 voxels of 16 bits, and as much again
MAX_TOTAL_BYTES = 1 << 33
SUFFIXES = (".dcm", ".ima", ".dicom")

_PREAMBLE, _MAGIC = 128, b"DICM"
_INDEX = "DICOMDIR"  # lists what else is on a disc
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Part:
    """One file.

    Attributes:
      number: its place among the files by name, from 1; errors name it by this, since the name
        may be a patient's.
      size: bytes, checked against `MAX_FILE_BYTES`.
      opener: the path, or the archive and its member.
    """

    number: int
    size: int
    opener: Path | tuple[zipfile.ZipFile, zipfile.ZipInfo]

    def read(self) -> bytes:
        """Returns the content.

        Raises:
          VolumeError: unreadable or damaged.
        """
        try:
            if isinstance(self.opener, Path):
                return self.opener.read_bytes()
            archive, member = self.opener
            with archive.open(member) as file:
                return file.read(self.size)
        except _DAMAGE as error:
            raise VolumeError(f"DICOM file {self.number}: unreadable: {error!r}") from error


def looks_like(path: Path) -> bool:
    """Whether a file says, by its suffix or its first bytes, that it is DICOM, and no index."""
    if path.name.upper() == _INDEX:
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC


@contextmanager
def open_parts(files: Sequence[Path]) -> Iterator[list[Part]]:
    """Opens the files of one folder, or one zip; of a zip, no name is ever used as a path.

    Raises:
      VolumeError: not a zip, encrypted, too many or too large files, more than can be of use.
    """
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        try:
            archive = zipfile.ZipFile(files[0])
        except _DAMAGE as error:
            raise VolumeError(f"the zip is damaged: {error!r}") from error
        with archive:
            yield _bounded(_members(archive))
    else:
        yield _bounded([(path, path.stat().st_size) for path in sorted(files)])


def _members(archive: zipfile.ZipFile) -> list[tuple]:
    members = sorted((m for m in archive.infolist() if not m.is_dir()), key=lambda m: m.filename)
    for number, member in enumerate(members, 1):
        if member.flag_bits & _ENCRYPTED:
            raise VolumeError(f"file {number} of the zip is encrypted; unpack it and give a folder")
        if member.compress_type not in _READABLE:
            raise VolumeError(
                f"file {number} of the zip is compressed by method {member.compress_type}; "
                "expected deflate, as all common programs write it"
            )
    return [((archive, member), member.file_size) for member in members]


def _bounded(openers: Sequence[tuple]) -> list[Part]:
    total = sum(size for _, size in openers)
    if len(openers) > MAX_FILES or total > MAX_TOTAL_BYTES:
        raise VolumeError(
            f"{len(openers):,} files of {total:,} bytes; expected at most {MAX_FILES:,} of "
            f"{MAX_TOTAL_BYTES:,} together"
        )
    parts = [Part(number, size, opener) for number, (opener, size) in enumerate(openers, 1)]
    for part in parts:
        if part.size > MAX_FILE_BYTES:
            raise VolumeError(
                f"DICOM file {part.number}: {part.size:,} bytes; expected one slice a file, of at "
                f"most {MAX_FILE_BYTES:,}"
            )
    return parts


def digest(files: Sequence[Path]) -> str:
    """Returns the SHA-256 of the contents, whatever the order and the names of the files.

    Raises:
      VolumeError: as `open_parts` and `Part.read`.
    """
    with open_parts(files) as parts:
        found = sorted(hashlib.sha256(part.read()).digest() for part in parts)
    return hashlib.sha256(b"dicom" + b"".join(found)).hexdigest()
