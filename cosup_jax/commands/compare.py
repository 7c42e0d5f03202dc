"""Puts evaluated runs side by side, and tests how each differs from the first by patient.

    python -m cosup_jax compare runs/baseline runs/c2f --measure dice --out comparison
    python -m cosup_jax compare runs/seed0 runs/seed1 runs/seed2

A run is a folder of `train.py` or one that `evaluate` has written; all must have been scored by
one protocol on the same slices. Prints Markdown: means over slices of each run and over the runs,
scores by case, and the paired differences with a bootstrap interval over patients and Wilcoxon's
signed-rank test. With --out also comparison.md, comparison.csv and the learning curves.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cosup_jax import figures
from cosup_jax.evaluation import comparison, tables
from cosup_jax.training import logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    parser.set_defaults(overrides=None)
    parser.add_argument("runs", nargs="+", help="folders; the others are held against the first")
    parser.add_argument("--measure", default="dice")
    parser.add_argument("--out", type=Path, help="folder to write to")


def run(arguments: argparse.Namespace) -> int:
    """Compares, prints and writes."""
    names = comparison.names_of(arguments.runs)
    read = [
        comparison.read(folder)._replace(name=name)
        for name, folder in zip(names, arguments.runs, strict=True)
    ]
    rows = comparison.compare(read, arguments.measure)
    first = read[0].summary
    parts = [
        f"Protocol {first['protocol']}: {first['protocol_description']}; "
        f"{tables.scored_on(first)}.",
        comparison.scores_table(read),
        comparison.cases_table(read, arguments.measure),
    ]
    if len(read) > 1:
        parts.append(comparison.differences_table(rows))
    text = "\n\n".join(parts)
    print(text)
    if arguments.out:
        _write(text, rows, names, arguments)
    return 0


def _write(
    text: str, rows: Sequence[tables.Row], names: Sequence[str], arguments: argparse.Namespace
) -> None:
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "comparison.md").write_text(text + "\n")
    tables.write_csv(rows, arguments.out / "comparison.csv")
    curves = {
        name: logs.read_metrics(Path(folder).expanduser())
        for name, folder in zip(names, arguments.runs, strict=True)
    }
    known = {name: epochs for name, epochs in curves.items() if epochs}
    if known:
        figures.save(figures.learning_curves(known), arguments.out / "learning_curves")
    print(f"\nwritten to {arguments.out}")
