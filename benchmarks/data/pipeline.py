"""How fast slices come from disk: this package beside a PyTorch DataLoader of two workers.

    python benchmarks/data/pipeline.py --out pipeline.json

Reads 1,024 slices of phantoms, 512×512 int16, from array_record: decode, window, resize to 256×256,
z-score, edges, batches of 8. Both call the same NumPy functions on the same slices, so that what is
compared is how they are fed: here in threads, and kept in memory after the first epoch; there in
two processes, and decoded again in every epoch or kept in memory too. `first` is the first epoch,
from opening the split on, `later` the epochs after it.

Every form runs in a process of its own on two cores, and in every round each takes its turn. Ratios
are medians over the rounds of one run; on a machine that does something else too, only these are
worth reading. The files were read before, so the disk itself is not measured. Needs Linux.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline_worker import JOBS, make_builder

TARGETS = {"first": 150, "later": 6000}
OURS = "cosup-jax"


def main() -> None:
    """Draws the slices, times all forms and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=5, help="later epochs of a kept split")
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--folder", type=Path, help="keeps the slices drawn for another run")
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        make_builder(folder).download_and_prepare()
        rounds = [
            {job: time_job(job, folder, arguments) for job in JOBS}
            for _ in range(arguments.repeats)
        ]
    print(table(rounds))
    if arguments.out:
        arguments.out.write_text(json.dumps(rounds, indent=2) + "\n")


def time_job(job: str, folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Times one form in a fresh process."""
    worker = Path(__file__).with_name("pipeline_worker.py")
    options = [str(folder), str(arguments.epochs)]
    done = subprocess.run(
        [sys.executable, worker, job, *options],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(rounds: list[dict[str, dict[str, dict[str, float]]]]) -> str:
    """Returns the medians as a Markdown table."""
    lines = [
        "| form | epoch | slices/s | CPU ms/slice | cosup-jax is faster by | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for job in JOBS:
        for epoch in rounds[0][job]:
            rows = [r[job][epoch] for r in rounds]
            speed = statistics.median(row["slices_per_s"] for row in rows)
            cpu = statistics.median(row["cpu_ms"] for row in rows)
            ratios = [
                r[OURS][epoch]["slices_per_s"] / r[job][epoch]["slices_per_s"] for r in rounds
            ]
            ratio = "" if job == OURS else f"{statistics.median(ratios):.2f}×"
            target = f"{TARGETS[epoch]:,}" if job == OURS else ""
            lines.append(f"| {job} | {epoch} | {speed:,.0f} | {cpu:.2f} | {ratio} | {target} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
