"""Reads mutated files of every kind, and prints what came of them.

    python .ci/fuzz.py [--files 3000] [--slow 1000] [--seed 0] [--run FOLDER] [NAME …]

Exits with 1 where a file made anything but the package itself complain. The table is that of
docs/reliability.md. What is slow to read is tried with fewer files, and every so many in a process
of its own, since Orbax keeps some memory of each read.
"""

import argparse
import collections
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # what is compiled runs for a second
_HEAD = "| what is read | files | refused | accepted | other exceptions |\n|---|---|---|---|---|"
SECONDS = 10  # that one file may take
PART = 200  # files of what is slow that one process reads
_MEMORY = 1 << 30  # that all of it may take beyond what is there at the start


def main() -> int:
    """Tries out the targets; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; all by default")
    parser.add_argument("--files", type=int, default=3000, help="mutated files of each (3000)")
    parser.add_argument("--slow", type=int, default=1000, help="of what is slow to read (1000)")
    parser.add_argument("--seed", type=int, default=0, help="decides the mutations (0)")
    parser.add_argument("--run", type=Path, help="a finished run, its dataset in `tfds` beside it")
    chosen = parser.parse_args()
    from cosup_jax.experiments import trials  # noqa: F401  # imported once, and nothing started
    from tests.fuzzing import mutations, targets  # noqa: F401

    faults, alone = 0, multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as work, alone.Pool(1, maxtasksperchild=1) as processes:
        run = chosen.run or Path(work) / "run"
        found = processes.apply(_prepare, (Path(work), run))
        print(_HEAD)
        for name, slow in found.items():
            if chosen.names and name not in chosen.names:
                continue
            files = min(chosen.files, chosen.slow) if slow else chosen.files
            step = PART if slow else files
            parts = [
                (run, name, chosen.seed, first, min(first + step, files))
                for first in range(0, files, step)
            ]
            counts: collections.Counter[str] = collections.Counter()
            for part in processes.imap(_try_out, parts):
                counts += part
            faults += counts[mutations.OTHER]
            row = [counts[kind] for kind in mutations.OUTCOMES]
            print(f"| {name} | {files} | {' | '.join(map(str, row))} |", flush=True)
    return int(faults > 0)


def _prepare(work: Path, run: Path) -> dict[str, bool]:
    """Trains the run whose files are mutated, if there is none; returns which targets are slow."""
    from cosup_jax.experiments import trials
    from tests.fuzzing import targets
    from tests.phantoms import tiny_config

    if not run.exists():
        trials.train_and_evaluate(tiny_config(run.parent / "tfds", epochs=1), run)
    found = targets.all_of(run, work / "first")
    return {name: target.slow for name, (target, _) in found.items()}


def _try_out(part: tuple[Path, str, int, int, int]) -> collections.Counter[str]:
    """Reads some mutated files of a target; returns how often what came of them."""
    from tests.fuzzing import mutations, targets

    run, name, seed, first, end = part
    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        target, place = targets.all_of(run, Path(folder))[name]
        _bound_memory()
        draw = random.Random(f"{seed} {name} {first}")
        for number in range(first, end):
            signal.alarm(SECONDS)
            kind, error = mutations.try_out(target, place, draw)
            signal.alarm(0)
            counts[kind] += 1
            if kind == mutations.OTHER:
                print(f"{name}, file {number}: {error!r}"[:300], file=sys.stderr)
    return counts


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"a file took more than {SECONDS} s")


def _bound_memory() -> None:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + _MEMORY, now + _MEMORY))


if __name__ == "__main__":
    sys.exit(main())
