"""Whose slices a split holds, and the refusal to score a network on people it was trained on.

A split is a TFDS expression such as `train[:45]+test`. People are compared by patient id, and where
the patient of a slice is unknown, by its case, which tells the same slice at least.
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from cosup_jax.data import schema, splits
from cosup_jax.data.records import Records

TEST = "test"
TRAINED_ON = "trained on"
_PIXELS = dict.fromkeys(("image", "mask", "lung"), tfds.decode.SkipDecoding())
_SHOWN = 5


class SplitError(ValueError):
    """A split that a dataset does not have; the message lists those it has."""


def terms(split: str) -> set[str]:
    """Returns the splits of which an expression takes slices.

    >>> sorted(terms("train[:45]+validation"))
    ['train', 'validation']
    """
    return set(re.sub(r"\[.*?\]", "", split).split("+"))


def check_split(builder: tfds.core.DatasetBuilder, split: str) -> None:
    """Refuses a split that a built dataset does not have, that is empty or takes slices twice.

    Raises:
      SplitError: it is no split, holds no slice, or one several times.
    """
    try:
        info = builder.info.splits[split]
        count = info.num_examples
    except (KeyError, ValueError, AssertionError) as error:
        told = (str(error).strip("'\"\n ") or "no split").splitlines()[0].rstrip(".")
        raise SplitError(
            f"{builder.info.full_name} has no split {split!r} ({told}); it has "
            f"{', '.join(builder.info.splits)}, parts such as test[:50%], and joined ones such as "
            "train+validation"
        ) from error
    if count < 1:
        raise SplitError(f"{builder.info.full_name}: the split {split!r} is empty")
    parts = sorted(
        (one.filename, one.skip, one.skip + one.take if one.take >= 0 else one.examples_in_shard)
        for one in info.file_instructions
    )
    for (file, _, end), (following, start, _) in itertools.pairwise(parts):
        if file == following and start < end:
            raise SplitError(
                f"{builder.info.full_name}: the split {split!r} takes some slices more than once"
            )


def evaluation_split(builder: tfds.core.DatasetBuilder, wanted: str, validation: str) -> str:
    """Returns the split to report on.

    That is `wanted`; only where it is the usual `test`, or nothing, and the dataset has no split
    `test`, the validation split stands in.

    Raises:
      SplitError: there is no such split.
    """
    absent = wanted in (TEST, "") and TEST not in builder.info.splits
    chosen = validation if absent or not wanted else wanted
    _check_field(builder, "data.test" if chosen == wanted else "data.validation", chosen)
    return chosen


def _check_field(builder: tfds.core.DatasetBuilder, name: str, split: str) -> None:
    try:
        check_split(builder, split)
    except SplitError as error:
        raise SplitError(f"{name} is {split!r}: {error}") from error


def people(
    builder: tfds.core.DatasetBuilder, split: str, exclude: Collection[str] = ()
) -> dict[str, Any]:
    """Returns whose slices a split holds, to be kept with a run trained on it.

    Args:
      builder: a built dataset.
      split: TFDS slicing allowed.
      exclude: patients to leave out.

    Returns:
      `dataset`, its full name; `patients`, their ids, `schema.UNKNOWN_PATIENT` among them where one
      is unknown; `cases`, those of unknown patients; `collection`, the builder's.

    Raises:
      SplitError: there is no such split.
    """
    check_split(builder, split)
    known = builder.info.metadata["patients"]
    names = split.split("+")
    cases: set[str] = set()
    if all(name in known and schema.UNKNOWN_PATIENT not in known[name] for name in names):
        patients = {schema.normal_name(patient) for name in names for patient in known[name]}
    else:
        patients = set()
        for example in Records(builder, split, decoders=_PIXELS):
            patient, case = (
                schema.normal_name(example[name].decode()) for name in ("patient_id", "case_id")
            )
            patients.add(patient)
            if patient == schema.UNKNOWN_PATIENT:
                cases.add(case)
    return {
        "dataset": builder.info.full_name,
        "patients": sorted(patients - {schema.normal_name(patient) for patient in exclude}),
        "cases": sorted(cases),
        "collection": builder.collection,
    }


def joined(own: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds to the people of a run those of the runs whose weights it started from.

    Args:
      own: `people` of its own data.
      earlier: of each run before it, what this function returned.

    Returns:
      `own` with the known patients of all, and `earlier`, the people of each dataset before.
    """
    flat = [one for run in earlier for one in each(run)]
    before = {patient for one in flat for patient in one["patients"]} - {schema.UNKNOWN_PATIENT}
    kept = {**own, "patients": sorted({*own["patients"], *before})}
    return {**kept, "earlier": flat} if flat else kept


def each(trained_on: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the people of each dataset that `joined` has joined."""
    own = {name: value for name, value in trained_on.items() if name != "earlier"}
    return [own, *trained_on.get("earlier", ())]


def shared(first: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    """Returns the patients, or cases of unknown patients of one dataset, who are in both.

    Where patients of two datasets of one collection are unknown, that is the collection.
    """
    found = _ids(first, "patients") & _ids(other, "patients")
    unknown = schema.UNKNOWN_PATIENT in found
    found -= {schema.UNKNOWN_PATIENT}
    if _same_dataset(first, other):
        return found | (_ids(first, "cases") & _ids(other, "cases"))
    collection = first.get("collection", "")
    if unknown and collection == other.get("collection", "") != "":
        found.add(collection)
    return found


def _ids(people: Mapping[str, Any], name: str) -> set[str]:
    return set(map(schema.normal_name, people.get(name, ())))


def _same_dataset(first: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    # Of another version, the splits are still the same.
    return first["dataset"].rpartition("/")[0] == other["dataset"].rpartition("/")[0]


def check_apart(
    builder: tfds.core.DatasetBuilder,
    split: str,
    trained_on: Mapping[str, Any],
    *,
    of_training: bool = False,
) -> str:
    """Refuses to score a network on patients that it was trained on.

    Several datasets are of the same people: those of `covid_ct_seg` are in `covid_chestct`,
    `cosup_covid` and `covid_semiseg` too.

    Args:
      builder: the dataset to score on.
      split: its split.
      trained_on: `people` of the split trained on, and of those before, see `joined`.
      of_training: the split is asked for as a part of what was trained on.

    Returns:
      What a reader must know: that patients are shared by design or because training data is
      scored, or that not all are known. Nothing where that is not so.

    Raises:
      PatientOverlapError: naming some of the patients.
    """
    scored = people(builder, split)
    same = _same_dataset(scored, trained_on)
    if same and not builder.info.metadata["patients_apart"]:
        said = f"{scored['dataset']} has the same patients in several splits, by design"
        return f"{said}; {TRAINED_ON}" if of_training else said
    for one in each(trained_on):
        if found := shared(scored, one):
            if of_training:
                return TRAINED_ON
            raise splits.PatientOverlapError(
                f"{split} of {scored['dataset']} holds patients that were trained on, in "
                f"{one['dataset']}: {_some(found)}. Such a score says nothing; "
                f"score on other data{_others(scored, one)}"
            )
    return splits.unknown_patients_warning(
        {f"the data trained on ({one['dataset']})": one["patients"] for one in each(trained_on)}
        | {f"{split} of {scored['dataset']}": scored["patients"]}
    )


def check_uses(
    builder: tfds.core.DatasetBuilder,
    uses: Mapping[str, str],
    trained_before: Mapping[str, Any] | None = None,
    exclude: Collection[str] = (),
) -> list[str]:
    """Refuses patients in two of the splits that a run trains, validates and tests on.

    A whole split that is asked for in both places, as `train+validation` beside `validation`, is
    meant so and noted, unless it is tested on.

    Args:
      builder: a built dataset.
      uses: what for (`train` first, then `validation` and `test`), and the split.
      trained_before: of the run whose weights are started from, see `joined`.
      exclude: patients of the training split who will be left out.

    Returns:
      What a reader must know.

    Raises:
      SplitError: there is no such split.
      PatientOverlapError: naming some of the patients.
    """
    for use, split in uses.items():
        _check_field(builder, f"data.{use}", split)
    found = {use: people(builder, split) for use, split in uses.items()}
    left_out = set(map(schema.normal_name, exclude))
    notes = []
    for (first, mine), (other, theirs) in itertools.combinations(found.items(), 2):
        both = shared(mine, theirs) - left_out
        if not both or not builder.info.metadata["patients_apart"]:
            continue
        if not set(uses[other].split("+")) & set(uses[first].split("+")) or (
            first == "train" and other == "test"
        ):
            raise splits.PatientOverlapError(
                f"data.{first}={uses[first]!r} and data.{other}={uses[other]!r} of "
                f"{builder.info.full_name} hold slices of the same patients: {_some(both)}. Give "
                "splits of different patients"
            )
        what = "is trained on" if first == "train" else "selects the epoch"
        notes.append(f"{uses[other]} {what} too; its scores are flattered")
    for use in (use for use in uses if use != "train"):
        for one in each(trained_before) if trained_before else ():
            if both := shared(found[use], one):
                raise splits.PatientOverlapError(
                    f"data.{use}={uses[use]!r} of {builder.info.full_name} holds patients that the "
                    f"weights to start from were trained on, in {one['dataset']}: {_some(both)}. "
                    f"Start from other weights, or give other data{_others(found[use], one)}"
                )
    return notes


def _others(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Returns what to do where names may be the same by chance, as those of two folders' files."""
    if first["dataset"] == other["dataset"]:
        return ""
    return "; if these are other people, name them otherwise in a column `patient`"


def _some(found: Collection[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(sorted(found)[:_SHOWN]) + more
