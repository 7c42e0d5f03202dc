"""What the name of a file says of the scan, the person and the slice in it."""

import re
from dataclasses import dataclass
from pathlib import Path

UNKNOWN_PATIENT = ""
# At most nine digits: the slice index is an int32.
_LONGEST_NAME = 80
_CASE_AND_SLICE = re.compile(r"(?P<case>.+)_(?P<slice>[0-9]{1,9})")


@dataclass(frozen=True)
class SliceName:
    """What a file name or an index row says about a slice.

    Attributes:
      case_id: the scan.
      patient_id: the person, or `UNKNOWN_PATIENT`.
      slice_index: position along the body axis.
      case_known: False where the file's stem had to serve as its case.
    """

    case_id: str
    patient_id: str
    slice_index: int
    case_known: bool = True


def name_from_file(stem: str) -> SliceName:
    """Reads `<case>_<slice>`; the patient is then the case.

    Any other name is a case of its own, of an unknown patient, at position 0.

    >>> name_from_file("scan7_012")
    SliceName(case_id='scan7', patient_id='scan7', slice_index=12, case_known=True)
    >>> name_from_file("thorax")
    SliceName(case_id='thorax', patient_id='', slice_index=0, case_known=False)
    """
    found = _CASE_AND_SLICE.fullmatch(stem)
    if found is None:
        return SliceName(stem, UNKNOWN_PATIENT, 0, case_known=False)
    return SliceName(found["case"], found["case"], int(found["slice"]))


def volume_name(path: Path) -> str:
    """Returns a NIfTI file's name without its suffix.

    >>> volume_name(Path("masks/study_0255_mask.nii.gz"))
    'study_0255_mask'
    """
    return path.name[: path.name.lower().rindex(".nii")]


def clean_name(name: str) -> str:
    """Returns a name that is safe for a file, a page and a spreadsheet.

    >>> clean_name("../=cmd|' /C calc'!A0"), clean_name("..")
    ('cmd_C_calc_A0', 'scan')
    """
    cleaned = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:_LONGEST_NAME]
    return cleaned.rstrip("._-") or "scan"
