"""Builds and shows datasets without TensorFlow.

python -m tfds_builders build mosmed_covid19 --manual-dir=FOLDER
python -m tfds_builders show mosmed_covid19 --out=mosmed.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cosup_jax import signals

if __name__ == "__main__":
    signals.catch()  # before what takes seconds to import

import tensorflow_datasets as tfds

import tfds_builders
from cosup_jax import errors, options
from cosup_jax.data import datasets, inspection, people

_MEBIBYTE = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status, 1 where the user has something to mend."""
    parser = argparse.ArgumentParser(
        prog="python -m tfds_builders", description="Builds and shows datasets."
    )
    add_commands(parser)
    given = options.dashed(sys.argv[1:] if arguments is None else arguments)
    try:
        options.check(given)
    except ValueError as error:
        parser.error(str(error))
    chosen = parser.parse_args(given)
    signals.raising()
    try:
        work(chosen)
    except Exception as error:
        return errors.tell("python -m tfds_builders", error, debug=chosen.debug)
    except KeyboardInterrupt as error:
        told = str(error) or "interrupted"
        print(f"\n{told}; nothing half-built is left", file=sys.stderr)
        return signals.status(error)
    return 0


def work(chosen: argparse.Namespace) -> None:
    """Does what a command line of `add_commands` asks for."""
    builder = datasets.make_builder(
        chosen.name,
        config=chosen.config,
        source=chosen.manual_dir,
        data_dir=chosen.data_dir,
        mask_values=chosen.mask_values,
    )
    chosen.work(builder, chosen)


def build(builder: tfds.core.DatasetBuilder, chosen: argparse.Namespace) -> None:
    """Builds a dataset unless it is built, and says what it holds."""
    if builder.is_prepared():
        print(f"already built, in {builder.data_dir}")
    datasets.prepare(
        builder,
        chosen.manual_dir,
        skip_bad=chosen.skip_bad,
        beam_options=chosen.beam_pipeline_options,
    )
    print(datasets.describe(builder))
    print(inspection.table(inspection.count(builder)))
    skipped = builder.info.metadata.get("skipped", [])
    print(f"skipped: {len(skipped)} cases")
    for case_id, reason in skipped:
        print(f"  {case_id}: {reason}")
    print(f"{builder.info.dataset_size / _MEBIBYTE:.1f} MiB in {builder.data_dir}")


def show(builder: tfds.core.DatasetBuilder, chosen: argparse.Namespace) -> None:
    """Prints what a built dataset holds and saves a contact sheet."""
    datasets.prepare(builder, chosen.manual_dir)
    people.check_split(builder, chosen.split)  # before minutes of counting
    contents = inspection.count(builder, images=True)
    print(datasets.describe(builder))
    for part in (inspection.table, inspection.ranges, inspection.histogram):
        print(f"\n{part(contents)}")
    path = Path(chosen.out or f"{builder.name}_{chosen.split}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = inspection.save_contact_sheet(builder, chosen.split, path)
    print(f"\n{shown} slices of {chosen.split}, infection outlined in red: {path}")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Defines the commands `build` and `show`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("name", choices=tfds_builders.available(), help="the dataset")
    shared.add_argument(
        "--config",
        default="",
        help="a configuration of the dataset, or options of volume_folder",
    )
    shared.add_argument(
        "--manual-dir", default="", help="the folder with the publisher's or your own files"
    )
    shared.add_argument(errors.DEBUG, action="store_true", help="show the traceback of an error")
    shared.add_argument("--data-dir", default="", help="where built datasets lie")
    shared.add_argument(
        "--mask-values", default="0:0,255:1", help="of your own folder: value of a mask to class"
    )
    commands = parser.add_subparsers(required=True)
    builds = commands.add_parser("build", parents=[shared], help="build a dataset")
    builds.add_argument(
        "--skip-bad", action="store_true", help="leave out cases with damaged files, and list them"
    )
    builds.add_argument(
        "--beam-pipeline-options", default="", help="build on Apache Beam: runner=...,key=value"
    )
    builds.set_defaults(work=build)
    shows = commands.add_parser("show", parents=[shared], help="count, and save a contact sheet")
    shows.add_argument("--split", default="train", help="the split on the contact sheet")
    shows.add_argument("--out", default="", help="the PNG to write")
    shows.set_defaults(work=show)


if __name__ == "__main__":
    sys.exit(main())
