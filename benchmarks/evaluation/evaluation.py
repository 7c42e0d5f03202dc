"""How long the evaluation of a finished run takes from its folder to tables, and on what.

    python benchmarks/evaluation/evaluation.py RUN --protocol semiseg

Runs `evaluation.evaluate_run` under Python's profiler, as `python -m cosup_jax evaluate RUN` does,
with tables and pictures written to a temporary folder. Prints slices a second and the seconds of
each part by the clock; "network" includes compilation, or reading the compiled program back.
`--config.x=y` as for `evaluate`, such as another dataset.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cosup_jax import compilation

compilation.use_cache()

from cosup_jax import runs  # noqa: E402
from cosup_jax.evaluation import evaluate_run, pictures, scoring, tables  # noqa: E402
from cosup_jax.evaluation.protocols import Protocol  # noqa: E402
from cosup_jax.evaluation.volumes import Volumes  # noqa: E402
from cosup_jax.weights import predictor  # noqa: E402

# Of each part the function, and the one it is called from.
PARTS: dict[str, tuple[Callable, Callable | None]] = {
    "network": (predictor.Predictor.__call__, scoring.predictions),
    "measures of slices": (Protocol.score, None),
    "measures of volumes": (Volumes.rows, None),
    "summary": (tables.Scores.summary, None),
    "tables": (tables.write, None),
    "pictures": (pictures.save, None),
}


def main() -> None:
    """Evaluates and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--protocol", default="cosup")
    parser.add_argument("--split", help="by default the test split")
    arguments, overrides = parser.parse_known_args()
    run = runs.open_run(arguments.run, overrides)
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        summary = profile.runcall(
            evaluate_run,
            run,
            protocol=arguments.protocol,
            split=arguments.split,
            out=Path(folder),
        )
        total = time.perf_counter() - began
    size, count = "×".join(map(str, run.config.data.size)), summary["dice"]["n"]
    print(f"{arguments.protocol}, {count} slices, network at {size}")
    print("\n| part | s | share |\n| --- | --- | --- |")
    found = {name: _seconds(profile, *part) for name, part in PARTS.items()}
    found["reading, resizing and the rest"] = total - sum(found.values())
    for name, seconds in (found | {"all": total}).items():
        print(f"| {name} | {seconds:.2f} | {seconds / total:.0%} |")
    print(f"\n{count / total:.1f} slices a second")


def _seconds(profile: cProfile.Profile, function: Callable, caller: Callable | None) -> float:
    """Returns the seconds inside a function, of all its calls or of one caller's."""
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    entry = stats.get(_key(function))
    if entry is None:
        return 0.0
    return entry[3] if caller is None else entry[4][_key(caller)][3]


def _key(function: Callable) -> tuple[str, int, str]:
    code = function.__code__  # type: ignore[attr-defined]
    return code.co_filename, code.co_firstlineno, code.co_name


if __name__ == "__main__":
    main()
