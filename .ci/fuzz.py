"""Reads mutated files of every kind in one process, and prints what came of them.

    python .ci/fuzz.py [--files 3000] [--seed 0] [NAME …]

Exits with 1 where a file made anything but the package itself complain. The table is that of
docs/reliability.md.
"""

import argparse
import collections
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
_HEAD = "| what is read | files | refused | accepted | other exceptions |\n|---|---|---|---|---|"
SECONDS = 10  # that one file may take
_MEMORY = 1 << 30  # that all of it may take beyond what is there at the start


def main() -> int:
    """Tries out the targets; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; all by default")
    parser.add_argument("--files", type=int, default=3000, help="mutated files of each (3000)")
    parser.add_argument("--seed", type=int, default=0, help="decides the mutations (0)")
    chosen = parser.parse_args()
    from cosup_jax.experiments import trials
    from tests.fuzzing import mutations, targets
    from tests.phantoms import tiny_config

    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    faults = 0
    with tempfile.TemporaryDirectory() as work:
        run = Path(work) / "run"
        trials.train_and_evaluate(tiny_config(Path(work) / "tfds", epochs=1), run)
        found = targets.all_of(run, Path(work) / "files")
        _bound_memory()
        print(_HEAD)
        for name, (target, folder) in found.items():
            if chosen.names and name not in chosen.names:
                continue
            draw = random.Random(f"{chosen.seed} {name}")
            counts: collections.Counter[str] = collections.Counter()
            for number in range(chosen.files):
                signal.alarm(SECONDS)
                kind, error = mutations.try_out(target, folder, draw)
                signal.alarm(0)
                counts[kind] += 1
                if kind == mutations.OTHER:
                    print(f"{name}, file {number}: {error!r}"[:300], file=sys.stderr)
            faults += counts[mutations.OTHER]
            row = [counts[k] for k in mutations.OUTCOMES]
            print(f"| {name} | {chosen.files} | {' | '.join(map(str, row))} |", flush=True)
    return int(faults > 0)


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"a file took more than {SECONDS} s")


def _bound_memory() -> None:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + _MEMORY, now + _MEMORY))


if __name__ == "__main__":
    sys.exit(main())
