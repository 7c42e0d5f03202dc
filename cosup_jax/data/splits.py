"""Which patients are in which split, and the refusal of a patient in two of them."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from cosup_jax.data.schema import UNKNOWN_PATIENT


class HasPatient(Protocol):
    """Anything that is of one person, such as a `Case`."""

    @property
    def patient_id(self) -> str:
        """The person."""


_OfPatient = TypeVar("_OfPatient", bound=HasPatient)


class PatientOverlapError(ValueError):
    """The same patient stands in two splits, so a score on one would be flattered by the other."""


def check_patients_apart(patients: Mapping[str, Sequence[str]]) -> None:
    """Refuses patients that stand in more than one split.

    Args:
      patients: the patient ids of each split; `UNKNOWN_PATIENT` says nothing and is not compared.

    Raises:
      PatientOverlapError: naming the patients and both splits.
    """
    names = list(patients)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = (set(patients[first]) & set(patients[second])) - {UNKNOWN_PATIENT}
            if shared:
                raise PatientOverlapError(
                    f"{len(shared)} patient(s) stand in both {first!r} and {second!r}: "
                    f"{', '.join(sorted(shared)[:5])}. Move all slices of a patient to one split, "
                    "or correct the patient ids of the index."
                )


def spelling(patient: str) -> str:
    """Returns what two spellings of one id have in common.

    Spreadsheets make `1` of `01`, and programs `1.0`; capitals and what parts words come and go.

    >>> [spelling(name) for name in ("01", "1.0", "P_007", "p-7", "1.10")]
    ['1', '1', 'p-7', 'p-7', '1.10']
    """
    number = re.fullmatch(r"([0-9]+)\.0+", patient)
    words = re.sub(r"[\s_-]+", "-", (number[1] if number else patient).casefold())
    return re.sub(r"[0-9]+", lambda digits: digits[0].lstrip("0") or "0", words)


def subject_of(case: str) -> str:
    """Returns whose a scan is by its name: its subject where that is one of BIDS, else itself.

    >>> subject_of("sub-07_ses-1_ct"), subject_of("sub-07"), subject_of("scan_7")
    ('sub-07', 'sub-07', 'scan_7')
    """
    found = re.match(r"sub-[a-zA-Z0-9]+(?=_)", case)
    return found[0] if found else case


def check_spelling(patient: str, where: str, seen: dict[str, tuple[str, str]]) -> None:
    """Refuses an id that stands elsewhere in another spelling, as both may be one person.

    Args:
      patient: as somebody has written it; `UNKNOWN_PATIENT` says nothing.
      where: the file and row.
      seen: by `spelling`, the ids before and where they stand; this one is added.

    Raises:
      PatientOverlapError: naming both.
    """
    other, place = seen.setdefault(spelling(patient), (patient, where))
    if other != patient and patient:
        raise PatientOverlapError(
            f"{where}: patient {patient!r}, but {place} has {other!r}, which may be the same "
            "person; expected one spelling for each person, and for two other names"
        )


def alike_warning(patients: Mapping[str, Sequence[str]]) -> str:
    """Returns a sentence on two splits' ids that differ in spelling alone, or an empty string."""
    seen: dict[str, tuple[str, str]] = {}
    for split, ids in patients.items():
        for patient in ids:
            other, place = seen.setdefault(spelling(patient), (patient, split))
            if other != patient and place != split:
                return (
                    f"patient {patient!r} of {split} may be {other!r} of {place}; if so, give both "
                    "one name, or the scores are flattered"
                )
    return ""


def ranked(names: Iterable[str], seed: str) -> list[str]:
    """Returns the names in a random order that is the same on every machine and for ever.

    They are sorted by the SHA-256 of `<seed>:<name>`, so another name changes nothing about the
    order of the rest.

    >>> ranked(["ann", "bob", "eve"], "x") == ranked(["eve", "bob", "ann"], "x")
    True
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())


def folds(patients: Iterable[str], count: int, seed: str) -> dict[str, int]:
    """Deals patients into `count` folds whose sizes differ by one at most.

    Args:
      patients: ids, each once or more often.
      count: how many folds.
      seed: names the dealing, such as the dataset's name.

    Returns:
      patient to fold 0..count-1.

    >>> sorted(folds(["a", "b", "c", "d", "a"], 2, "x").values())
    [0, 0, 1, 1]
    """
    return {name: i % count for i, name in enumerate(ranked(set(patients), seed))}


def fold_splits(
    cases: Iterable[_OfPatient], fold: int, count: int, seed: str
) -> dict[str, list[_OfPatient]]:
    """Splits cases for one round of a cross-validation; all of a patient stay together.

    Args:
      cases: all cases, each of a known patient.
      fold: 0..count-1, the fold tested on; the next one, cyclically, is validated on, and the
        network is trained on the others.
      count: how many folds, 3 at least.
      seed: names the dealing of patients, see `folds`.

    Returns:
      `train`, `validation` and `test`, the cases in the order given.

    >>> from collections import namedtuple
    >>> Scan = namedtuple("Scan", "case_id patient_id")
    >>> scans = [Scan(f"{p}{i}", p) for p in "abc" for i in range(2)]
    >>> rounds = [fold_splits(scans, i, 3, "x") for i in range(3)]
    >>> [scan.case_id for scan in rounds[0]["test"]]
    ['b0', 'b1']
    >>> rounds[0]["validation"] == rounds[1]["test"]
    True
    """
    cases = list(cases)
    fold_of = folds((case.patient_id for case in cases), count, seed)
    split_of = dict.fromkeys(range(count), "train")
    split_of[(fold + 1) % count], split_of[fold] = "validation", "test"
    return {
        split: [case for case in cases if split_of[fold_of[case.patient_id]] == split]
        for split in ("train", "validation", "test")
    }


def unknown_patients_warning(patients: Mapping[str, Sequence[str]]) -> str:
    """Returns a sentence that names the splits with unknown patients, or an empty string."""
    unsafe = [name for name, ids in patients.items() if UNKNOWN_PATIENT in ids]
    if not unsafe:
        return ""
    return (
        f"the patients of {', '.join(unsafe)} are not all known, so nobody can say that no patient "
        "is in two splits; read the scores with that in mind"
    )
