"""Writes the network of a run as one StableHLO program, for servers that have only JAX.

The program maps prepared slices to probabilities and has the weights inside;
`cosup_jax.prediction.export` shows how to use it. How a slice is prepared stands in a file of the
same name ending in .json.
"""

import argparse
import dataclasses
from pathlib import Path

from cosup_jax import files, runs
from cosup_jax.prediction import export


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the arguments."""
    parser.add_argument("--workdir", type=Path, required=True, help="the folder of a finished run")
    parser.add_argument("--out", type=Path, required=True, help="the program, .stablehlo")
    parser.add_argument(
        "--platforms",
        default=",".join(export.DEFAULT_PLATFORMS),
        help=f"where it can run, some of {','.join(export.PLATFORMS)} (default: %(default)s)",
    )
    parser.set_defaults(overrides=None)


def run(arguments: argparse.Namespace) -> int:
    """Writes both files."""
    out: Path = arguments.out
    if out.suffix != ".stablehlo":
        raise ValueError(f"--out={out}: expected a name ending in .stablehlo")
    found = runs.open_run(arguments.workdir)
    platforms = arguments.platforms.split(",")
    program = export.serialise(found.model, found.variables, found.preprocessing.size, platforms)
    files.write_bytes(out, program)
    description = {
        "input": "(B, height, width, 1) float32, prepared as below, in any number",
        "output": "(B, height, width) float32, the probability of infection",
        "preprocessing": dataclasses.asdict(found.preprocessing),
        "platforms": platforms,
        "epoch": found.epoch,
    }
    files.write_json(out.with_suffix(".json"), description)
    size = len(program) / 2**20
    print(f"{out}: epoch {found.epoch} of {arguments.workdir}, {size:.1f} MiB")
    return 0
