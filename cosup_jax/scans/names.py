"""What the name of a file says of the scan, the person and the slice in it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

UNKNOWN_PATIENT = ""
# At most nine digits: the slice index is an int32.
_LONGEST_NAME = 80
_CASE_AND_SLICE = re.compile(r"(?P<case>.+)_(?P<slice>[0-9]{1,9})")
_POSITION = re.compile(
    r"(?P<before>.*?)(?P<sign>[-+]?)(?P<whole>\d{1,18})(\.(?P<part>\d{1,18}))?", re.DOTALL
)


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


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Sorts slices by the numbers in their names; positions may be signed, and fractions.

    >>> def shown(*stems):
    ...     return [path.stem for path in in_order(Path(f"{stem}.png") for stem in stems)]
    >>> shown("a10", "a9"), shown("z5", "z-5", "z-2.5"), shown("s1.10", "s1.9")
    (['a9', 'a10'], ['z-5', 'z-2.5', 'z5'], ['s1.9', 's1.10'])
    """
    paths = list(paths)
    positions = _positions([path.stem for path in paths])
    return sorted(paths, key=lambda path: (positions.get(path.stem, 0.0), _numbered(path.stem)))


def _positions(stems: list[str]) -> dict[str, float]:
    """Returns where slices lie, if a number after one prefix is all that their names differ in."""
    found = {stem: named for stem in stems if (named := _POSITION.fullmatch(stem))}
    parts = {named["part"] or "" for named in found.values()}
    signs = {named["sign"] for named in found.values()}
    # 1.9 and 1.10 are numbers of two things; as fractions, all would have as many digits.
    counted = len({*map(len, parts)}) > 1 and any(p[-1:] == "0" and p != "0" for p in parts)
    if len(found) < len(stems) or len({m["before"] for m in found.values()}) > 1 or counted:
        return {}
    # The same sign everywhere only separates, as in case-1 and case-2.
    return {
        stem: float(f"{named['sign'] * (len(signs) > 1)}{named['whole']}.{named['part'] or 0}")
        for stem, named in found.items()
    }


def _numbered(stem: str) -> tuple:
    """Sorts `a10` after `a9`."""
    return tuple((int(t), "") if t.isdecimal() else (-1, t) for t in re.split(r"(\d{1,18})", stem))
