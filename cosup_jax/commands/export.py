"""Writes the network of a run as one program: StableHLO for servers that have JAX, or ONNX.

The program maps prepared slices to probabilities and has the weights inside;
`cosup_jax.prediction.export` and `onnx_program` show how to use it. How a slice is prepared stands
beside it, for c2f.onnx in c2f.onnx.json.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from cosup_jax import files, runs
from cosup_jax.prediction import export, onnx_program

STABLEHLO, ONNX = "stablehlo", "onnx"
FORMATS = (STABLEHLO, ONNX)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the arguments."""
    parser.add_argument("--workdir", type=Path, required=True, help="the folder of a finished run")
    parser.add_argument("--out", type=Path, required=True, help="the program, .stablehlo or .onnx")
    parser.add_argument("--format", choices=FORMATS, help="default: as --out ends")
    parser.add_argument(
        "--platforms",
        help=f"where a StableHLO program can run, some of {','.join(export.PLATFORMS)} "
        f"(default: {','.join(export.DEFAULT_PLATFORMS)})",
    )
    parser.add_argument(
        "--batch", type=int, help="slices that an ONNX program takes at a time (default: any)"
    )
    parser.set_defaults(overrides=None)


def run(arguments: argparse.Namespace) -> int:
    """Writes both files."""
    out: Path = arguments.out
    form = arguments.format or out.suffix.removeprefix(".")
    if form not in FORMATS or out.suffix != f".{form}":
        endings = f".{arguments.format}" if arguments.format else ".stablehlo or .onnx"
        raise ValueError(f"--out={out}: expected a name ending in {endings}")
    if form == ONNX and arguments.platforms is not None:
        raise ValueError("--platforms is for StableHLO; an ONNX program runs where its server does")
    if form == STABLEHLO and arguments.batch is not None:
        raise ValueError("--batch is for ONNX; a StableHLO program takes any number of slices")
    if arguments.batch is not None and arguments.batch < 1:
        raise ValueError(f"--batch={arguments.batch}: expected at least 1")
    found = runs.open_run(arguments.workdir)
    network = found.model, found.variables, found.preprocessing.size
    about: dict[str, Any]
    if form == ONNX:
        program = onnx_program.serialise(*network, arguments.batch)
        names, about = (onnx_program.INPUT, onnx_program.OUTPUT), {}
    else:
        platforms = (arguments.platforms or ",".join(export.DEFAULT_PLATFORMS)).split(",")
        program = export.serialise(*network, platforms)
        names, about = ("input", "output"), {"platforms": platforms}
    files.write_bytes(out, program)
    number, any_number = (
        ("B", ", in any number") if arguments.batch is None else (arguments.batch, "")
    )
    description = {
        names[0]: f"({number}, height, width, 1) float32, prepared as below{any_number}",
        names[1]: f"({number}, height, width) float32, the probability of infection",
        "crop": found.crop,
        "preprocessing": dataclasses.asdict(found.preprocessing),
        **about,
        "epoch": found.epoch,
    }
    files.write_json(out.with_name(f"{out.name}.json"), description)
    size = len(program) / 2**20
    print(f"{out}: epoch {found.epoch} of {arguments.workdir}, {size:.1f} MiB")
    return 0
