"""What a zip holds: NIfTI volumes, DICOM, or something that has to be unpacked by the user.

Members are never named: their names are often those of patients.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cosup_jax.scans import dicom_files, images, labels, nifti, walk
from cosup_jax.scans.dicom_files import DAMAGE, Part
from cosup_jax.scans.dicom_stream import START, begins_like
from cosup_jax.scans.nifti import VolumeError

_OTHER = "of zips, those of NIfTI or DICOM files are read"


@dataclass(frozen=True)
class Content:
    """The files of a zip by kind.

    Attributes:
      volumes: NIfTI files that are no label maps.
      rest: what may be DICOM.
      aside: kinds of what is neither.
      fault: why nothing in it can be a scan, or empty.
    """

    volumes: tuple[Part, ...] = ()
    rest: tuple[Part, ...] = ()
    aside: tuple[str, ...] = ()
    fault: str = ""


def look(path: Path) -> Content:
    """Looks into a zip; of NIfTI files in it, it reads as far as it takes to know labels."""
    try:
        parts, swelling = dicom_files.list_members(path, volumes=True)
        with zipfile.ZipFile(path) as archive:
            return _sorted(archive, parts, swelling)
    except VolumeError as error:
        return Content(fault=str(error))
    except DAMAGE as error:
        return Content(fault=f"the zip is damaged ({type(error).__name__})")


def _sorted(
    archive: zipfile.ZipFile, parts: Sequence[Part], swelling: Mapping[Part, str]
) -> Content:
    members = archive.infolist()
    infos = {part: members[part.member or 0] for part in (*parts, *swelling)}
    names = {part: dicom_files.last_name(info.filename).lower() for part, info in infos.items()}
    volumes = [part for part in parts if names[part].endswith(nifti.SUFFIXES)]
    pictures = [p for p in parts if names[p].endswith(images.IMAGE_SUFFIXES)]
    archives = [p for p in parts if names[p].endswith((".zip", *walk.ARCHIVES)) if p not in volumes]
    discs = [p for p in parts if names[p] == dicom_files.INDEX.lower()]
    rest = [p for p in parts if p not in {*volumes, *pictures, *archives, *discs}]

    def is_dicom(part: Part) -> bool:
        with archive.open(infos[part]) as file:
            return begins_like(file.read(START), part.size)

    def is_label_map(part: Part) -> bool:
        with archive.open(infos[part]) as file:
            return labels.is_label_volume(file, names[part])

    # What may be slices of a scan is not left out of it.
    if lost := [why for part, why in swelling.items() if _is_true(is_dicom, part)]:
        return Content(fault=lost[0])
    if not volumes and not any(_is_true(is_dicom, part) for part in rest):
        if swelling:
            return Content(fault=next(iter(swelling.values())))
        fault = "nothing in this zip is a scan"
        if pictures:
            fault = "a zip of pictures; unpack it and give the folder"
        elif archives:
            fault = "a zip of archives; unpack it and give the folder, or each zip in it"
        return Content(fault=f"{fault} ({_OTHER})")
    maps = [p for p in volumes if len(volumes) > 1 and _is_true(is_label_map, p)]
    kept = [part for part in volumes if part not in maps] or volumes
    aside = ["label map in a zip"] * (len(volumes) - len(kept))
    aside += ["picture in a zip"] * len(pictures) + ["archive in a zip"] * len(archives)
    aside += [walk.DISC] * len(discs)
    aside += ["file in a zip that is too large to be a scan"] * len(swelling)
    return Content(tuple(kept), tuple(rest), tuple(aside))


def _is_true(question: Callable[[Part], bool], part: Part) -> bool:
    """Answers a question about a file of a zip; of a damaged one, no."""
    try:
        return question(part)
    except DAMAGE:
        return False


@contextmanager
def unpacked(path: Path, part: Part) -> Iterator[Path]:
    """Unpacks one NIfTI file of a zip under a name of our own, and takes it away again.

    Raises:
      VolumeError: it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="cosup-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                info = archive.infolist()[part.member or 0]
                packed = info.filename.lower().endswith(".gz")
                target = Path(folder) / ("volume.nii.gz" if packed else "volume.nii")
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
        except DAMAGE as error:
            raise VolumeError(
                f"{path}: a NIfTI file in it is unreadable ({type(error).__name__})"
            ) from error
        try:
            yield target
        except ValueError as error:
            said = str(error).replace(str(target), f"{path}, the NIfTI file in it")
            raise VolumeError(said) from error
