"""Builds and shows datasets, without TensorFlow.

cosup data build mosmed_covid19 --manual-dir FOLDER
cosup data show volume_folder --manual-dir FOLDER --out sheet.png
"""

import argparse

from tfds_builders import __main__ as builders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    builders.add_commands(parser)
    parser.set_defaults(overrides=None)


def run(arguments: argparse.Namespace) -> int:
    """Builds or shows a dataset."""
    builders.work(arguments)
    return 0
