"""The seeds of a row taken together: mean and spread, and the difference to the reference row."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from cosup_jax.data.schema import UNKNOWN_PATIENT
from cosup_jax.experiments.tables import Row

RESAMPLINGS = 9999
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A scored run.

    Attributes:
      seed: its seed.
      folder: where its scores lie.
      summary: from `evaluation.evaluate_run`.
      parameters: how many the network has.
      epochs: how many it was trained.
      stopped: whether it ended by its own rule.
      seconds: what its epochs took.
      devices: what it was trained on, such as `1 cpu`.
    """

    seed: int
    folder: Path
    summary: Mapping[str, Any]
    parameters: int
    epochs: int
    stopped: bool
    seconds: float
    devices: str

    def value(self, measure: str) -> float | None:
        """Returns the headline value of a measure; None where the split does not have it."""
        found = self.summary[measure]
        return found["mean"] if isinstance(found, Mapping) else found


@dataclasses.dataclass(frozen=True)
class RowResult:
    """What is known of a row.

    Attributes:
      row: the row.
      runs: its scored runs, one a seed; empty where there are none.
      failed: why it failed.
      pending: why there are no scores yet.
    """

    row: Row
    runs: tuple[RunResult, ...] = ()
    failed: str = ""
    pending: str = ""

    def spread(self, measure: str) -> tuple[float, float | None] | None:
        """Returns mean and sample standard deviation over seeds, in per cent.

        The deviation divides by n - 1, and is None for a single run; None instead of both without
        any value.
        """
        values = [value for run in self.runs if (value := run.value(measure)) is not None]
        return spread([100 * value for value in values])


@dataclasses.dataclass(frozen=True)
class Difference:
    """A row's Dice minus that of the reference row.

    Attributes:
      row: the row.
      mean: in percentage points; each slice is the mean over seeds.
      low: lower end of the interval of confidence.
      high: upper end.
      spread: sample standard deviation of the seeds' differences (seed by seed); None for one seed.
      units: what was drawn anew, `patients` or `slices`.
      count: how many of them.
    """

    row: Row
    mean: float
    low: float
    high: float
    spread: float | None
    units: str
    count: int


def spread(values: Sequence[float]) -> tuple[float, float | None] | None:
    """Returns mean and sample standard deviation (n - 1), with None for what there is not.

    >>> spread([1.0, 2.0, 3.0]), spread([1.0]), spread([])
    ((2.0, 1.0), (1.0, None), None)
    """
    if not values:
        return None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def differences(results: Sequence[RowResult], reference: str) -> list[Difference]:
    """Compares the Dice of every scored row with that of the reference row, slice by slice.

    The interval is a percentile bootstrap of the mean over slices: whole patients are drawn anew
    where all are known and there are more than one, else slices.

    Returns:
      One difference per row; nothing where the reference has no scores.
    """
    scored = [result for result in results if result.runs]
    base = next((result for result in scored if result.row.name == reference), None)
    if base is None:
        return []
    slices = _slices(base)
    return [_difference(r, _slices(r), slices) for r in scored if r is not base]


def _slices(result: RowResult) -> dict[tuple[str, str, str], list[float]]:
    """(patient, case, slice) → Dice of each seed."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for run in result.runs:
        with (run.folder / "per_slice.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                key = (row["patient_id"], row["case_id"], row["slice_index"])
                found.setdefault(key, []).append(float(row["dice"]))
    return found


def _difference(
    result: RowResult,
    mine: Mapping[tuple[str, str, str], list[float]],
    theirs: Mapping[tuple[str, str, str], list[float]],
) -> Difference:
    if mine.keys() != theirs.keys():
        raise ValueError(f"{result.row.name} was scored on other slices than the reference row")
    keys = list(mine)
    seeds = 100 * np.array([np.subtract(mine[key], theirs[key]) for key in keys])
    patients = {key[0] for key in keys}
    by_patient = UNKNOWN_PATIENT not in patients and len(patients) > 1
    names = [key[0] if by_patient else ",".join(key) for key in keys]
    groups = [seeds.mean(axis=1)[[n == name for n in names]] for name in dict.fromkeys(names)]
    sums, sizes = (np.array([f(g) for g in groups]) for f in (np.sum, np.size))
    low, high = (
        stats.bootstrap(
            (sums, sizes),
            lambda s, n, axis: s.sum(axis) / n.sum(axis),
            paired=True,
            vectorized=True,
            method="percentile",
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLINGS,
            rng=np.random.default_rng(0),
        ).confidence_interval
        if len(groups) > 1
        else (np.nan, np.nan)
    )
    over_seeds = spread(list(seeds.mean(axis=0)))
    return Difference(
        row=result.row,
        mean=float(seeds.mean()),
        low=float(low),
        high=float(high),
        spread=over_seeds[1] if over_seeds else None,
        units="patients" if by_patient else "slices",
        count=len(groups),
    )
