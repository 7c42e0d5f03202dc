"""How long train.py takes from its start to its first step, and how long when started again.

    python benchmarks/step/start.py --config=configs/quickstart.py
    python benchmarks/step/start.py --config=configs/c2f.py --out start.json

The dataset is built before. The first start finds an empty cache of compiled programs, the second
what the first has left there; both have a run folder of their own, so the second does not resume.
What is timed is the whole command, Python's own start included, until its progress bar shows a
step; then it is ended.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
FIRST_STEP = re.compile(rb"\b1/\d+ \[")


def main() -> None:
    """Starts twice, prints the table and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--out", type=Path, help="JSON of both times")
    arguments, overrides = parser.parse_known_args()
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(TRAIN), f"--config={arguments.config}", *overrides]
        command.append(f"--config.data.data_dir={folder}/datasets")
        uncached = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        subprocess.run([*command, "--dry_run"], env=uncached, stdout=subprocess.DEVNULL, check=True)
        cached = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled"}
        for name in ("first", "second"):
            measured[name] = seconds_to_first_step(
                [*command, f"--workdir={folder}/{name}"], cached, Path(folder) / f"{name}.log"
            )
    print("| start | s to the first step |\n| --- | --- |")
    print("\n".join(f"| {name} | {seconds:.1f} |" for name, seconds in measured.items()))
    if arguments.out:
        arguments.out.write_text(json.dumps(measured, indent=2) + "\n")


def seconds_to_first_step(command: list[str], environment: dict[str, str], log: Path) -> float:
    """Runs a command until its progress bar shows a step.

    Raises:
      RuntimeError: it ended before.
    """
    began, seen = time.perf_counter(), b""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.PIPE)
        assert process.stderr is not None
        while not FIRST_STEP.search(seen):
            piece = process.stderr.read1()
            if not piece:
                raise RuntimeError(f"{' '.join(command)} took no step: {seen.decode()[-500:]}")
            seen += piece
        seconds = time.perf_counter() - began
        process.kill()
        process.communicate()
    return seconds


if __name__ == "__main__":
    main()
