"""The header of one DICOM file: what kind of thing it is, and of an image what matters here.

Bounded whatever a file claims: no pixels are read, values that nobody asks for are passed over, and
a header of too many elements is refused. No text of a header is ever part of a message.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom import uid
from pydicom.datadict import tag_for_keyword

from cosup_jax.scans import dicom_frames, dicom_kinds, dicom_read
from cosup_jax.scans.dicom_files import Part, Reader
from cosup_jax.scans.dicom_stream import MAX_FILE_BYTES, Budget
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.series_geometry import Plane

CT_CLASSES = (
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
)
_CT = "CT"
READS = 100_000  # pieces of a header that are read
_LARGEST = 1e9  # no number that is read here is as large
_LONGEST = 64  # letters of a number or description that is kept
_PIXEL_TAGS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
# What is read of a header; everything else is passed over.
_KEYWORDS = (
    # what it is
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("FrameOfReferenceUID", "ImageType", "NumberOfFrames", *dicom_frames.GROUPS),
    "VolumeBasedCalculationTechnique",
    # who and when, for a Segmentation
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID"),
    # where it lies
    *("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    "SliceThickness",
    # which of several it is
    *("SeriesNumber", "SeriesDescription", "SeriesTime", "InstanceNumber", "AcquisitionNumber"),
    *("AcquisitionTime", "AcquisitionDateTime", "ConvolutionKernel", "KVP"),
    *("TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "TriggerTime"),
    # what its pixels mean
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("ModalityLUTSequence", "Manufacturer", "PixelDataProviderURL", "LossyImageCompression"),
)
_PIXELS = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")
# In which bit of the pixels an overlay of each possible group lies.
OVERLAY_BITS = tuple(0x60000102 + (group << 16) for group in range(0, 0x20, 2))
# By these the images of one series at the same places may be told apart, the surest first.
_CHOICE = (
    *("StackID", "TemporalPositionIndex", "TemporalPositionIdentifier"),
    *("NominalPercentageOfCardiacPhase", "AcquisitionNumber", "ConvolutionKernel", "KVP"),
    *("ImageType", "SeriesNumber", "SeriesDescription", "SeriesTime", "AcquisitionDateTime"),
    *("AcquisitionTime", "TriggerTime", "SliceThickness"),
)


@dataclass(frozen=True, eq=False)
class Image:
    """One slice of a CT: a file, or a frame of a file.

    Attributes:
      part: its file.
      frame: its place in a file of many slices, from 0; None where the file is one slice.
      patient: as `patient` has it; empty where there is none, as the four identifiers after it.
      study: StudyInstanceUID.
      reference: FrameOfReferenceUID.
      series: SeriesInstanceUID.
      instance: SOPInstanceUID.
      plane: where it lies.
      number: SeriesNumber, as text.
      description: SeriesDescription.
      order: InstanceNumber, or None.
      choice: what may tell it from another image at its place, by name.
    """

    part: Part
    frame: int | None
    patient: str
    study: str
    reference: str
    series: str
    instance: str
    plane: Plane
    number: str
    description: str
    order: int | None
    choice: dict[str, str]


@dataclass(frozen=True)
class Aside:
    """A file that is no slice of a CT.

    Attributes:
      part: the file.
      kind: what it is, in words that come from no file.
      study: StudyInstanceUID, or empty.
      fault: why it cannot be read, or empty.
    """

    part: Part
    kind: str
    study: str = ""
    fault: str = ""


@contextmanager
def lenient() -> Iterator[None]:
    """Lets pydicom read odd values without a word, as words would show them."""
    logger, before = pydicom.config.logger, pydicom.config.logger.level
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(before)


def read(part: Part, reader: Reader) -> list[Image | Aside]:
    """Returns the slices of a file, and what else it is or holds.

    Raises:
      VolumeError: the file cannot be read, or is damaged.
    """
    budget = Budget(READS)
    header = load(part, reader, budget)
    if header is None:
        return [Aside(part, "not DICOM")]
    study = text(header, "StudyInstanceUID")
    if not text(header, "SOPClassUID") and "Rows" not in header and not study:
        raise VolumeError("cut off in its header")
    kind = _kind(header)
    if kind:
        return [Aside(part, kind, study)]
    frames = dicom_frames.split(header, budget)
    if frames is None:
        if part.size > MAX_FILE_BYTES:
            raise VolumeError(
                f"{part.size:,} bytes; expected one slice a file, of at most {MAX_FILE_BYTES:,}"
            )
        kind = _not_a_slice(header)
        return [Aside(part, kind, study) if kind else _image(part, header, None)]
    kinds = [*map(_not_a_slice, frames)]
    if all(kinds):
        return [Aside(part, kinds[0], study)]
    return [
        Aside(part, f"frame that is a {kind}", study) if kind else _image(part, frame, i)
        for i, (frame, kind) in enumerate(zip(frames, kinds, strict=True))
    ]


def load(
    part: Part, reader: Reader, budget: Budget | None = None, *, pixels: bool = False
) -> pydicom.FileDataset | None:
    """Reads the header of a file, or all that concerns its pixels too; None if it is not DICOM.

    What the file meta lacks is filled in: the class from the data set or the other way round, the
    transfer syntax as the data set turns out to be written.

    Raises:
      VolumeError: unreadable, damaged, or deflated from more than can be of use.
    """
    words = (*_KEYWORDS, *(_PIXELS if pixels else ()))
    tags = [*filter(None, map(tag_for_keyword, words)), *OVERLAY_BITS]
    ends = () if pixels else _PIXEL_TAGS
    with lenient():
        found = dicom_read.read(part, reader, budget or Budget(READS), tags=tags, ends=ends)
    if not len(found) and not len(found.file_meta):
        if found.preamble is not None:
            raise VolumeError("cut off in its header")
        return None
    meta = found.file_meta
    if not meta.get("TransferSyntaxUID"):
        implicit, little = found.original_encoding
        meta.TransferSyntaxUID = (
            uid.ImplicitVRLittleEndian
            if implicit
            else uid.ExplicitVRLittleEndian
            if little
            else uid.ExplicitVRBigEndian
        )
    if not text(found, "SOPClassUID"):
        found.SOPClassUID = uid.UID(text(meta, "MediaStorageSOPClassUID"))
    return found


def _kind(header: pydicom.Dataset) -> str:
    """Returns what a file is in the words of the standard, or nothing if it is a CT image."""
    sop_class = text(header, "SOPClassUID")
    if sop_class in CT_CLASSES:
        return ""
    name = uid.UID(sop_class).name
    if name and name != sop_class:
        return name
    # The class was lost or replaced with the other identifiers; what it is can still be seen.
    place = ("Rows", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    slice_like = all(header.get(word) for word in place) or dicom_frames.GROUPS[1] in header
    return "" if text(header, "Modality") == _CT and slice_like else "of an unknown kind"


def _not_a_slice(header: pydicom.Dataset) -> str:
    names = "ImageType", "VolumeBasedCalculationTechnique", "SamplesPerPixel"
    return dicom_kinds.not_a_slice(*(text(header, name) for name in names))


def _image(part: Part, header: pydicom.Dataset, frame: int | None) -> Image:
    choice = {name: text(header, name) for name in _CHOICE}
    for i, value in enumerate(numbers(header, "DimensionIndexValues") or ()):
        choice[f"DimensionIndexValues {i}"] = str(value)
    order = numbers(header, "InstanceNumber") if frame is None else (frame,)
    return Image(
        part=part,
        frame=frame,
        patient=patient(header),
        study=text(header, "StudyInstanceUID"),
        reference=text(header, "FrameOfReferenceUID"),
        series=text(header, "SeriesInstanceUID"),
        instance=text(header, "SOPInstanceUID"),
        plane=plane(header),
        number=text(header, "SeriesNumber")[:_LONGEST],
        description=text(header, "SeriesDescription")[:_LONGEST],
        order=int(order[0]) if order else None,
        choice=choice,
    )


def patient(header: pydicom.Dataset) -> str:
    """Returns PatientID in one spelling: without capitals, and with one blank for several."""
    return " ".join(text(header, "PatientID").split()).casefold()


def plane(header: pydicom.Dataset) -> Plane:
    """Returns where an image lies; what is missing or no number is None."""
    thickness = numbers(header, "SliceThickness", 1)
    size = [numbers(header, name) for name in ("Rows", "Columns")]
    return Plane(
        position=numbers(header, "ImagePositionPatient", 3),
        orientation=numbers(header, "ImageOrientationPatient", 6),
        spacing=numbers(header, "PixelSpacing", 2),
        rows=int(size[0][0]) if size[0] else 0,
        columns=int(size[1][0]) if size[1] else 0,
        thickness=thickness[0] if thickness and thickness[0] > 0 else None,
    )


def text(header: pydicom.Dataset, name: str) -> str:
    """Returns a value as text without blanks around it; empty where it is missing or unreadable."""
    try:
        value = header.get(name)
    # pydicom converts a value when it is asked for, and raises whatever the bytes provoke.
    except Exception:
        return ""
    if value is None:
        return ""
    parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return "\\".join(str(part) for part in parts).strip(" \0")


def numbers(header: pydicom.Dataset, name: str, count: int = 0) -> tuple[float, ...] | None:
    """Returns numbers, `count` of them unless that is 0; None where there are none, or absurd."""
    try:
        value: Any = header.get(name)
        if value is None:
            return None
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        found = tuple(float(part) for part in values)
    except Exception:
        return None
    fits = len(found) == count if count else bool(found)
    return found if fits and all(abs(n) < _LARGEST for n in found) else None
