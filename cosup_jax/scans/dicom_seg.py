"""Masks and probabilities as DICOM Segmentation objects (highdicom, from the extra `dicom`)."""

import hashlib
import re
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import charset, config, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat

from cosup_jax import __version__
from cosup_jax.scans import kinds
from cosup_jax.scans.dicom import Series
from cosup_jax.scans.dicom_headers import text
from cosup_jax.scans.nifti import VolumeError

_MAKER = "cosup-jax"
_TYPES = {
    "mask": hd.seg.SegmentationTypeValues.BINARY,
    "classes": hd.seg.SegmentationTypeValues.BINARY,
    "probability": hd.seg.SegmentationTypeValues.FRACTIONAL,
}
_SERIES_NUMBERS = {"mask": 9101, "probability": 9102, "classes": 9103}
_INFECTION = "Lung infection"
_UTF8 = "ISO_IR 192"
_ESCAPES = re.compile(r"\x1b[ -/]+[0-~]")  # of ISO 2022
_SEXES = ("M", "F", "O")
_LONGEST_UID = 64
_SHARED = {  # what all images must name alike, and how a user would call it
    "StudyInstanceUID": "study",
    "FrameOfReferenceUID": "frame of reference",
    "SeriesInstanceUID": "series",
}


class SegmentationError(VolumeError):
    """Images to which no Segmentation can refer; the message says why, and names nobody."""


def write(path: Path, frames: np.ndarray, series: Series, result: str) -> None:
    """Writes a Segmentation that refers to the images of a series.

    It has the patient and the study of the images, as the standard wants, and nothing else of their
    headers. The same frames on the same images get the same identifiers.

    Args:
      path: the file to write.
      frames: (slices, rows, columns) uint8 in the order of `series.headers`; 0 and 1 of a mask, 0
        to 255 of a probability, the classes of infection from 1 on, each a segment.
      series: what `dicom.read_series` returned.
      result: `mask`, `probability` or `classes`.

    Raises:
      SegmentationError: the images lack what a Segmentation refers to them by.
      OSError: the file cannot be written.
    """
    check(series)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            # Of an empty mask, highdicom says that all of its frames are kept.
            warnings.simplefilter("ignore")
            made = _segmentation(frames, series, result)
            made.save_as(path)
    except OSError:
        raise
    # pydicom and highdicom raise nearly every built-in exception on odd headers.
    except Exception as error:
        raise SegmentationError(
            f"the headers of the images do not allow for a Segmentation ({type(error).__name__})"
        ) from error


def check(series: Series) -> None:
    """Checks that a Segmentation can refer to the images of a series, and to no others.

    Raises:
      SegmentationError: an image without an identifier, or with one that is none or that another
        one has; images that do not share study, series or frame of reference.
    """
    names = [text(header, "SOPInstanceUID") for header in series.headers]
    missing = names.count("")
    if missing:
        raise SegmentationError(f"{missing} of {len(names)} images have no SOPInstanceUID")
    wrong = sum(not re.fullmatch(r"[0-9.]+", name) or len(name) > _LONGEST_UID for name in names)
    if wrong:
        raise SegmentationError(f"SOPInstanceUID of {wrong} of {len(names)} images is no UID")
    places = {*zip(names, series.frames or [0] * len(names), strict=True)}
    if len(places) < len(names):
        raise SegmentationError(
            f"{len(names)} images have {len(places)} different SOPInstanceUIDs; expected one each"
        )
    for attribute, called in _SHARED.items():
        found = {text(header, attribute) for header in series.headers}
        if "" in found:
            raise SegmentationError(f"images without a {attribute}")
        if len(found) > 1 and attribute != "SeriesInstanceUID":
            raise SegmentationError(f"images of {len(found)} {attribute}s; expected one {called}")
        if max(map(len, found)) > _LONGEST_UID:
            raise SegmentationError(f"a {attribute} that is no UID")


def _segmentation(frames: np.ndarray, series: Series, result: str) -> hd.seg.Segmentation:
    values = frames / np.float32(255) if result == "probability" else frames
    labels = kinds.CLASSES[: frames.max(initial=1)] if result == "classes" else (_INFECTION,)
    source = [text(header, "SOPInstanceUID") for header in series.headers]
    named = [__version__, result, hashlib.sha256(frames.tobytes()).hexdigest(), *source]
    images = _sources(series)
    made = hd.seg.Segmentation(
        source_images=images,
        pixel_array=values,
        segmentation_type=_TYPES[result],
        segment_descriptions=[_description(i, label) for i, label in enumerate(labels, 1)],
        series_instance_uid=uid.generate_uid(entropy_srcs=["series", *named]),
        series_number=_SERIES_NUMBERS[result],
        sop_instance_uid=uid.generate_uid(entropy_srcs=["instance", *named]),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_MAKER,
        software_versions=__version__,
        device_serial_number="0",
        content_label="INFECTION",
        content_description="Research use only",
        omit_empty_frames=bool(values.any()),
    )
    _refer(made, [image.SOPInstanceUID for image in images], series)
    # By itself highdicom tells of it neither for tilted series nor for a single image.
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = DSfloat(_distance(series.grid.affine), auto_format=True)
    return made


def _distance(affine: np.ndarray) -> float:
    """Returns how far the planes of a grid lie apart, across them, in mm."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return float(abs(normal @ affine[:3, 2]) / np.linalg.norm(normal))


def _description(number: int, label: str) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.capitalize(),
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=_MAKER, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        anatomic_regions=[codes.SCT.Lung],
    )


def _sources(series: Series) -> list[Dataset]:
    """Returns headers with nothing but what a Segmentation takes from its images.

    Each slice stands for an image of its own here, be it a file or a frame of one.
    """
    first = series.headers[0]
    images = []
    for number, header in enumerate(series.headers):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        image.SpecificCharacterSet = _UTF8
        image.SOPClassUID = uid.CTImageStorage
        image.SOPInstanceUID = uid.generate_uid(entropy_srcs=["source", str(number)])
        for attribute in _SHARED:
            setattr(image, attribute, text(first, attribute))
        image.PatientName, image.PatientID = _name(first), text(first, "PatientID")
        image.PatientBirthDate = _moment(text(first, "PatientBirthDate"), "%Y%m%d")
        sex = text(first, "PatientSex")
        image.PatientSex = sex if sex in _SEXES else ""
        image.StudyDate = _moment(text(first, "StudyDate"), "%Y%m%d")
        image.StudyTime = _moment(text(first, "StudyTime"), "%H%M%S")
        image.StudyID = text(first, "StudyID")
        image.AccessionNumber = image.ReferringPhysicianName = ""
        image.Modality = "CT"
        image.Rows, image.Columns = header.Rows, header.Columns
        for attribute in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            numbers = [DSfloat(float(n), auto_format=True) for n in header.get(attribute)]
            setattr(image, attribute, numbers)
        image.SliceThickness = DSfloat(float(header.SliceThickness), auto_format=True)
        images.append(image)
    return images


def _name(header: Dataset) -> str:
    """Returns PatientName; where the character set is none, as UTF-8 if the bytes are that."""
    sets = text(header, "SpecificCharacterSet").split("\\")
    name = header.get("PatientName")
    stored = getattr(name, "original_string", None)
    if isinstance(stored, bytes) and not any(
        one.strip() and one.strip() in charset.python_encoding for one in sets
    ):
        try:
            return stored.decode("utf-8").strip(" \0")
        except UnicodeDecodeError:
            return stored.decode("latin-1").strip(" \0")
    # pydicom leaves the signs that change to Chinese letters (ISO 2022 IR 58) in the text.
    return _ESCAPES.sub("", text(header, "PatientName"))


def _moment(value: str, form: str) -> str:
    """Returns a date or time that is one, without fractions of a second, or nothing."""
    digits = value.split(".")[0]
    try:
        datetime.strptime(digits, form)
    except ValueError:
        return ""
    return digits if digits.isdecimal() and len(digits) == len(value.split(".")[0]) else ""


def _refer(made: Dataset, stand_ins: Sequence[str], series: Series) -> None:
    """Puts the images themselves in the place of those that stood for them."""
    places = {name: i for i, name in enumerate(stand_ins)}

    def reference(i: int, *, with_frame: bool) -> Dataset:
        item = Dataset()
        item.ReferencedSOPClassUID = _class_of(series.headers[i])
        item.ReferencedSOPInstanceUID = text(series.headers[i], "SOPInstanceUID")
        if with_frame and series.frames and series.frames[i]:
            item.ReferencedFrameNumber = series.frames[i]
        return item

    for group in made.PerFrameFunctionalGroupsSequence:
        for derivation in group.DerivationImageSequence:
            for source in derivation.SourceImageSequence:
                # Frames of several segments on one image may share their item.
                if (place := places.get(source.ReferencedSOPInstanceUID)) is not None:
                    source.update(reference(place, with_frame=True))
    by_series: dict[str, dict[str, Dataset]] = {}
    for i, header in enumerate(series.headers):
        item = reference(i, with_frame=False)
        known = by_series.setdefault(text(header, "SeriesInstanceUID"), {})
        known[item.ReferencedSOPInstanceUID] = item
    made.ReferencedSeriesSequence = Items([])
    for name, references in by_series.items():
        entry = Dataset()
        entry.SeriesInstanceUID = name
        entry.ReferencedInstanceSequence = Items(list(references.values()))
        made.ReferencedSeriesSequence.append(entry)


def _class_of(header: Dataset) -> str:
    found = text(header, "SOPClassUID")
    return found if re.fullmatch(r"[0-9.]+", found) else uid.CTImageStorage
