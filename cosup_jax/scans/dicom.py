"""DICOM series of CT slices into volumes in HU (pydicom, from the extra `dicom`).

Files are sorted by where their slices lie in the body, never by name or number. No message names a
file, a person or a date: messages go into tables that are passed on. Nothing is decoded before what
the headers claim has been held against the file, the codec's own header included.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.filereader import read_dataset
from pydicom.pixels import get_decoder
from pydicom.valuerep import DSfloat

from cosup_jax.scans import codestreams, dicom_files, series_geometry
from cosup_jax.scans.dicom_files import Part
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.nifti import MAX_SIDE, MAX_VOXELS, VolumeError

_PREAMBLE, _MAGIC = 128, b"DICM"
_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_LOSSLESS = (
    *(uid.RLELossless, uid.JPEGLossless, uid.JPEGLosslessSV1),
    *(uid.JPEGLSLossless, uid.JPEG2000Lossless),
)
_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000)
_FAMILIES = {
    uid.RLELossless: codestreams.RLE,
    uid.JPEG2000Lossless: codestreams.JPEG_2000,
    uid.JPEG2000: codestreams.JPEG_2000,
}
_INT16 = np.iinfo(np.int16)
_LOCALIZER = "LOCALIZER"
# Without these an image has no size, or nothing can refer to it.
_NEEDED = (
    *("Rows", "Columns", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
    "FrameOfReferenceUID",
)
# pydicom decodes a value when it is first asked for; of these that happens while a fault can still
# be laid to its file.
_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SeriesNumber")
# These the standard wants to be there, if only empty; programs that hide names often drop them.
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "SliceThickness"),
)


@dataclass(frozen=True, eq=False)
class Series:
    """One CT series.

    Attributes:
      grid: where the voxels lie; stored axes are column, row, slice.
      stored: (columns, rows, slices) int16 in HU.
      spacing: (z, y, x) of the axial view in mm, between planes also where the gantry is tilted.
      headers: the data sets without pixels, in the order of the slices.
      notes: what the user should know; no identifiers.
    """

    grid: Grid
    stored: np.ndarray
    spacing: tuple[float, float, float]
    headers: tuple[pydicom.Dataset, ...]
    notes: tuple[str, ...]


def read_series(files: Sequence[Path], series: int | None = None) -> Series:
    """Reads the one CT series of a folder or zip.

    Args:
      files: DICOM files, or one zip.
      series: SeriesNumber of the one to read, where there are several.

    Raises:
      VolumeError: no CT series, or several; images that are missing, doubled, of different shape or
        turned against each other; a damaged file, or headers that claim what is not there.
    """
    with dicom_files.open_parts(files) as parts, pydicom.config.disable_value_validation():
        images, notes = _images(parts)
        chosen, more = _choose(images, series)
        lie = series_geometry.sort([header for _, header in chosen])
        chosen = [chosen[i] for i in lie.order]
        stored, lossy = _read_pixels(chosen)
    notes = [*notes, *more, *lie.notes]
    if lossy:
        notes.append(f"{lossy} of {len(chosen)} images are compressed with loss")
    headers = tuple(header for _, header in chosen)
    for header in headers:
        if not header.SliceThickness:
            header.SliceThickness = DSfloat(lie.distance, auto_format=True)
    return Series(lie.grid, stored, lie.spacing, headers, tuple(notes))


@contextmanager
def _naming(number: int) -> Iterator[None]:
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


def _images(parts: Sequence[Part]) -> tuple[list[tuple[Part, pydicom.Dataset]], list[str]]:
    """Returns the CT images among the files, and what was set aside."""
    images: list[tuple[Part, pydicom.Dataset]] = []
    aside: dict[str, int] = {}
    for part in parts:
        with _naming(part.number):
            data = part.read()
            kind, header = _header(data)
        if header is None:
            aside[kind] = aside.get(kind, 0) + 1
        else:
            images.append((part, header))
    listed = ", ".join(f"{count} {kind}" for kind, count in aside.items())
    if not images:
        raise VolumeError(f"no CT images; found {listed or 'no files'}")
    return images, [f"set aside: {listed}"] if aside else []


def _header(data: bytes) -> tuple[str, pydicom.Dataset | None]:
    """Returns the header of a CT image, or the kind of thing that it is not one."""
    if data[_PREAMBLE : _PREAMBLE + len(_MAGIC)] != _MAGIC:
        return "not DICOM", None
    file = BytesIO(data)
    file.seek(_PREAMBLE + len(_MAGIC))
    # By itself pydicom would inflate a deflated file of any size before anything can be checked.
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    syntax = meta.get("TransferSyntaxUID")
    if syntax not in (*_NATIVE, *_LOSSLESS, *_LOSSY):
        if meta.get("MediaStorageSOPClassUID") != uid.CTImageStorage:
            return _kind(meta.get("MediaStorageSOPClassUID")), None
        raise VolumeError(f"of transfer syntax {uid.UID(syntax or '').name!r}, which is not read")
    header = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
    if header.get("SOPClassUID") != uid.CTImageStorage:
        return _kind(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")), None
    if _LOCALIZER in header.get("ImageType", ()):
        return "localizer", None
    missing = [name for name in _NEEDED if not header.get(name)]
    if missing:
        raise VolumeError(f"a CT image without {', '.join(missing)}")
    for name in (*_PLACE, *_MAY_BE_EMPTY):
        if header.get(name) is None:
            setattr(header, name, None)
    return "", header


def _kind(sop_class: str | None) -> str:
    name = uid.UID(sop_class or "").name
    return name if name and name != sop_class else "of an unknown kind"


def _choose(
    images: Sequence[tuple[Part, pydicom.Dataset]], number: int | None
) -> tuple[list[tuple[Part, pydicom.Dataset]], list[str]]:
    groups: dict[str, list[tuple[Part, pydicom.Dataset]]] = {}
    for image in images:
        groups.setdefault(str(image[1].get("SeriesInstanceUID", "")), []).append(image)
    found = [(group[0][1].get("SeriesNumber"), group) for group in groups.values()]
    listed = ", ".join(f"{'?' if n is None else n} ({len(group)} images)" for n, group in found)
    if number is not None:
        found = [(n, group) for n, group in found if n == number]
        if len(found) != 1:
            raise VolumeError(f"{len(found)} series numbered {number}; there are: {listed}")
    if len(found) > 1:
        raise VolumeError(
            f"several series: {listed}; choose one with --series NUMBER, or give a folder of one"
        )
    left = len(groups) - 1
    return found[0][1], [f"other series left out: {left}"] if left else []


def _read_pixels(images: Sequence[tuple[Part, pydicom.Dataset]]) -> tuple[np.ndarray, int]:
    """Returns (columns, rows, slices) int16 in HU, and how many images have lost something."""
    header = images[0][1]
    with _naming(images[0][0].number):
        rows, columns = int(header.Rows), int(header.Columns)
        voxels = rows * columns * len(images)
        if not 0 < min(rows, columns) <= max(rows, columns) <= MAX_SIDE or voxels > MAX_VOXELS:
            raise VolumeError(
                f"its header claims {columns} × {rows} pixels; expected at most {MAX_SIDE} a side "
                f"and {MAX_VOXELS:,} in all {len(images)} images"
            )
    # A file that is there for every claimed slice bounds nothing yet: compressed ones are small.
    stored = np.empty((columns, rows, len(images)), np.int16, order="F")
    lossy = 0
    for i, (part, _) in enumerate(images):
        with _naming(part.number):
            image = pydicom.dcmread(BytesIO(part.read()))
            _check(image, rows, columns)
            lossy += image.file_meta.TransferSyntaxUID in _LOSSY
            stored[..., i] = _hounsfield(image).T
    return stored, lossy


def _check(image: pydicom.Dataset, rows: int, columns: int) -> None:
    if (image.Rows, image.Columns) != (rows, columns):
        raise VolumeError(
            f"{image.Columns} × {image.Rows} pixels, where other images of the series have "
            f"{columns} × {rows}"
        )
    frames = int(image.get("NumberOfFrames") or 1)
    kind = (image.SamplesPerPixel, image.PhotometricInterpretation, frames)
    if kind != (1, "MONOCHROME2", 1):
        raise VolumeError(
            f"samples, kind and frames of its pixels are {kind}; expected 1, MONOCHROME2, 1"
        )
    if image.BitsAllocated not in (8, 16) or not 0 < image.BitsStored <= image.BitsAllocated:
        raise VolumeError(
            f"{image.BitsStored} of {image.BitsAllocated} bits a pixel; expected 8 or 16"
        )
    bytes_claimed = rows * columns * image.BitsAllocated // 8
    syntax = image.file_meta.TransferSyntaxUID
    if syntax in _NATIVE:
        if len(image.PixelData) < bytes_claimed:
            raise VolumeError(
                f"truncated: {len(image.PixelData):,} bytes of pixels; its header claims "
                f"{bytes_claimed:,}"
            )
    else:
        if not get_decoder(syntax).is_available:
            raise VolumeError(
                f"compressed as {syntax.name!r}, for which there is no decoder here; install one "
                "with: pip install 'cosup-jax[dicom]'"
            )
        family = _FAMILIES.get(syntax, codestreams.JPEG)
        frame = pydicom.encaps.get_frame(image.PixelData, 0, number_of_frames=1)
        codestreams.check(frame, family, (rows, columns), bytes_claimed)


def _hounsfield(image: pydicom.Dataset) -> np.ndarray:
    """Returns (rows, columns) int16; fractions of a HU are rounded."""
    slope, intercept = _number(image, "RescaleSlope", 1), _number(image, "RescaleIntercept", 0)
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise VolumeError(f"rescale slope {slope} and intercept {intercept}; expected numbers")
    values = np.rint(image.pixel_array * slope + intercept)
    if values.min() < _INT16.min or values.max() > _INT16.max:
        raise VolumeError(f"values from {values.min():g} to {values.max():g}; no CT has such HU")
    return values.astype(np.int16)


def _number(image: pydicom.Dataset, attribute: str, default: float) -> float:
    value = image.get(attribute)
    return default if value is None else float(value)
