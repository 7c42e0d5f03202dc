"""Trains and evaluates one configuration.

    python train.py --config=configs/c2f.py
    python train.py --config=configs/c2f.py:data=slice_folder --config.data.source=my_slices
    python train.py --config=configs/c2f.py --seeds=3
    srun python train.py --config=configs/c2f.py --distributed

The working folder (--workdir, by default runs/<configuration>) keeps checkpoints, metrics and the
evaluation; the same command goes on there after an interruption. Several seeds train together, from
--config.seed upwards, each in a folder of its own in the working folder: seed0, seed1, seed2.
With --distributed several processes, on one or more machines, train one run together
(docs/scale.md).
"""

import sys
from collections.abc import Sequence

from cosup_jax import signals

if __name__ == "__main__":
    signals.catch()  # before what takes seconds to import

from absl import app, flags, logging
from ml_collections import config_flags

from cosup_jax import compilation, errors, hosts, options
from cosup_jax import config as configuration
from cosup_jax.commands import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, see configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SEEDS = flags.DEFINE_integer(
    "seeds", None, "How many seeds to train, each in its own folder seedN.", lower_bound=1
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print configuration, shapes, parameters and memory, and stop."
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes, found by Slurm or another launcher."
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if no launcher.")
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes, if no launcher.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0, if no launcher.")
_DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the command line; a wrong one ends with one sentence instead of a traceback."""
    spec = find_config(argv)
    try:
        argv = options.joined(argv)
        options.check(argv[1:])
        if spec is not None:
            configuration.check_overrides(configuration.load(spec), argv[1:])
        argv = options.last_of_each(argv)
        two_types = of_heads(argv)
        rest = flags.FLAGS([argument for argument in argv if argument not in two_types])
        if spec is None:
            raise configuration.ConfigError("which configuration? Give --config=configs/c2f.py")
        configuration.override(_CONFIG.value, two_types)
        return rest
    except Exception as error:
        errors.tell("train.py", _worded(error, spec, argv), debug=errors.DEBUG in argv)
        sys.exit(2)


def _worded(error: Exception, spec: str | None, argv: Sequence[str]) -> Exception:
    """Returns an error of absl on a field's value as one that says which values it takes."""
    try:
        if spec is not None and isinstance(error, flags.IllegalFlagValueError):
            given = [a for a in argv if a.lstrip("-").startswith("config.") and "=" in a]
            configuration.override(configuration.load(spec), given)
    except configuration.ConfigError as better:
        return better
    return error


def find_config(argv: Sequence[str]) -> str | None:
    """Returns what a command line gives as --config, in either of the forms absl takes.

    >>> find_config(["train.py", "--config=a.py"]), find_config(["train.py", "-config", "b.py"])
    ('a.py', 'b.py')
    """
    for argument, following in zip(argv, [*argv[1:], None], strict=True):
        name, equals, value = argument.partition("=")
        if name in ("-config", "--config"):
            return value if equals else following
    return None


def of_heads(argv: Sequence[str]) -> list[str]:
    """Returns the overrides of fields that have two types, which absl cannot parse.

    >>> of_heads(["train.py", "--config.loss.zeta=(1, 2)", "--config.loss.beta=1"])
    ['--config.loss.zeta=(1, 2)']
    """
    fields = configuration.OF_HEADS
    starts = tuple(f"{dashes}config.{name}=" for name in fields for dashes in ("-", "--"))
    return [argument for argument in argv if argument.startswith(starts)]


def main(argv: Sequence[str]) -> None:
    """Runs the training loop."""
    if len(argv) > 1:
        sys.exit(f"train.py: unexpected argument {argv[1]!r}; settings are --config.name=value")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    compilation.use_cache()
    signals.raising()
    workdir = _WORKDIR.value or train.default_workdir(find_config(sys.argv) or "")
    try:
        place = hosts.place(
            _DISTRIBUTED.value, _COORDINATOR.value, _PROCESSES.value, _PROCESS.value
        )
        train.start(_CONFIG.value, workdir, seeds=_SEEDS.value, dry_run=_DRY_RUN.value, where=place)
    except Exception as error:
        sys.exit(errors.tell("train.py", error, debug=_DEBUG.value))
    except KeyboardInterrupt as error:
        why = str(error) or "interrupted"
        print(f"\ntrain.py: {why}; the same command goes on in {workdir}", file=sys.stderr)
        sys.exit(signals.status(error))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
