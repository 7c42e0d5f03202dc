"""A table as Markdown, LaTeX and CSV, and in its place on a page."""

import re
from collections.abc import Sequence
from pathlib import Path

from cosup_jax import files
from cosup_jax.experiments import published
from cosup_jax.experiments.caption import BESIDE, Document, head
from cosup_jax.experiments.plan import Request
from cosup_jax.experiments.results import RowResult

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": r"\textendash{}",
    "…": r"\dots{}",
    "≥": r"$\geq$",
    "σ": r"$\sigma$",
    "E_φ": r"$E_\phi$",
    "S_α": r"$S_\alpha$",
    "S_p": r"$S_p$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
_LATEX_TOKENS = re.compile("|".join(map(re.escape, sorted(_LATEX, key=len, reverse=True))))


def write(request: Request, results: Sequence[RowResult], document: Document) -> list[Path]:
    """Writes the table in its three forms into the request's folder."""
    stem = request.out / document.name
    texts = {".md": markdown(document), ".tex": latex(document)}
    for ending, text in texts.items():
        files.write_text(stem.with_suffix(ending), text)
    files.write_csv(stem.with_suffix(".csv"), csv_records(request, results))
    return [stem.with_suffix(ending) for ending in (*texts, ".csv")]


def markdown(document: Document) -> str:
    """Returns the table and its differences in Markdown.

    The command, last of the caption, stands in a block of its own.
    """
    *sentences, command = document.caption
    parts = [
        f"### {document.title}",
        f"**{document.head}.**",
        " ".join(map(_markdown_text, sentences)),
        f"```bash\n{command.removeprefix('Command: ')}\n```",
        _markdown_table(document.header, document.lines),
    ]
    if document.difference_lines:
        parts.append(f"{_markdown_text(document.difference_title)}:")
        parts.append(_markdown_table(document.difference_header, document.difference_lines))
    return "\n\n".join(parts) + "\n"


def latex(document: Document) -> str:
    """Returns the table and its differences in LaTeX, for the package booktabs."""
    caption = " ".join([f"{document.title}.", f"{document.head}.", *document.caption])
    parts = [_latex_table(caption, document.name, document.header, document.lines)]
    if document.difference_lines:
        parts.append(
            _latex_table(
                f"{document.difference_title}.",
                f"{document.name}-differences",
                document.difference_header,
                document.difference_lines,
            )
        )
    return "\n".join(parts)


def escape_latex(text: str) -> str:
    r"""Returns text as LaTeX that prints it.

    >>> escape_latex("E_φ of 5 % ± 1, esm*_{x}")
    '$E_\\phi$ of 5 \\% $\\pm$ 1, esm*\\_\\{x\\}'
    """
    escaped = _LATEX_TOKENS.sub(lambda match: _LATEX[match[0]], text)
    return re.sub("-(?=-)", "-{}", escaped)  # hyphens side by side would become a dash


def csv_records(request: Request, results: Sequence[RowResult]) -> list[dict[str, object]]:
    """Returns one record for each row and measure, the paper's other rows included."""
    table = request.definition
    printed = {row.name: row for row in published.rows(table.paper, table.number)}
    common = {
        "table": request.table,
        "protocol": table.protocol,
        "data": request.data,
        "trained_on": request.train_on if request.transfers else request.data,
        "extent": head(request, results),
    }
    records: list[dict[str, object]] = []
    for result in results:
        row = result.row
        theirs = printed[row.published].values if row.published else {}
        about = {
            "row": row.name,
            "method": row.method,
            "configuration": row.config,
            "seeds": len(result.runs),
            "parameters": result.runs[0].parameters if result.runs else "",
            "minutes_per_seed": _minutes(result),
            "note": result.failed or result.pending or row.note,
        }
        for measure in (*table.measures, *BESIDE):
            values = (result.spread(measure), theirs.get(measure))
            records.append({**common, **about, "measure": measure, **_numbers(*values)})
    claimed = {result.row.published for result in results}
    blank = dict.fromkeys(("row", "configuration", "parameters", "minutes_per_seed"), "")
    for other in published.rows(table.paper, table.number):
        if other.name not in claimed:
            about = {**blank, "method": other.name, "seeds": 0}
            about["note"] = table.unclaimed
            for measure, value in other.values.items():
                records.append({**common, **about, "measure": measure, **_numbers(None, value)})
    return records


def put_on_page(page: Path, key: str, text: str) -> None:
    """Puts a table in its place on a page, which begins and ends with comments that name it.

    Where the page has no such place, it is made at the end; what stands outside stays.

    Raises:
      ValueError: the place begins and does not end, or the other way round.
    """
    begin, end = f"<!-- {key}: made by the command below -->", f"<!-- end of {key} -->"
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    block = f"{begin}\n\n{text.strip()}\n\n{end}"
    if begin not in old and end not in old:
        new = f"{old.rstrip()}\n\n{block}\n".lstrip()
    else:
        before, began, rest = old.partition(begin)
        _, ended, after = rest.partition(end)
        if not began or not ended:
            raise ValueError(f"{page}: expected {begin!r} and after it {end!r}, or neither")
        new = before + block + after
    files.write_text(page, new)


def _markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *([_markdown_text(c) for c in line] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|*_<`\[])", r"\\\1", text)


def _latex_table(
    caption: str, name: str, header: Sequence[str], lines: Sequence[Sequence[str]]
) -> str:
    def row(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\label{{tab:{name}}}",
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            row(header),
            r"\midrule",
            *map(row, lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _minutes(result: RowResult) -> str:
    if not result.runs:
        return ""
    return f"{sum(run.seconds for run in result.runs) / 60 / len(result.runs):.1f}"


def _numbers(
    ours: tuple[float, float | None] | None, theirs: tuple[float, float | None] | None
) -> dict[str, object]:
    names = ("mean_percent", "std_percent", "published_mean_percent", "published_std_percent")
    cells = (*(ours or (None, None)), *(theirs or (None, None)))
    return {n: "" if c is None else round(c, 4) for n, c in zip(names, cells, strict=True)}
