"""No patient in two splits, whatever the splits look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosup_jax.data import splits
from cosup_jax.data.schema import UNKNOWN_PATIENT

IDS = st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), max_size=4)
SPLITS = st.dictionaries(st.sampled_from(["train", "validation", "test", "extra"]), IDS)


@given(SPLITS)
def test_refuses_exactly_when_a_known_patient_is_in_two_splits(patients):
    holders = {}
    for name, ids in patients.items():
        for patient in set(ids):
            holders.setdefault(patient, []).append(name)
    overlap = any(len(names) > 1 for p, names in holders.items() if p != UNKNOWN_PATIENT)
    if overlap:
        with pytest.raises(splits.PatientOverlapError):
            splits.check_patients_apart(patients)
    else:
        splits.check_patients_apart(patients)


def test_names_the_patient_and_both_splits():
    with pytest.raises(splits.PatientOverlapError, match=r"'train' and 'test': p2\. Move all"):
        splits.check_patients_apart({"train": ["p1", "p2"], "validation": ["p3"], "test": ["p2"]})


def test_unknown_patients_are_said_and_not_compared():
    patients = {"train": ["", "p1"], "validation": ["p2"], "test": [""]}
    splits.check_patients_apart(patients)
    assert "train, test are not all known" in splits.unknown_patients_warning(patients)
    assert splits.unknown_patients_warning({"train": ["p1"], "validation": ["p2"]}) == ""
