"""Evaluated runs paired by patient: bootstrap interval and Wilcoxon's test."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from cosup_jax import files
from cosup_jax.evaluation import truths
from cosup_jax.evaluation.protocols import PROTOCOLS
from cosup_jax.metrics import Counts
from cosup_jax.runs import checkpoints
from cosup_jax.scans import results

RESAMPLES = 9999
CONFIDENCE = 0.95
SAME = ("protocol", "dataset", "split")
PATIENT, SLICE = "patient", "slice"


class ComparisonError(ValueError):
    """Runs that cannot be paired; the message names what differs."""


class Evaluated(NamedTuple):
    """An evaluation read back.

    Attributes:
      name: the folder's, to print.
      summary: its summary.json.
      slices: its rows per slice, as text, by (case, slice index).
    """

    name: str
    summary: dict[str, Any]
    slices: dict[tuple[str, str], dict[str, str]]


Methods = Mapping[str, Sequence[Evaluated]]


class Difference(NamedTuple):
    """How a method differs from another, over patients (or slices where these are unknown).

    Attributes:
      n: pairs.
      mean: mean difference, this method less the other.
      low: lower end of the 95 % bootstrap interval of the mean; NaN with fewer than two pairs.
      high: its upper end.
      p: of Wilcoxon's signed-rank test, two-sided; NaN with fewer than two pairs.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float


def read(folder: str | Path) -> Evaluated:
    """Reads an evaluation.

    Args:
      folder: where summary.json lies, or a run, whose folder `evaluation` is then taken.

    Raises:
      ComparisonError: there is no evaluation, a damaged one, or one with a slice in two rows.
    """
    given = Path(folder).expanduser()
    place = given if (given / "summary.json").is_file() else given / "evaluation"
    try:
        summary = files.read_json(place / "summary.json")
        with (place / "per_slice.csv").open(newline="", encoding="utf-8") as file:
            read = ({k: files.from_cell(v) for k, v in row.items()} for row in csv.DictReader(file))
            rows = [((row["case_id"], row["slice_index"]), row) for row in read]
        measures = PROTOCOLS[summary["protocol"]].measures
        of_maps = () if summary.get("split") else ("predictions",)
        needed = (*SAME, *of_maps, "protocol_description", *measures)
        missing = [name for name in needed if name not in summary]
        if not missing:
            _check_figures(summary, [row for _, row in rows], measures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        if results.is_here(given):
            raise ComparisonError(
                f"{given}: results of predict, of which --scans compares two dates; to compare "
                "scores, evaluate each with --predictions and --truth first"
            ) from None
        raise ComparisonError(
            f"{given}: no evaluation ({error}); give the folder of a finished "
            f"run{checkpoints.such_as(given)}, or one that `evaluate` has written"
        ) from error
    if missing:
        raise ComparisonError(f"{place}/summary.json: no {missing[0]!r}; evaluate the run again")
    slices = dict(rows)
    if len(slices) < len(rows):
        case, index = next(one for one, n in Counter(one for one, _ in rows).items() if n > 1)
        raise ComparisonError(
            f"{place / 'per_slice.csv'}: slice {index} of {case!r} has several rows; expected one "
            "for each slice, so evaluate it again with files of one name each"
        )
    return Evaluated(str(folder), summary, slices)


def _check_figures(
    summary: Mapping[str, Any], rows: Sequence[Mapping[str, str]], measures: Sequence[str]
) -> None:
    """Refuses texts that hold no figures where an evaluation has some, by a built-in exception."""
    for name, kind in (("truths", dict), ("note", str)):
        if not isinstance(summary.get(name, kind()), kind):
            raise ValueError(f"{name} is {summary[name]!r}")
    for name in measures:
        for value in (summary[name]["mean"], *(row[name] for row in rows)):
            float(value)
    for row in rows:
        for name in Counts._fields:
            int(row[name])
    if not rows or not all(row["patient_id"] is not None for row in rows):
        raise ValueError("per_slice.csv is cut off")


def names_of(workdirs: Sequence[str]) -> list[str]:
    """Names runs by their folders, by as much of the path as it takes to tell them apart.

    Raises:
      ValueError: a folder is given twice.

    >>> names_of(["runs/c2f/0", "runs/unet/0"])
    ['c2f_0', 'unet_0']
    """
    parts = [Path(workdir).expanduser().resolve().parts for workdir in workdirs]
    if len(set(parts)) < len(parts):
        raise ValueError(f"a folder stands twice among {', '.join(workdirs)}")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["_".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            break
    return names


def check_pairs(runs: Sequence[Evaluated]) -> None:
    """Refuses runs that were not scored alike on the same slices, against the same masks.

    The masks are compared by what they show. Evaluations of earlier versions did not keep that,
    and are compared by the names of dataset and split.

    Raises:
      ComparisonError: naming the two runs and what differs.
    """
    first = runs[0]
    for other in runs[1:]:
        pair = f"{first.name} and {other.name}"
        digests = [run.summary.get("truths", {}) for run in (first, other)]
        same = truths.agree(*digests)
        for name in SAME[:1] if all(digests) else SAME:
            mine, theirs = first.summary[name], other.summary[name]
            if mine != theirs:
                raise ComparisonError(f"{pair} differ in {name}: {mine!r} and {theirs!r}")
        alone = first.slices.keys() ^ other.slices.keys()
        if alone:
            case, index = sorted(alone)[0]
            raise ComparisonError(
                f"{pair} were not scored on the same slices: {len(alone)} stand in one only, as "
                f"slice {index} of {case!r}"
            )
        for place, row in first.slices.items():
            whose = row["patient_id"], other.slices[place]["patient_id"]
            if whose[0] != whose[1]:
                raise ComparisonError(
                    f"{pair} differ in whose slice {place[1]} of {place[0]!r} is: {whose[0]!r} and "
                    f"{whose[1]!r}; evaluate both on the same data"
                )
        if all(digests) and not same:
            raise ComparisonError(
                f"{pair} were scored against different masks of the same slices, those of "
                f"{first.summary['dataset']!r} and {other.summary['dataset']!r}; evaluate both on "
                "the same data"
            )


def by_unit(run: Evaluated, measure: str) -> tuple[str, dict[str, float]]:
    """Returns what is independent in a run's slices, and the mean of a measure for each.

    That is the patient; where the patient of any slice is unknown, the slice has to do.
    """
    patients = [row["patient_id"] for row in run.slices.values()]
    unit = PATIENT if all(patients) else SLICE
    groups: dict[str, list[float]] = {}
    for (case, index), row in run.slices.items():
        name = row["patient_id"] if unit == PATIENT else f"{case}/{index}"
        groups.setdefault(name, []).append(float(row[measure]))
    return unit, {name: float(np.mean(values)) for name, values in sorted(groups.items())}


def difference(first: Mapping[str, float], other: Mapping[str, float], seed: int = 0) -> Difference:
    """Compares two methods by the same patients.

    Args:
      first: score by patient.
      other: of the method to compare, for the same patients.
      seed: of the bootstrap, 9,999 resamples of patients.

    Example:
      >>> round(difference({"a": 0.5, "b": 0.5, "c": 0.6}, {"a": 0.6, "b": 0.7, "c": 0.9}).mean, 6)
      0.2
    """
    gain = np.array([other[name] - first[name] for name in first])
    if len(gain) < 2:
        return Difference(len(gain), float(gain.mean()), np.nan, np.nan, np.nan)
    if np.ptp(gain) == 0:  # nothing to resample
        low = high = float(gain[0])
    else:
        interval = stats.bootstrap(
            (gain,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    p = float(stats.wilcoxon(gain).pvalue) if gain.any() else 1.0
    return Difference(len(gain), float(gain.mean()), low, high, p)


def over_seeds(runs: Sequence[Evaluated], measure: str) -> tuple[str, dict[str, float]]:
    """Returns `by_unit` of several runs of one method, as the mean over them."""
    units = [by_unit(run, measure) for run in runs]
    first = units[0][1]
    return units[0][0], {
        name: float(np.mean([values[name] for _, values in units])) for name in first
    }


def compare(methods: Methods, measure: str) -> list[dict[str, Any]]:
    """Compares each method with the first.

    Args:
      methods: by name, its runs (seeds), which are averaged for each patient.
      measure: one of the protocol's.

    Returns:
      A row per method: its name, how many seeds, mean and standard deviation over units, which
      unit, and the fields of `Difference` (None for the first).

    Raises:
      ComparisonError: the runs cannot be paired, or the measure is none of their protocol.
    """
    runs = [run for seeds in methods.values() for run in seeds]
    check_pairs(runs)
    known = PROTOCOLS[runs[0].summary["protocol"]].measures
    if measure not in known:
        raise ComparisonError(f"no measure {measure!r}; there are {', '.join(known)}")
    units = {name: over_seeds(seeds, measure) for name, seeds in methods.items()}
    first = next(iter(units.values()))[1]
    rows = []
    for name, (unit, values) in units.items():
        nothing = dict.fromkeys(Difference._fields)
        found = difference(first, values)._asdict() if values is not first else nothing
        each = list(values.values())
        score = {"score": float(np.mean(each)), "std": float(np.std(each))}
        place = {"method": name, "seeds": len(methods[name]), "measure": measure, "unit": unit}
        rows.append(place | score | found)
    return rows
