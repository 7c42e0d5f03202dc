"""Which patients are in which split, and the refusal of a patient in two of them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from cosup_jax.data.schema import UNKNOWN_PATIENT


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


def unknown_patients_warning(patients: Mapping[str, Sequence[str]]) -> str:
    """Returns a sentence that names the splits with unknown patients, or an empty string."""
    unsafe = [name for name, ids in patients.items() if UNKNOWN_PATIENT in ids]
    if not unsafe:
        return ""
    return (
        f"the patients of {', '.join(unsafe)} are not all known, so nobody can say that no patient "
        "is in two splits; read the scores with that in mind"
    )
