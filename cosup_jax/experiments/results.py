"""The seeds of a row taken together: mean and spread, and the difference to the reference row."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from cosup_jax.evaluation import comparison
from cosup_jax.experiments.rows import Row


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
      guide: what guides it, such as `infnet of 352×352 after 100 epochs`; empty where nothing does.
      rounds: what of a semi-supervised run went before its last step; empty for others.
    """

    seed: int
    folder: Path
    summary: Mapping[str, Any]
    parameters: int
    epochs: int
    stopped: bool
    seconds: float
    devices: str
    guide: str = ""
    rounds: str = ""

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
        return spread([100 * value for value in values]) if values else None


@dataclasses.dataclass(frozen=True)
class Difference:
    """A row's Dice less that of another, the base.

    Attributes:
      row: the row.
      base: the reference row of the table, or the row of which this one is a variant.
      found: by patient, or by slice where patients are unknown, each the mean over seeds.
      unit: `patient` or `slice`.
      p_seeds: p of Welch's test over seeds, on their means over slices; None for a single seed.
    """

    row: Row
    base: Row
    found: comparison.Difference
    unit: str
    p_seeds: float | None


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Returns mean and sample standard deviation (n - 1), which is None for a single value.

    >>> spread([1.0, 2.0, 3.0]), spread([1.0])
    ((2.0, 1.0), (1.0, None))
    """
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def differences(results: Sequence[RowResult], reference: str) -> list[Difference]:
    """Compares the Dice of every scored row with that of the reference row of its class.

    Returns:
      One difference per row, and one more for each that is a variant of another; nothing where
      the reference has no scores.

    Raises:
      ComparisonError: two rows were not scored alike on the same slices.
    """
    scored = [result for result in results if result.runs]
    bases = {r.row.infection: r for r in scored if reference and r.row.run == reference}
    pairs = [(base, r) for r in scored if (base := bases.get(r.row.infection)) is not None]
    named = {r.row.name: r for r in scored if bases}
    variants = [(named[r.row.base], r) for r in scored if r.row.base in named]
    return [_difference(base, r) for base, r in (*pairs, *variants) if r is not base]


def _difference(base: RowResult, result: RowResult) -> Difference:
    runs = [[comparison.read(run.folder) for run in r.runs] for r in (base, result)]
    comparison.check_pairs([*runs[0], *runs[1]])
    (unit, first), (_, other) = (comparison.over_seeds(seeds, "dice") for seeds in runs)
    return Difference(
        row=result.row,
        base=base.row,
        found=comparison.difference(first, other),
        unit=unit,
        p_seeds=welch(*([run.summary["dice"]["mean"] for run in seeds] for seeds in runs)),
    )


def welch(first: Sequence[float], other: Sequence[float]) -> float | None:
    """Returns p of Welch's t-test, two-sided; None where a mean is of one value.

    >>> welch([0.5], [0.6]), welch([0.5, 0.5], [0.5, 0.5]), welch([0.5, 0.5], [0.6, 0.6])
    (None, 1.0, 0.0)
    """
    if min(len(first), len(other)) < 2:
        return None
    if np.ptp(first) == np.ptp(other) == 0:  # no spread to divide by
        return float(first[0] == other[0])
    (mean, deviation), (mean_other, deviation_other) = spread(first), spread(other)
    return float(
        stats.ttest_ind_from_stats(
            mean, deviation, len(first), mean_other, deviation_other, len(other), equal_var=False
        ).pvalue
    )
