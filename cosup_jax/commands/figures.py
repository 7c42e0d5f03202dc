"""Draws the paper's figures of one run or several: PNG and PDF.

    python -m cosup_jax figures --workdir runs/c2f --workdir runs/unet --out figures

Figure 6 (image, networks side by side, truth), 7 (every supervised stage), 8 (attention fusion),
learning curves, Dice by lesion size, calibration. Pictures show slices of the dataset: keep those
of patients to yourself.
"""

import argparse

from cosup_jax import runs
from cosup_jax.evaluation import comparison, gallery


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    parser.add_argument(
        "--workdir", action="append", required=True, help="folder of a run; may be given again"
    )
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--split", help="by default test, or validation where there is none")
    parser.add_argument("--slices", type=int, default=4, help="how many slices to show")


def run(arguments: argparse.Namespace) -> int:
    """Draws, and lists what was drawn."""
    if arguments.slices < 1:
        raise ValueError(f"--slices is {arguments.slices}, expected at least 1")
    names = comparison.names_of(arguments.workdir)
    opened = {
        name: runs.open_run(workdir, arguments.overrides)
        for name, workdir in zip(names, arguments.workdir, strict=True)
    }
    for line in gallery.draw(opened, arguments.out, split=arguments.split, slices=arguments.slices):
        print(line)
    print(f"written to {arguments.out}")
    return 0
