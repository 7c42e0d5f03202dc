"""Evaluated runs side by side, paired by patient: bootstrap interval and Wilcoxon's test."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from cosup_jax.evaluation.protocols import PROTOCOLS

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


class Difference(NamedTuple):
    """How a run differs from the first, over patients (or slices where these are unknown).

    Attributes:
      n: pairs.
      mean: mean difference, this run less the first.
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
      ComparisonError: there is no evaluation, or a damaged one.
    """
    given = Path(folder).expanduser()
    place = given if (given / "summary.json").is_file() else given / "evaluation"
    try:
        summary = json.loads((place / "summary.json").read_text())
        with (place / "per_slice.csv").open(newline="") as file:
            rows = {(row["case_id"], row["slice_index"]): row for row in csv.DictReader(file)}
        wanted = (*SAME, *PROTOCOLS[summary["protocol"]].measures)
        missing = [name for name in wanted if name not in summary]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ComparisonError(
            f"{given}: no evaluation ({error}); give the folder of a finished run, or one that "
            "`evaluate` has written"
        ) from error
    if missing:
        raise ComparisonError(f"{place}/summary.json: no {missing[0]!r}; evaluate the run again")
    return Evaluated(str(folder), summary, rows)


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
    """Refuses runs that were not scored alike on the same slices.

    Raises:
      ComparisonError: naming the two runs and what differs.
    """
    first = runs[0]
    for other in runs[1:]:
        pair = f"{first.name} and {other.name}"
        for name in SAME:
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
    """Compares two runs by the same patients.

    Args:
      first: score by patient.
      other: of the run to compare, for the same patients.
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


def compare(runs: Sequence[Evaluated], measure: str) -> list[dict[str, Any]]:
    """Compares each run with the first.

    Returns:
      A row per run: its name, mean and standard deviation over units, which unit, and the fields of
      `Difference` (None for the first).

    Raises:
      ComparisonError: the runs cannot be paired, or the measure is none of their protocol.
    """
    check_pairs(runs)
    known = PROTOCOLS[runs[0].summary["protocol"]].measures
    if measure not in known:
        raise ComparisonError(f"no measure {measure!r}; there are {', '.join(known)}")
    units = [by_unit(run, measure) for run in runs]
    rows = []
    for i, (run, (unit, values)) in enumerate(zip(runs, units, strict=True)):
        nothing = dict.fromkeys(Difference._fields)
        found = difference(units[0][1], values)._asdict() if i else nothing
        each = list(values.values())
        score = {"score": float(np.mean(each)), "std": float(np.std(each))}
        rows.append({"run": run.name, "measure": measure, "unit": unit, **score, **found})
    return rows


def scores_table(runs: Sequence[Evaluated]) -> str:
    """Returns Markdown: each run's means over slices, then their mean ± deviation over the runs."""
    measures = PROTOCOLS[runs[0].summary["protocol"]].measures
    means = [[run.summary[m]["mean"] for m in measures] for run in runs]
    rows = [[run.name, *(f"{v:.4f}" for v in row)] for run, row in zip(runs, means, strict=True)]
    if len(runs) > 1:
        columns = zip(*means, strict=True)
        rows.append(["mean ± std", *(f"{np.mean(c):.4f} ± {np.std(c):.4f}" for c in columns)])
    return _markdown(["run", *measures], rows)


def cases_table(runs: Sequence[Evaluated], measure: str) -> str:
    """Returns Markdown: for each case, its slices' mean of a measure, mean ± std over the runs."""
    cases: dict[str, list[list[float]]] = {}
    for i, run in enumerate(runs):
        for (case, _), row in sorted(run.slices.items()):
            cases.setdefault(case, [[] for _ in runs])[i].append(float(row[measure]))
    rows = []
    for case, by_run in cases.items():
        means = [np.mean(values) for values in by_run]
        rows.append([case, str(len(by_run[0])), f"{np.mean(means):.4f} ± {np.std(means):.4f}"])
    return _markdown(["case", "slices", measure], rows)


def differences_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows of `compare` as Markdown, with what they rest on."""
    first = rows[0]
    cells = []
    for row in rows:
        paired = ["", "", ""]
        if row["n"] is not None:
            interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
            known = row["n"] > 1
            paired = [
                f"{row['mean']:+.4f}",
                interval if known else "one pair only",
                f"{row['p']:.3g}" if known else "",
            ]
        cells.append([row["run"], f"{row['score']:.4f} ± {row['std']:.4f}", *paired])
    n = next((row["n"] for row in rows if row["n"] is not None), 0)
    head = ["run", f"{first['measure']} by {first['unit']}", "less the first", "95 % interval", "p"]
    note = (
        f"{n} pairs by {first['unit']}; interval of the mean difference by bootstrap, p by "
        "Wilcoxon's signed-rank test, not corrected for several comparisons."
    )
    return f"{_markdown(head, cells)}\n\n{note}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
