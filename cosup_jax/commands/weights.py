"""Lists the weights that come with the package: network, size of its slices, threshold, digest."""

import argparse

from cosup_jax import weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    parser.add_argument("what", choices=("list",), help="what to do with them")
    parser.set_defaults(overrides=None)


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for each."""
    for name in weights.names():
        found = weights.load_pretrained(name)
        height, width = found.preprocessing.size
        peak = f" in parts that reach {found.peak:g}" * (found.peak > 0)
        default = ", taken by default" * (name == weights.DEFAULT)
        print(
            f"{name}: {type(found.model).__name__}, slices of {width} × {height}, infection above "
            f"{found.threshold:g}{peak}, SHA-256 {found.digest[:12]}{default}"
        )
    return 0
