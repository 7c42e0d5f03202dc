"""Compared methods as Markdown: scores, scores by case, paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cosup_jax.evaluation import tables
from cosup_jax.evaluation.comparison import Evaluated, Methods
from cosup_jax.evaluation.protocols import PROTOCOLS
from cosup_jax.metrics import Counts


def headings(methods: Methods) -> list[str]:
    """Returns how the runs were scored: a paragraph, or where they differ one more for each way."""
    runs = [run for seeds in methods.values() for run in seeds]
    ways: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        ways.setdefault((tables.scored_how(run.summary), _pixels(run)), []).append(run.name)
    first = runs[0].summary
    protocol, where = f"Protocol {first['protocol']}", tables.scored_on(first)
    if len(ways) == 1:
        return [f"{protocol}: {tables.scored_how(first)}; {where}."]
    each = [f"{', '.join(names)}: {how}, {size}." for (how, size), names in ways.items()]
    return [f"{protocol}; {where}. The runs were not scored in one way:", *each]


def _pixels(run: Evaluated) -> str:
    """Returns how large the maps were that were scored."""
    sizes = {sum(int(row[name]) for name in Counts._fields) for row in run.slices.values()}
    return f"{' to '.join(f'{n:,}' for n in sorted({min(sizes), max(sizes)}))} pixels a slice"


def scores_table(methods: Methods) -> str:
    """Returns each run's means over slices, and for a method of several seeds mean ± deviation."""
    runs = [run for seeds in methods.values() for run in seeds]
    measures = PROTOCOLS[runs[0].summary["protocol"]].measures
    rows = []
    for name, seeds in methods.items():
        means = [[run.summary[m]["mean"] for m in measures] for run in seeds]
        for run, row in zip(seeds, means, strict=True):
            rows.append([run.name, *(f"{value:.4f}" for value in row)])
        if len(seeds) > 1:
            columns = [_cell(c) for c in zip(*means, strict=True)]
            rows.append([f"{name}, mean ± std over {len(seeds)} runs", *columns])
    return markdown(["run", *measures], rows)


def notes(methods: Methods) -> list[str]:
    """Returns what a reader must know of the evaluations, each once with the runs it is said of."""
    said: dict[str, list[str]] = {}
    for run in (run for seeds in methods.values() for run in seeds):
        if note := run.summary.get("note"):
            said.setdefault(note, []).append(run.name)
    return [f"Note on {', '.join(names)}: {note}." for note, names in said.items()]


def cases_table(methods: Methods, measure: str) -> str:
    """Returns for each case its slices' mean of a measure by method, ± deviation over its runs."""
    cases: dict[str, dict[str, list[list[float]]]] = {}
    for name, seeds in methods.items():
        for i, run in enumerate(seeds):
            for (case, _), row in sorted(run.slices.items()):
                by_method = cases.setdefault(case, {m: [[] for _ in methods[m]] for m in methods})
                by_method[name][i].append(float(row[measure]))
    rows = []
    for case, by_method in cases.items():
        means = [[np.mean(values) for values in by_run] for by_run in by_method.values()]
        count = len(next(iter(by_method.values()))[0])
        rows.append([case, str(count), *map(_cell, means)])
    return markdown(["case", "slices", *(f"{measure}, {name}" for name in methods)], rows)


def _cell(values: Sequence[Any]) -> str:
    mean = f"{np.mean(values):.4f}"
    return f"{mean} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else mean


def differences_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the rows of `comparison.compare`, with what they rest on."""
    first = rows[0]
    cells = []
    for row in rows:
        paired = ["", "", ""]
        if row["n"] is not None:
            known = row["n"] > 1
            paired = [
                f"{row['mean']:+.4f}",
                f"{row['low']:+.4f} to {row['high']:+.4f}" if known else "one pair only",
                f"{row['p']:.3g}" if known else "",
            ]
        cells.append([row["method"], f"{row['score']:.4f} ± {row['std']:.4f}", *paired])
    n = next((row["n"] for row in rows if row["n"] is not None), 0)
    unit = first["unit"]
    head = ["method", f"{first['measure']} by {unit}", "less the first", "95 % interval", "p"]
    note = (
        f"{n} pairs by {unit}, means over each method's runs; interval of the mean difference by "
        "bootstrap, p by Wilcoxon's signed-rank test, not corrected for several comparisons."
    )
    return f"{markdown(head, cells)}\n\n{note}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
