"""The files of DICOM folders and zips: bounded, read one at a time, never unpacked to disk."""

import hashlib
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from cosup_jax.scans.dicom_stream import (
    MAX_FILE_BYTES,
    MAX_FRAMES_BYTES,
    START,
    Bounded,
    Budget,
    begins_at,
    begins_like,
    most_bytes,
)
from cosup_jax.scans.nifti import SUFFIXES as NIFTI_SUFFIXES
from cosup_jax.scans.nifti import VolumeError

MAX_FILES = 20_000
MAX_TOTAL_BYTES = 1 << 33
SUFFIXES = (".dcm", ".ima", ".dicom")
INDEX = "DICOMDIR"  # lists what else is on a disc

_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_CHUNK = 1 << 20
DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(ValueError, IndexError, KeyError, TypeError, UnicodeError),
)


@dataclass(frozen=True)
class Part:
    """One file.

    Attributes:
      number: its place among the files by name, from 1; errors name it by this, since the name
        may be a patient's.
      path: the file, or the zip that it lies in.
      size: bytes.
      member: its place in the list of the zip, or None.
      folder: the folder it lies in, or the zip and the folders in it; never shown.
      container: the zip, or the input that it was found in; copies in another one count.
    """

    number: int
    path: Path
    size: int
    member: int | None = None
    folder: tuple[str, ...] = ()
    container: str = ""


class Reader:
    """Reads parts, and keeps open the zip that it reads from; a context manager."""

    def __init__(self) -> None:
        self._zip: tuple[Path, zipfile.ZipFile] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._zip:
            self._zip[1].close()
        self._zip = None

    def open(self, part: Part, budget: Budget) -> Bounded:
        """Opens one file, to be closed by the caller.

        Raises:
          VolumeError: unreadable or damaged.
        """
        try:
            if part.member is not None:
                raw: io.RawIOBase | io.BytesIO = io.BytesIO(self.read(part))
            else:
                raw = io.FileIO(part.path)
            begin = begins_at(raw.read(START) or b"", part.size) or 0
            raw.seek(0)
            if begin:
                raw = io.BytesIO((raw.read() or b"")[begin:])
        except OSError as error:
            raise VolumeError(f"cannot be opened ({error.strerror})") from error
        return Bounded(raw, budget)

    def read(self, part: Part) -> bytes:
        """Returns the content.

        Raises:
          VolumeError: unreadable or damaged.
        """
        with self._stream(part) as file:
            return file.read() if part.member is None else file.read(part.size)

    def digest(self, part: Part) -> bytes:
        """Returns the SHA-256 of the content, which is never in memory as a whole.

        Raises:
          VolumeError: unreadable or damaged.
        """
        found = hashlib.sha256()
        with self._stream(part) as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
        return found.digest()

    @contextmanager
    def _stream(self, part: Part) -> Iterator[IO[bytes]]:
        try:
            if part.member is None:
                with part.path.open("rb") as file:
                    yield file
                return
            if self._zip is None or self._zip[0] != part.path:
                self._close()
                self._zip = part.path, zipfile.ZipFile(part.path)
            archive = self._zip[1]
            with archive.open(archive.infolist()[part.member]) as file:
                yield file
        # Texts of these errors hold names of files, of a zip those inside.
        except DAMAGE as error:
            raise VolumeError(f"unreadable ({type(error).__name__})") from error


def looks_like(path: Path) -> bool:
    """Whether a file says, by its suffix or its first bytes, that it is DICOM, and no index.

    Raises:
      OSError: it cannot be read.
    """
    if path.name.upper() == INDEX:
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        return begins_like(file.read(START), path.stat().st_size)


def list_files(paths: Iterable[Path], container: str = "") -> list[Part]:
    """Returns the parts of some files, numbered in each folder, in the order of their paths.

    Raises:
      OSError: one is not there.
    """
    folders: dict[Path, tuple[str, ...]] = {}
    counts: Counter[Path] = Counter()
    parts = []
    for path in sorted(set(paths)):
        parent = path.parent
        if parent not in folders:
            folders[parent] = parent.resolve().parts
        counts[parent] += 1
        size = path.stat().st_size
        parts.append(Part(counts[parent], path, size, None, folders[parent], container))
    return parts


def list_parts(files: Sequence[Path]) -> list[Part]:
    """Returns the parts of some files, or of one zip.

    Raises:
      VolumeError: as `list_zip`.
      OSError: as `list_files`.
    """
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        return list_zip(files[0])
    return list_files(files)


def list_zip(path: Path) -> list[Part]:
    """Returns the parts of a zip without what Macs put beside its files; opens none of them.

    Raises:
      VolumeError: not a zip, encrypted, too many or too large files, more than can be of use.
    """
    parts, swelling = list_members(path, volumes=False)
    if swelling:
        raise VolumeError(next(iter(swelling.values())))
    return parts


def list_members(path: Path, *, volumes: bool) -> tuple[list[Part], dict[Part, str]]:
    """Returns the parts of a zip as `list_zip`, and why others are too large for what they are.

    A file may be as large as one slice, or else so many times its packed size.

    Args:
      path: the zip.
      volumes: files called NIfTI may be as large as a volume, since labels pack that well; nobody
        may read one into memory then.

    Raises:
      VolumeError: as `list_zip`, but for single files that are too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except DAMAGE as error:
        raise VolumeError(f"the zip is damaged ({type(error).__name__})") from error
    wanted = [(member.filename, i) for i, member in enumerate(members) if _is_file(member)]
    parts, swelling = [], {}
    for number, (name, i) in enumerate(sorted(wanted), 1):
        member = members[i]
        if member.flag_bits & _ENCRYPTED:
            raise VolumeError(f"file {number} of the zip is encrypted; unpack it and give a folder")
        if member.compress_type not in _READABLE:
            raise VolumeError(
                f"file {number} of the zip is compressed by method {member.compress_type}; "
                "expected deflate, as all common programs write it"
            )
        folder = (*path.resolve().parts, *PurePosixPath(name.replace("\\", "/")).parent.parts)
        part = Part(number, path, member.file_size, i, folder, str(path))
        volume = volumes and name.lower().endswith(NIFTI_SUFFIXES)
        if part.size <= (MAX_FRAMES_BYTES if volume else most_bytes(member.compress_size)):
            parts.append(part)
            continue
        most = (
            f"a volume of at most {MAX_FRAMES_BYTES:,}"
            if volume
            else f"one slice a file, of at most {MAX_FILE_BYTES:,}"
        )
        swelling[part] = f"file {number} of the zip: {part.size:,} bytes; expected {most}"
    total = sum(part.size for part in parts)
    if len(parts) > MAX_FILES or total > MAX_TOTAL_BYTES:
        raise VolumeError(
            f"{len(parts):,} files of {total:,} bytes; expected at most {MAX_FILES:,} of "
            f"{MAX_TOTAL_BYTES:,} together"
        )
    return parts, swelling


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a file of the user's: no folder, nothing hidden, none of a Mac's own."""
    names = member.filename.replace("\\", "/").split("/")
    hidden = names[-1].startswith(".") or "__MACOSX" in names[:-1]
    return bool(names[-1]) and not hidden


def last_name(name: str) -> str:
    """Returns the name of a file in a zip without its folders; it must not be shown."""
    return PurePosixPath(name.replace("\\", "/")).name


def digest(parts: Sequence[Part], what: str = "") -> str:
    """Returns the SHA-256 of the contents, whatever the order and the names of the files.

    Args:
      parts: the files.
      what: which part of their content is meant, where that is not all.

    Raises:
      VolumeError: as `Reader.read`.
    """
    with Reader() as reader:
        found = sorted(reader.digest(part) for part in parts)
    return hashlib.sha256(b"dicom" + what.encode() + b"".join(found)).hexdigest()


@contextmanager
def naming(number: int) -> Iterator[None]:
    """Turns whatever a damaged file raises into an error that says which one it was."""
    try:
        yield
    except VolumeError as error:
        raise VolumeError(f"DICOM file {number}: {error}") from error
    # pydicom raises nearly every built-in exception on damaged files.
    except Exception as error:
        raise VolumeError(
            f"DICOM file {number}: unreadable or damaged ({type(error).__name__})"
        ) from error
