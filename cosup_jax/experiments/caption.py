"""What a table says: its rows, what was run on what, how it was scored, whether it is reduced."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

from cosup_jax.evaluation import PROTOCOLS, comparison
from cosup_jax.experiments import published
from cosup_jax.experiments.plan import Request, usual_folder
from cosup_jax.experiments.results import Difference, RowResult, differences
from cosup_jax.experiments.rows import Row

FULL_SEEDS = 3
PAPERS = {"cosup": "Hu et al.", "infnet": "Fan et al."}
NAMES = {
    "dice": "Dice",
    "sensitivity": "Sens.",
    "specificity": "Spec.",
    "precision": "Prec.",
    "mae": "MAE",
    "e_phi_mean": "E_φ",
    "s_alpha": "S_α",
    "dice_positive": "Dice, infected slices",
    "pooled_dice": "Dice, all pixels",
}
# Slices without infection flatter the mean over slices, so these always stand beside it.
BESIDE = ("dice_positive", "pooled_dice")
# Settings that make a run less than the paper's, and one that does not.
_EXTENT, _NO_EXTENT = ("model.", "data.", "semi."), ("model.dtype",)
HERE, PAPER = "here", "paper"
NOTHING = "–"


@dataclasses.dataclass(frozen=True)
class Document:
    """A table ready to be written, all of it text.

    Attributes:
      name: of its files.
      title: its title.
      head: `Reduced run: …` or `Full run: …`.
      caption: sentences.
      header: names of the columns.
      lines: cells.
      difference_title: of the second table.
      difference_header: its columns.
      difference_lines: its cells; empty where nothing can be compared.
    """

    name: str
    title: str
    head: str
    caption: tuple[str, ...]
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    difference_title: str
    difference_header: tuple[str, ...]
    difference_lines: tuple[tuple[str, ...], ...]


def document(request: Request, results: Sequence[RowResult]) -> Document:
    """Returns the table of all rows, those without scores included."""
    table = request.definition
    measures = (*table.measures, *BESIDE)
    found = differences(results, table.reference)
    reference = next((r.row for r in results if r.row.name == table.reference), None)
    return Document(
        name=file_name(request),
        title=title(request),
        head=head(request, results),
        caption=tuple(caption(request, results)),
        header=("Method", "", *(NAMES[m] for m in measures), "Parameters", "Note"),
        lines=tuple(lines(request, results, measures)),
        difference_title=_difference_title(found, reference) if found and reference else "",
        difference_header=("Method", "Difference", "Interval", "p", "p over seeds", "Reading"),
        difference_lines=tuple(map(_difference_line, found)),
    )


def file_name(request: Request) -> str:
    """Returns the name of a table's files, without ending."""
    return f"{request.table}-from-{request.train_on}" if request.transfers else request.table


def title(request: Request) -> str:
    """Returns the title, with the paper's number of the table."""
    table = request.definition
    place = f"Table {table.number} of {PAPERS[table.paper]}"
    named = request.table.startswith(("table", "infnet"))
    return f"{place}: {table.title}" if named else table.title[0].upper() + table.title[1:]


def head(request: Request, results: Sequence[RowResult]) -> str:
    """Returns `Reduced run` with its extent, unless it is as large and as long as the paper's."""
    scored = [result for result in results if result.runs]
    # Rows may score the same runs in different ways.
    runs = [*{(r.row.run, run.seed): run for r in scored for run in r.runs}.values()]
    if not runs:
        return "Nothing has been run yet"
    configs = [request.config(result.row) for result in scored]
    changes = [request.changes(result.row) for result in scored]
    smaller = any(
        name.startswith(_EXTENT) and name not in _NO_EXTENT for c in changes for name in c
    )
    stopped = sum(run.stopped for run in runs)
    complete = all(len(result.runs) == request.seeds for result in scored)
    full = request.seeds >= FULL_SEEDS and not smaller and complete and stopped == len(runs)
    sizes = sorted({f"{c.data.size[0]}×{c.data.size[1]}" for c in configs})
    networks = [c.model.get("labeller", c.model) for c in configs]
    widths = sorted({network.width for network in networks})
    blocks = sorted({str(tuple(n.blocks)) for n in networks if n.get("blocks")})
    extent = [
        " and ".join(sizes),
        f"width {' and '.join(map(str, widths))}",
        *([f"blocks {' and '.join(blocks)}"] if smaller and blocks else []),
        f"{_range([run.epochs for run in runs])} epochs",
        f"{request.seeds} seed{'s' * (request.seeds != 1)}",
        f"stopping rule reached by {stopped} of {len(runs)} runs",
    ]
    return f"{'Full' if full else 'Reduced'} run: {', '.join(extent)}"


def caption(request: Request, results: Sequence[RowResult]) -> list[str]:
    """Returns the sentences below the head."""
    table = request.definition
    protocol = PROTOCOLS[table.protocol]
    sentences = [
        f"Protocol {protocol.name}: {protocol.description}; empty masks: {protocol.empty_masks}.",
        "Here: mean ± sample standard deviation over seeds, in per cent; MAE is better when lower.",
    ]
    runs = [run for result in results for run in result.runs]
    if runs:
        summary = runs[0].summary
        note = f" ({summary['note']})" * bool(summary["note"])
        empty = {r.row.infection: r.runs[0].summary["empty_truths"] for r in results if r.runs}
        without = [f"{count} of them without {c or 'infection'}" for c, count in empty.items()]
        sentences.append(
            f"Scored on the split {summary['split']} of {request.data}, "
            f"{summary['dice']['n']} slices, {' and '.join(without)}{note}."
        )
        sentences.append(f"Trained on {', '.join(sorted({run.devices for run in runs}))}.")
    if table.other_training:
        sentences.append(f"Trained on {request.train_on if request.transfers else request.data}.")
    if request.data != table.data:
        sentences.append(
            f"The paper's values are of {table.data}, so they stand beside these for orientation "
            "only."
        )
    if table.note:
        sentences.append(table.note)
    guides = sorted({run.guide for run in runs if run.guide})
    if guides:
        sentences.append(f"Guides: {'; '.join(guides)}.")
    for result in results:
        words = sorted({run.rounds for run in result.runs if run.rounds})
        sentences += [f"{result.row.label}: {'; or '.join(words)}."] if words else []
    settings = _settings(request, [result for result in results if result.runs])
    if settings:
        sentences.append(f"Set for this table: {settings}.")
    sentences.append(f"Command: {command(request)}")
    return sentences


def command(request: Request) -> str:
    """Returns the command that makes the table; folders of data are the reader's."""
    words = ["python", "-m", "cosup_jax", "experiment", request.table, "--data", request.data]
    if request.source:
        words += ["--source", "FOLDER"]
    if request.transfers:
        words += ["--train-on", request.train_on, "--train-source", "TRAINING_FOLDER"]
    words += ["--seeds", str(request.seeds)]
    if set(request.selected) != {row.name for row in request.definition.rows}:
        words += ["--rows", ",".join(request.selected)]
    if request.out != usual_folder(request.data):
        words += ["--out", "RUNS"]
    shown = [o for o in request.overrides if not o.startswith("--config.data.data_dir=")]
    return shlex.join([*words, *shown])


def lines(
    request: Request, results: Sequence[RowResult], measures: Sequence[str]
) -> list[tuple[str, ...]]:
    """Returns two lines for each row, ours and the paper's, and the paper's rows that are left."""
    table = request.definition
    printed = {row.name: row for row in published.rows(table.paper, table.number)}
    claimed = {result.row.published for result in results}
    found = []
    for result in results:
        row = result.row
        note = f"failed: {result.failed}" if result.failed else result.pending
        note = "; ".join(filter(None, [note, row.note]))
        ours = [value(result.spread(measure)) for measure in measures]
        found.append((row.method, HERE, *ours, _parameters(result), note))
        if row.published:
            theirs = printed[row.published]
            found.append(("", PAPER, *_printed(theirs.values, measures), "", theirs.doubt))
    for other in published.rows(table.paper, table.number):
        if other.name not in claimed:
            cells = _printed(other.values, measures)
            found.append((other.name, PAPER, *cells, "", table.unclaimed))
    return found


def value(spread: tuple[float, float | None] | None) -> str:
    """Returns a mean with its standard deviation as text.

    >>> value((89.934, 0.09)), value((43.9, None)), value(None)
    ('89.93 ± 0.09', '43.90', '–')
    """
    if spread is None:
        return NOTHING
    mean, deviation = spread
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def _printed(
    values: Mapping[str, tuple[float, float | None]], measures: Sequence[str]
) -> list[str]:
    return [value(values.get(measure)) for measure in measures]


def _parameters(result: RowResult) -> str:
    return f"{result.runs[0].parameters / 1e6:.2f} M" if result.runs else NOTHING


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _settings(request: Request, scored: Sequence[RowResult]) -> str:
    """Fields set on the command line; runs are named where a field is not one of all runs."""
    rows_of: dict[str, dict[str, None]] = {}
    for result in scored:
        for name, text in request.changes(result.row).items():
            rows_of.setdefault(f"{name}={text}", {})[result.row.run] = None
    every = {result.row.run for result in scored}
    return "; ".join(
        setting if len(names) == len(every) else f"{setting} (of {', '.join(names)})"
        for setting, names in rows_of.items()
    )


def _difference_title(found: Sequence[Difference], reference: Row) -> str:
    label = f"{reference.label} in the same class" if reference.infection else reference.label
    if any(d.base.name == d.row.base for d in found):
        label += ", or of the row that is named"
    pairs, unit = found[0].found.n, found[0].unit
    return (
        f"Dice less that of {label}, in percentage points, paired by {unit} ({pairs}, each the "
        f"mean over seeds): mean, its {comparison.CONFIDENCE:.0%} bootstrap interval and p of "
        "Wilcoxon's signed-rank test, which say what other slices would have given these networks; "
        "and p of Welch's test on the means of the seeds, which says what other seeds would have "
        "given. Better or worse is said where both leave chance out (the interval zero, p over "
        f"seeds below {1 - comparison.CONFIDENCE:.2f}); none is corrected for several comparisons"
    )


def _compared(difference: Difference) -> str:
    """The row, and what it is compared with where that is not the table's reference."""
    row, base = difference.row, difference.base
    return f"{row.method}, less {base.label}" if base.name == row.base else row.method


def _difference_line(difference: Difference) -> tuple[str, ...]:
    found, p_seeds = difference.found, difference.p_seeds
    reading = "not told apart"
    if p_seeds is None:
        reading = NOTHING
    elif p_seeds < 1 - comparison.CONFIDENCE and (found.low > 0 or found.high < 0):
        reading = "better" if found.low > 0 else "worse"
    paired = (NOTHING, NOTHING)
    if found.n > 1:
        paired = (f"{100 * found.low:+.2f} to {100 * found.high:+.2f}", f"{found.p:.2g}")
    over_seeds = NOTHING if p_seeds is None else f"{p_seeds:.2g}"
    return (_compared(difference), f"{100 * found.mean:+.2f}", *paired, over_seeds, reading)
