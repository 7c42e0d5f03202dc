"""Marks the infection in CT scans, and says how much of it there is.

An input is a NIfTI file, a DICOM folder or zip (extra `dicom`), a folder of PNG, TIFF or JPEG
slices, or a folder of any of these. Each scan gets a folder in --out with its mask on the scan's
own grid (NIfTI, DICOM Segmentation, PNG), and a row in cohort.csv. The same command again goes on
where it was interrupted, and tries failed scans once more. Many scans are shared by the tasks of a
job array (--shard), or spread over workers by Apache Beam (--runner). This is research software,
not a medical device.

The exit status is 0 if all scans are done, 1 if something failed, 2 if the command line is wrong.
"""

import argparse
from pathlib import Path

from absl import logging

# What help and a mistyped path need is imported here, what takes seconds in `run`.
from cosup_jax import options
from cosup_jax.scans import find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the arguments."""
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--weights",
        help="name of weights that come with the package, a file of export_weights, or the folder "
        "of a run (default: those of the package)",
    )
    parser.add_argument(
        "--threshold",
        type=_probability,
        help="probability above which it is infection (default: that of the weights)",
    )
    parser.add_argument(
        "--peak",
        type=float,
        help="probability that each part of the infection must reach somewhere, 0 for none "
        "(default: that of the weights)",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="average over each slice and its mirror image (twice the work)",
    )
    parser.add_argument("--report", action="store_true", help="write an HTML page for each scan")
    parser.add_argument("--probability", action="store_true", help="write probabilities too")
    parser.add_argument(
        "--identify",
        action="store_true",
        help="DICOM scans keep the name of their folder in file names and cohort.csv; without it "
        "they are called by a hash of their content",
    )
    parser.add_argument(
        "--series",
        help="which DICOM series, where not all are meant: its number, or the beginning of its UID "
        "or description",
    )
    parser.add_argument(
        "--within-lungs",
        action="store_true",
        help="remove marks outside of the lungs, where they are at most 10 mL and a tenth of all",
    )
    parser.add_argument(
        "--unlimited",
        action="store_true",
        help="keep marks that are removed without it: parts that are nowhere within 5 mm of the "
        "lungs, of at most 10 mL each and 50 together, and slices more than 10 mm above or below "
        "all lung, where these are at most 10 mL and a tenth of all; in pictures and grey values, "
        "small parts that touch no lung",
    )
    parser.add_argument(
        "--hu-offset",
        type=float,
        metavar="HU",
        help="add this to the values of scans that are no Hounsfield units as they stand, such as "
        "-1024; without it the scan tells, or is refused",
    )
    parser.add_argument(
        "--format",
        choices=("nifti", "dicom-seg", "both"),
        default="dicom-seg",
        help="what masks of DICOM scans are written as (default: dicom-seg)",
    )
    parser.add_argument(
        "--uncertain",
        type=_count,
        metavar="N",
        help="name the N scans that are worth correcting first, and why (uncertain.csv has all)",
    )
    parser.add_argument(
        "--shard",
        type=_share,
        metavar="I/N",
        help="do only every Nth scan from the Ith on, I from 1 to N: one of N tasks of a job array",
    )
    parser.add_argument(
        "--runner",
        metavar="RUNNER",
        help="spread the scans by Apache Beam (extra `beam`): FnApiRunner for processes on this "
        "machine, or another runner that Beam has",
    )
    parser.add_argument(
        "--workers", type=_count, metavar="N", help="of FnApiRunner (default: one a processor)"
    )
    parser.add_argument(
        "--beam-pipeline-options",
        default="",
        metavar="KEY=VALUE,…",
        help="of --runner, as Beam has them",
    )
    parser.set_defaults(overrides=None)


def _share(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text}: expected I/N with I from 1 to N, such as 1/8")
    return int(number), int(count)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 on")
    return int(text)


def _probability(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number between 0 and 1")
    return value


def _check_together(arguments: argparse.Namespace) -> None:
    """Refuses options that mean nothing beside one another."""
    if arguments.shard and arguments.runner:
        raise ValueError("--shard and --runner both share the scans; give one of them")
    if arguments.shard and arguments.uncertain:
        raise ValueError("--uncertain compares all scans; give it to a last call, without --shard")
    for name in ("workers", "beam_pipeline_options"):
        if getattr(arguments, name) and not arguments.runner:
            raise ValueError(f"--{options.spelled(name)} is for --runner")


def run(arguments: argparse.Namespace) -> int:
    """Processes all scans; 1 where one of them failed."""
    if arguments.debug:
        logging.set_verbosity(logging.DEBUG)
    _check_together(arguments)
    sources, others = find.find_scans(
        *(arguments.inputs, arguments.out), identify=arguments.identify, series=arguments.series
    )
    if others:
        print(others)
    from cosup_jax import weights
    from cosup_jax.prediction import cohort
    from cosup_jax.prediction.records import FAILED
    from cosup_jax.prediction.settings import Settings
    from cosup_jax.scans.results import TABLE

    network = weights.load_pretrained(arguments.weights or weights.DEFAULT)
    settings = Settings(
        threshold=network.threshold if arguments.threshold is None else arguments.threshold,
        peak=network.peak if arguments.peak is None else arguments.peak,
        tta=arguments.tta,
        probability=arguments.probability,
        report=arguments.report,
        identify=arguments.identify,
        series=arguments.series,
        hu_offset=arguments.hu_offset,
        within_lungs=arguments.within_lungs,
        unlimited=arguments.unlimited,
        format=arguments.format,
    )
    if arguments.runner:
        from cosup_jax.prediction import beam

        rows = beam.process(
            sources,
            arguments.out,
            arguments.weights or weights.DEFAULT,
            settings,
            runner=arguments.runner,
            workers=arguments.workers,
            options=arguments.beam_pipeline_options,
        )
    else:
        share = arguments.shard or (1, 1)
        rows = cohort.process(sources, arguments.out, network, settings, share=share)
    failed = sum(row["status"] == FAILED for row in rows)
    told = [f"{len(rows) - failed} of {len(rows)} scans done"]
    told += [f"{failed} failed"] * bool(failed)
    told += [f"{len(others)} files set aside"] * bool(others)
    if arguments.uncertain:
        from cosup_jax.prediction import uncertainty

        found = uncertainty.rank(sources, rows, arguments.out, network, settings)
        if not found:
            print("no scan is left to be corrected")
        ranked = [row for row in found if row["rank"]][: arguments.uncertain]
        unknown = [row for row in found if not row["rank"]][: arguments.uncertain]
        for words, some in (("worth correcting first", ranked), ("not measured", unknown)):
            print(f"{words}:\n" * bool(some), end="")
            for row in some:
                print(f"  {row['scan']}: {row['reason']}")
    print(f"{', '.join(told)}; the table of all that is there: {arguments.out / TABLE}")
    return 1 if failed else 0
