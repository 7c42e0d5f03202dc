"""The command line of the package: `cosup COMMAND …`, or `python -m cosup_jax COMMAND …`.

A command is a module of `cosup_jax.commands` with the functions `add_arguments(parser)` and
`run(arguments) -> int`, the exit status. It is imported only when it is asked for, so that help and
mistakes are answered at once. Arguments of the form `--config.name=value` are collected in
`arguments.overrides`, for `config.override`; a command that has `add_arguments` define
`overrides=None` takes none. What goes wrong is said in one sentence; `--debug` shows the traceback.
"""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from absl import logging

from cosup_jax import __version__, compilation, errors, options, signals

# In the order in which they are listed.
COMMANDS: dict[str, str] = {
    "predict": "marks the infection in scans: NIfTI, DICOM or slices",
    "train": "trains a configuration and evaluates it",
    "evaluate": "scores a run on any dataset, or saved masks",
    "compare": "evaluated runs side by side, or two dates of a patient",
    "figures": "draws the figures of the paper for runs",
    "experiment": "runs a table of the papers again, beside their values",
    "data": "builds datasets, and shows what they hold",
    "convert": "makes a run of a published network's weights",
    "export": "writes the network of a run as one program, StableHLO or ONNX",
    "export-weights": "writes the weights of a run as one file",
    "weights": "lists the weights that come with the package",
}
_OVERRIDE = "--config."


def main(argv: Sequence[str] | None = None, program: str = "python -m cosup_jax") -> int:
    """Runs one command.

    Options are spelled with dashes; with underscores they are understood too.

    Args:
      argv: the arguments after the program's name; None for those of the process.
      program: how it was called.

    Returns:
      0, or 1 where there is something for the user to mend, which is then said in one sentence. A
      wrong command line ends the process with 2, as `argparse` does.
    """
    given = options.dashed(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog=program, description=_listed())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--version", action="version", version=f"cosup-jax {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", type=options.spelled)
    try:
        given = options.joined(given)
        options.check(given)
    except ValueError as error:
        parser.error(str(error))
    overrides = [text for text in given if text.startswith(_OVERRIDE)]
    given = [text for text in given if not text.startswith(_OVERRIDE)]
    name = parser.parse_args(given[:1]).command
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need be no text
    compilation.use_cache()
    command = importlib.import_module(f"cosup_jax.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"{program} {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(overrides=())
    parser.add_argument(
        errors.DEBUG, action="store_true", help="show where in the program something went wrong"
    )
    command.add_arguments(parser)
    arguments = parser.parse_args(given[1:])
    if overrides:
        if arguments.overrides is None:
            parser.error(f"{overrides[0]}: this command reads no configuration")
        arguments.overrides = overrides
    logging.set_verbosity(logging.WARNING)
    signals.raising()
    try:
        return command.run(arguments)
    except Exception as error:
        return errors.tell(parser.prog, error, debug=arguments.debug)
    except KeyboardInterrupt as error:
        print(f"\n{parser.prog}: {str(error) or 'interrupted'}", file=sys.stderr)
        return signals.status(error)


def _listed() -> str:
    rows = [f"  {name:<16}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        ["Commands:", *rows, "COMMAND --help says more of each; --debug shows where errors arise."]
    )
