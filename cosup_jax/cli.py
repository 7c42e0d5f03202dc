"""The command line of the package: `python -m cosup_jax COMMAND …`.

A command is a module of `cosup_jax.commands` with the functions `add_arguments(parser)` and
`run(arguments) -> int`, the exit status. It is imported only when it is asked for, so that help and
mistakes are answered at once. Arguments of the form `--config.name=value` are collected in
`arguments.overrides`, for `config.override`; a command that has `add_arguments` define
`overrides=None` takes none. What goes wrong is said in one sentence; `--debug` shows the traceback.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from absl import logging

from cosup_jax import compilation, errors, signals

# In the order in which they are listed.
COMMANDS: dict[str, str] = {
    "predict": "marks the infection in scans: NIfTI, DICOM or slices",
    "evaluate": "scores a run on any dataset, or saved maps",
    "compare": "puts evaluated runs side by side, paired by patient",
    "figures": "draws the figures of the paper for runs",
    "experiment": "runs a table of the papers again, beside their values",
    "convert": "makes a run of a published network's weights",
    "export_weights": "writes the weights of a run as one file",
    "export": "writes the network of a run as one StableHLO program",
}
_OVERRIDE = "--config."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: the arguments after the program's name; None for those of the process.

    Returns:
      0, or 1 where there is something for the user to mend, which is then said in one sentence. A
      wrong command line ends the process with 2, as `argparse` does.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    overrides = [text for text in given if text.startswith(_OVERRIDE)]
    given = [text for text in given if not text.startswith(_OVERRIDE)]
    parser = argparse.ArgumentParser(prog="python -m cosup_jax", description=_listed())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    name = parser.parse_args(given[:1]).command
    compilation.use_cache()
    command = importlib.import_module(f"cosup_jax.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"python -m cosup_jax {name}",
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
        [
            "Commands (training is train.py; datasets are python -m tfds_builders):",
            *rows,
            f"Each takes {errors.DEBUG}, which shows the traceback of an error.",
        ]
    )
