"""Puts evaluated runs side by side, tested by patient; or the scans of one patient at two dates.

    python -m cosup_jax compare runs/baseline runs/c2f --measure dice --out comparison
    python -m cosup_jax compare unet=runs/u/seed0,runs/u/seed1 c2f=runs/c/seed0,runs/c/seed1
    python -m cosup_jax compare --scans March=results/ct1 May=results/ct2 --out change

A run is a folder of `train.py` or one that `evaluate` has written; all must have been scored by
one protocol on the same slices. Folders joined by commas are runs of one method (seeds), averaged
for each patient, with a name before `=` if you like. Prints Markdown: means over slices of each
run, scores by case, and the paired differences with a bootstrap interval over patients and
Wilcoxon's signed-rank test. With --out also comparison.md, comparison.csv and learning curves.

A scan is the folder that predict has made of it. Prints volumes, shares of the lungs and how they
have changed since the first date. With --out also scans.md, scans.csv and a figure.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from cosup_jax import figures, files
from cosup_jax.evaluation import comparison, dates, side_by_side
from cosup_jax.runs import logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    parser.set_defaults(overrides=None)
    parser.add_argument(
        "methods",
        nargs="*",
        metavar="[NAME=]RUN[,RUN…]",
        help="a method's runs; the others are held against the first",
    )
    parser.add_argument(
        "--scans",
        nargs="+",
        metavar="[NAME=]FOLDER",
        help="results of predict: two scans of one patient or more, in the order of their dates",
    )
    parser.add_argument("--measure", default="dice")
    parser.add_argument("--out", type=Path, help="folder to write to")


def run(arguments: argparse.Namespace) -> int:
    """Compares, prints and writes."""
    if arguments.scans and arguments.methods:
        raise ValueError("give runs or --scans, not both")
    if arguments.scans:
        return _scans(arguments)
    if not arguments.methods:
        raise ValueError("what is to be compared? Give runs, or --scans with two results")
    folders = named(arguments.methods)
    every = [folder for group in folders.values() for folder in group]
    names = dict(zip(every, comparison.names_of(every), strict=True))
    methods = {
        method: [comparison.read(folder)._replace(name=names[folder]) for folder in group]
        for method, group in folders.items()
    }
    rows = comparison.compare(methods, arguments.measure)
    parts = [
        *side_by_side.headings(methods),
        *side_by_side.notes(methods),
        side_by_side.scores_table(methods),
        side_by_side.cases_table(methods, arguments.measure),
    ]
    if len(methods) > 1:
        parts.append(side_by_side.differences_table(rows))
    text = "\n\n".join(parts)
    print(text)
    if arguments.out:
        files.write_text(arguments.out / "comparison.md", text + "\n")
        files.write_csv(arguments.out / "comparison.csv", rows)
        curves = {name: logs.read_metrics(Path(f).expanduser()) for f, name in names.items()}
        known = {name: epochs for name, epochs in curves.items() if epochs}
        if known:
            figures.save(figures.learning_curves(known), arguments.out / "learning_curves")
        print(f"\nwritten to {arguments.out}")
    return 0


def _scans(arguments: argparse.Namespace) -> int:
    given = named(arguments.scans)
    if len(given) < 2 or any(len(folders) > 1 for folders in given.values()):
        raise ValueError("--scans takes two results of predict or more, each by itself")
    found = [dates.read(Path(folder).expanduser(), name) for name, (folder,) in given.items()]
    text = dates.table(found)
    print(text)
    if arguments.out:
        files.write_text(arguments.out / "scans.md", text + "\n")
        files.write_csv(arguments.out / "scans.csv", dates.rows(found))
        figures.save(dates.figure(found), arguments.out / "scans")
        print(f"\nwritten to {arguments.out}")
    return 0


def named(methods: Sequence[str]) -> dict[str, list[str]]:
    """Splits `[NAME=]RUN[,RUN…]`; a method without a name is called by its first run.

    A folder that is there is one, whatever signs are in its path.

    Raises:
      ValueError: two methods of one name, or a comma or `=` without a run behind it.

    >>> named(["a=x/0,x/1", "runs/y"])
    {'a': ['x/0', 'x/1'], 'y': ['runs/y']}
    """
    given = []
    for method in methods:
        name, eq, places = method.partition("=")
        if not eq or os.path.isdir(os.path.expanduser(method)):
            name, places = "", method
        one = os.path.isdir(os.path.expanduser(places))
        runs = [places] if one else places.split(",")
        if "" in runs:
            raise ValueError(f"{method!r} names no run in one place; expected [NAME=]RUN[,RUN…]")
        given.append((name, runs))
    called = iter(comparison.names_of([runs[0] for _, runs in given]))
    found: dict[str, list[str]] = {}
    for name, runs in given:
        default = next(called)
        if (name or default) in found:
            raise ValueError(f"two methods are called {name or default!r}; name them NAME=RUN")
        found[name or default] = runs
    return found
