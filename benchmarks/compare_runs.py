"""Puts finished runs side by side: a table of scores, scores per case, and their learning curves.

    python benchmarks/compare_runs.py runs/seed0 runs/seed1 runs/seed2 --out curves.png

Prints Markdown. Mean and standard deviation are over the runs: give it seeds of one configuration.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cosup_jax.evaluation import PROTOCOLS
from cosup_jax.training.logs import read_metrics

MEASURES = PROTOCOLS["cosup"].measures


def main() -> None:
    """Reads the runs' folders and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="PNG of the learning curves")
    arguments = parser.parse_args()
    print(score_table(arguments.runs))
    print()
    print(case_table(arguments.runs))
    if arguments.out:
        save_curves(arguments.runs, arguments.out)


def score_table(runs: list[Path]) -> str:
    """Returns a row per run and one of mean ± standard deviation over runs."""
    summaries = [json.loads((run / "evaluation" / "summary.json").read_text()) for run in runs]
    lines = [_row(["run", "split", "best epoch", *MEASURES]), _rule(3 + len(MEASURES))]
    for run, summary in zip(runs, summaries, strict=True):
        means = [f"{summary[m]['mean']:.4f}" for m in MEASURES]
        lines.append(_row([run.name, summary["split"], str(summary["epoch"]), *means]))
    values = [[s[m]["mean"] for s in summaries] for m in MEASURES]
    lines.append(_row(["mean ± std", "", "", *map(_spread, values)]))
    return "\n".join(lines)


def case_table(runs: list[Path]) -> str:
    """Returns the Dice of each case over the runs."""
    dice: dict[str, list[float]] = {}
    slices: dict[str, str] = {}
    for run in runs:
        with (run / "evaluation" / "per_case.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                dice.setdefault(row["case_id"], []).append(float(row["dice"]))
                slices[row["case_id"]] = row["slices"]
    lines = [_row(["case", "slices", "Dice, mean ± std over runs"]), _rule(3)]
    lines += [_row([case, slices[case], _spread(values)]) for case, values in dice.items()]
    return "\n".join(lines)


def save_curves(runs: list[Path], path: Path) -> None:
    """Saves the validation Dice of all runs over epochs."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axis = figure.subplots()
    for run in runs:
        rows = read_metrics(run)
        dice = [row["validation/dice"] for row in rows]
        axis.plot([row["epoch"] for row in rows], dice, marker=".", label=run.name)
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation Dice, mean over slices")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return _row(["---"] * columns)


if __name__ == "__main__":
    main()
