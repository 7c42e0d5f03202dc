"""Trains and evaluates one configuration.

    cosup train c2f
    cosup train c2f:data=slice_folder --config.data.source=my_slices
    cosup train my_experiment.py --seeds 3 --workdir runs/mine

CONFIG is the name of a configuration that comes with the package, or the path of a file; arguments
follow a colon. The working folder (by default runs/CONFIG) keeps checkpoints, metrics and the
evaluation; the same command goes on there after an interruption. Several seeds train together, from
--config.seed upwards, each in a folder of its own in the working folder: seed0, seed1, seed2.

Several processes, on one or more machines, train one run together where each is started with
--distributed by Slurm, MPI or another launcher that JAX knows, or without one with --coordinator,
--processes and --process. docs/scale.md has the commands.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import config_files, hosts, ranges


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    parser.add_argument("config", metavar="CONFIG", help=", ".join(config_files.names()))
    parser.add_argument("--workdir", help="folder of the run")
    parser.add_argument("--seeds", type=int, help="how many seeds to train, each in its own folder")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print configuration, shapes, parameters and memory, and stop",
    )
    add_hosts(parser)


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Defines the options of a command that several processes do together."""
    parser.add_argument(
        "--distributed", action="store_true", help="one of several processes, found by the launcher"
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, without launcher")
    parser.add_argument("--processes", type=int, metavar="N", help="how many, without launcher")
    parser.add_argument("--process", type=int, metavar="I", help="which one, from 0")


def place(arguments: argparse.Namespace) -> hosts.Place | None:
    """Returns what `add_hosts`'s options say; None of one process alone."""
    a = arguments
    return hosts.place(a.distributed, a.coordinator, a.processes, a.process)


def run(arguments: argparse.Namespace) -> int:
    """Trains."""
    if arguments.seeds is not None and arguments.seeds < 1:
        raise ValueError(f"--seeds={arguments.seeds}: expected at least 1")
    config = configuration.load(arguments.config)
    configuration.override(config, arguments.overrides)
    config.lock()
    workdir = arguments.workdir or default_workdir(arguments.config)
    try:
        start(
            config,
            workdir,
            seeds=arguments.seeds,
            dry_run=arguments.dry_run,
            where=place(arguments),
        )
    except KeyboardInterrupt as error:
        error.args = (f"{str(error) or 'interrupted'}; the same command goes on in {workdir}",)
        raise
    return 0


def start(
    config: ConfigDict,
    workdir: str,
    *,
    seeds: int | None,
    dry_run: bool,
    where: hosts.Place | None = None,
) -> None:
    """Trains and evaluates a configuration, or says what would be done.

    Args:
      config: see configs/base.py.
      workdir: the folder of the run, or of the runs of all seeds.
      seeds: how many seeds to train together; None for that of the configuration alone.
      dry_run: only print what is trained.
      where: which of several processes this is; None for one alone.

    Raises:
      ValueError: as `trials.train_and_evaluate`; or several seeds, or several processes, of a
        semi-supervised run.
    """
    ranges.check_names(config)
    rounds = config.semi.per_round
    if rounds and where is not None:
        raise configuration.ConfigError(
            "--distributed trains labelled slices only; semi-supervised rounds take one process"
        )
    if rounds and seeds:
        raise configuration.ConfigError(
            "--seeds trains labelled slices only; semi-supervised, give --config.seed"
        )
    # Imported here so that a mistyped command line is answered at once.
    from cosup_jax.training import preview, semi

    if dry_run:
        print(semi.dry_run(config) if rounds else preview.dry_run(config, seeds=seeds or 1))
        return
    with hosts.together(where):
        _train(config, workdir, seeds)


def _train(config: ConfigDict, workdir: str, seeds: int | None) -> None:
    from cosup_jax.experiments import trials

    if config.semi.per_round:
        trials.train_semi(config, workdir)
    elif seeds:
        each = [config.seed + i for i in range(seeds)]
        trials.train_seeds(config, each, seed_folders(workdir, each))
    else:
        trials.train_and_evaluate(config, workdir)


def default_workdir(spec: str) -> str:
    """Returns runs/<configuration>, with its arguments where there are any.

    >>> default_workdir("configs/fusion.py:fusion=sum"), default_workdir("c2f")
    ('runs/fusion-fusion=sum', 'runs/c2f')
    """
    path, _, argument = spec.partition(":")
    return str(Path("runs") / "-".join(filter(None, [Path(path).stem, argument])))


def seed_folders(workdir: str, seeds: Sequence[int]) -> list[str]:
    """Returns the folder of each of several seeds.

    >>> seed_folders("runs/c2f", [0, 1])
    ['runs/c2f/seed0', 'runs/c2f/seed1']
    """
    return [str(Path(workdir) / f"seed{seed}") for seed in seeds]
