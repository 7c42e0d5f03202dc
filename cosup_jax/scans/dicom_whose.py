"""Whose a DICOM file is, and of which day."""

from pathlib import Path
from typing import NamedTuple

from cosup_jax.scans import dicom_files, dicom_headers


class Whose(NamedTuple):
    """What a header says; empty where it does not.

    Attributes:
      patient: PatientID, as `dicom_headers.patient` has it.
      day: StudyDate, YYYYMMDD.
    """

    patient: str
    day: str


def read(path: Path) -> Whose:
    """Reads the header of a file; all is empty where it is not DICOM.

    Raises:
      VolumeError: unreadable or damaged.
    """
    (part,) = dicom_files.list_parts([path])
    with (
        dicom_files.Reader() as reader,
        dicom_files.naming(part.number),
        dicom_headers.lenient(),
    ):
        header = dicom_headers.load(part, reader)
        if header is None:
            return Whose("", "")
        patient, day = dicom_headers.patient(header), dicom_headers.text(header, "StudyDate")
    return Whose(patient, day if len(day) == 8 and day.isascii() and day.isdecimal() else "")
