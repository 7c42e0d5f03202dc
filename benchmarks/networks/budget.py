"""How large the networks of a table's rows are with the settings given: what a fair width is.

    python benchmarks/networks/budget.py table2 --data covid_semiseg \
        '--config.data.size=(64, 64)' --config.model.width=8 --config.model.width@c2f=12

Takes the settings of `python -m cosup_jax experiment` and trains nothing. Prints Markdown: of each
row the size of its slices, its network's width and blocks (of a guided one its labeller's), its
parameters, and the operations of one slice in evaluation, in MFLOP, as XLA counts them in the
program as written. `--page` puts it on a page, as `experiment` does.
"""

import argparse
import shlex
from pathlib import Path

import table

import tfds_builders
from cosup_jax import runs
from cosup_jax.experiments import formats, plan
from cosup_jax.experiments.rows import Row
from cosup_jax.experiments.tables import TABLES

HEADER = ("Method", "size", "width", "blocks", "Parameters", "MFLOP a slice")


def main() -> None:
    """Prints the table, and puts it on a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data", choices=tfds_builders.available(), help="as in experiment")
    parser.add_argument("--page", type=Path, help="a Markdown page to put the table on, too")
    arguments, overrides = parser.parse_known_args()
    data = arguments.data or TABLES[arguments.table].data
    request = plan.Request(
        arguments.table,
        data,
        selected=plan.select(arguments.table, ()),
        overrides=tuple(overrides),
    )
    plan.check_overrides(request)
    rows = {row.run: row for row in request.definition.rows}.values()
    given = ["--data", arguments.data] if arguments.data else []
    command = ["python", "benchmarks/networks/budget.py", arguments.table, *given, *overrides]
    lines = [HEADER, ("---",) * len(HEADER), *(measure(request, row) for row in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = f"```bash\n{shlex.join(command)}\n```\n\n{text}"
    if arguments.page:
        formats.put_on_page(arguments.page, f"sizes of {arguments.table} on {data}", text)
    print(text)


def measure(request: plan.Request, row: Row) -> tuple[str, ...]:
    """Returns the cells of a row."""
    config = request.config(row)
    height, width = config.data.size
    model = runs.build_model(config)
    sized = getattr(model, "labeller", model)  # a guide's size is that of its own table
    blocks = str(tuple(sized.blocks)) if hasattr(sized, "blocks") else ""
    return (
        row.label.replace("_", r"\_"),
        f"{height}×{width}",
        str(sized.width),
        blocks,
        f"{table.parameters(model, height, width) / 1e6:.2f} M",
        f"{1e3 * table.flops(model, height, width):.0f}",
    )


if __name__ == "__main__":
    main()
