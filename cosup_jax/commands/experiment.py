"""Runs a table of the papers again: trains what is missing, evaluates, writes the table.

    python -m cosup_jax experiment table3 --data slice_folder --source FOLDER --seeds 3

TABLE is table2 … table8 (Hu et al.), infnet-table2 … infnet-table4 (Fan et al.), or semiseg, the
parts of ResUNet_C2F on COVID-SemiSeg. The folder --out then holds TABLE.md, TABLE.csv and
TABLE.tex, the papers' values beside ours, and the runs in runs/ROW/SEED. The same command goes on
where it was interrupted; tables with the same --out share the runs of the rows they have in common.
"""

import argparse
from pathlib import Path

import tfds_builders
from cosup_jax.experiments.tables import TABLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    parser.add_argument("table", choices=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument(
        "--data",
        choices=tfds_builders.available(),
        metavar="DATASET",
        help="the dataset; by default the paper's",
    )
    parser.add_argument("--source", default="", metavar="FOLDER", help="the folder with its files")
    parser.add_argument(
        "--train-on",
        default="same",
        choices=("same", "cosup_covid"),
        help="tables 6 to 8: the data to train on, which the paper does not say",
    )
    parser.add_argument(
        "--train-source", default="", metavar="FOLDER", help="the folder with the files of these"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (3)")
    parser.add_argument(
        "--solo", action="store_true", help="train seeds one after another: slower, less memory"
    )
    parser.add_argument("--rows", default="", metavar="A,B", help="only these rows")
    parser.add_argument("--out", type=Path, help="folder; by default runs/experiments/DATASET")
    parser.add_argument("--configs", help="a folder configs of your own, in place of the package's")
    parser.add_argument("--page", type=Path, help="a Markdown page to put the table on, too")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be trained, and stop"
    )
    # Of `train`; refused by name.
    parser.add_argument("--distributed", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Runs the table; 1 where a row failed."""
    # Imported here so that help and mistakes are answered at once.
    from cosup_jax.experiments import caption, data, formats, plan, progress, runner

    table = TABLES[arguments.table]
    if arguments.distributed:
        raise ValueError(
            "--distributed: the rows of a table are trained by one process; several train one run "
            "with `cosup train --distributed`"
        )
    if arguments.seeds < 1:
        raise ValueError(f"--seeds={arguments.seeds}: expected at least 1")
    if arguments.train_on != plan.SAME and not table.other_training:
        raise ValueError(f"--train-on is for tables 6 to 8; {arguments.table} trains on its data")
    dataset = arguments.data or table.data
    request = plan.Request(
        table=arguments.table,
        data=dataset,
        source=arguments.source,
        train_on=arguments.train_on,
        train_source=arguments.train_source,
        seeds=arguments.seeds,
        out=(arguments.out or plan.usual_folder(dataset)).expanduser(),
        selected=plan.select(arguments.table, list(filter(None, arguments.rows.split(",")))),
        overrides=tuple(arguments.overrides),
        configs=plan.find_configs(arguments.configs),
        solo=arguments.solo,
    )
    plan.check_overrides(request)
    print(progress.overview(request))
    if arguments.dry_run:
        return 0
    data.prepare(request)
    results = []
    for results in runner.run_rows(request):
        document = caption.document(request, results)
        written = formats.write(request, results, document)
        text = formats.markdown(document)
        if arguments.page:
            formats.put_on_page(arguments.page, f"{document.name} on {dataset}", text)
    print(f"\n{text}\nwritten to {', '.join(map(str, written))}")
    return int(any(result.failed for result in results))
