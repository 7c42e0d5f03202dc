"""Scores of a split: one row per slice and per case, a summary with spread, and a printed table.

Dice, sensitivity and precision follow the paper (Eqs. 7, 9, 10) on σ(S_p) at 0.5, specificity and
MAE (Eq. 12, on the probabilities) beside them; the headline is the mean over slices, as in its
tables.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax.metrics import scores
from cosup_jax.metrics.counts import Counts

THRESHOLD = 0.5
MEASURES = ("dice", "sensitivity", "precision", "specificity", "mae")
EMPTY_POLICY = (
    "one: 0/0 counts 1 where both prediction and truth are empty, 0 where only one of them is"
)
_COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class SplitScores:
    """All rows of one evaluated split.

    Attributes:
      slices: one row per slice: case, patient, slice index, counts, measures.
      cases: the same per case, its slices' counts taken together.
      loss: mean joint loss over slices.
    """

    slices: list[dict[str, Any]]
    cases: list[dict[str, Any]]
    loss: float

    def mean(self, measure: str) -> float:
        """Returns the mean of a measure over slices."""
        return float(np.mean([row[measure] for row in self.slices]))


def score_split(
    batches: Iterable[Mapping[str, np.ndarray]],
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
) -> SplitScores:
    """Scores every slice of a split once.

    Args:
      batches: from `pipeline.eval_batches`; filling (`_mask` 0) is left out.
      run: the evaluation step on a host batch: counts and `mae` per slice, and `loss`.
    """
    rows, losses, weights = [], [], []
    for batch in batches:
        results = run(batch)
        present = int(batch["_mask"].sum())
        losses.append(float(results["loss"]))
        weights.append(present)
        for i in range(present):
            place = {
                "case_id": str(batch["case_id"][i]),
                "patient_id": str(batch["patient_id"][i]),
                "slice_index": int(batch["slice_index"][i]),
            }
            found = {name: int(results[name][i]) for name in _COUNTS}
            rows.append({**place, **found, **_measures(found, float(results["mae"][i]))})
    return SplitScores(rows, _by_case(rows), float(np.average(losses, weights=weights)))


def _measures(found: Mapping[str, int], mae: float) -> dict[str, float]:
    c = Counts(**{name: np.asarray(found[name]) for name in _COUNTS})
    ratios = {
        name: float(getattr(scores, name)(c, empty="one")) for name in MEASURES if name != "mae"
    }
    return {**ratios, "mae": mae}


def _by_case(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["case_id"], []).append(row)
    cases = []
    for case_id, group in sorted(groups.items()):
        found = {name: sum(row[name] for row in group) for name in _COUNTS}
        mae = float(np.mean([row["mae"] for row in group]))
        place = {"case_id": case_id, "patient_id": group[0]["patient_id"], "slices": len(group)}
        cases.append({**place, **found, **_measures(found, mae)})
    return cases


def summarise(split_scores: SplitScores, *, split: str, note: str = "") -> dict[str, Any]:
    """Returns the summary: one object per measure (mean, std, n over slices), and per case.

    Args:
      split_scores: from `score_split`.
      split: the split's name.
      note: what a reader must know about the split, such as that it was used for selection.
    """

    def spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
        return {
            m: {
                "mean": float(np.mean([row[m] for row in rows])),
                "std": float(np.std([row[m] for row in rows])),
                "n": len(rows),
            }
            for m in MEASURES
        }

    return {
        **spread(split_scores.slices),
        "per_case": spread(split_scores.cases),
        "loss": split_scores.loss,
        "split": split,
        "note": note,
        "threshold": THRESHOLD,
        "empty_masks": EMPTY_POLICY,
        "empty_truths": sum(row["tp"] + row["fn"] == 0 for row in split_scores.slices),
    }


def table(summary: Mapping[str, Any]) -> str:
    """Returns the summary as a table to print."""
    note = f" ({summary['note']})" if summary["note"] else ""
    n_slices, n_cases = summary["dice"]["n"], summary["per_case"]["dice"]["n"]
    lines = [
        f"{summary['split']} split{note}, σ(S_p) at 0.5",
        f"{'measure':<12} {f'mean ± std over {n_slices} slices':>30} {f'over {n_cases} cases':>22}",
    ]
    for m in MEASURES:
        slice_cell, case_cell = (
            f"{group[m]['mean']:.4f} ± {group[m]['std']:.4f}"
            for group in (summary, summary["per_case"])
        )
        lines.append(f"{m:<12} {slice_cell:>30} {case_cell:>22}")
    lines.append(
        f"empty masks: {summary['empty_truths']} slices without infection; {summary['empty_masks']}"
    )
    return "\n".join(lines)


def write(split_scores: SplitScores, summary: Mapping[str, Any], folder: Path) -> None:
    """Writes per_slice.csv, per_case.csv and summary.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("per_slice", split_scores.slices), ("per_case", split_scores.cases)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
