"""Weak scaling: as many slices a process, by processes of one core each; an estimate for GPUs.

    python benchmarks/scaling/weak.py                  # on a machine that does nothing else
    python benchmarks/scaling/weak.py --estimate       # for 8 GPUs, nothing is run

The first trains the quickstart's network and prints slices a second of the last epoch, which holds
no compilation, and the efficiency: the speed of N processes by N times that of one. The second is
no measurement: bytes of gradients by the bandwidth of links, a ring over all GPUs.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARAMETERS = 29.2e6  # of C2F
GPUS, A_NODE = 8, 4
# Bytes a second in one direction, as their makers state them.
LINKS = {
    "NVLink 4, one node": 450e9,
    "InfiniBand NDR, 400 Gb/s a node": 50e9,
    "Ethernet, 100 Gb/s a node": 12.5e9,
}


def train(processes: int, share: int, epochs: int, folder: Path) -> float:
    """Returns the slices a second of the last epoch; each process has a core of its own."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{one.getsockname()[1]}"
    command = [sys.executable, "train.py", "--config=configs/quickstart.py"]
    command += [f"--workdir={folder / str(processes)}", f"--config.epochs={epochs}"]
    command += [f"--config.batch_size={share * processes}"]
    command += [f"--coordinator={coordinator}", f"--processes={processes}"]
    cores = sorted(os.sched_getaffinity(0))
    started = []
    for i in range(processes):
        pinned = ["taskset", "-c", str(cores[i])]
        log = (folder / f"{processes}-{i}.log").open("w")
        started.append(
            subprocess.Popen(
                [*pinned, *command, f"--process={i}"], cwd=ROOT, stdout=log, stderr=log
            )
        )
    if any([one.wait() for one in started]):
        sys.exit((folder / f"{processes}-0.log").read_text())
    rows = (folder / str(processes) / "metrics.jsonl").read_text().splitlines()
    return json.loads(rows[-1])["slices_per_s"]


def estimate() -> None:
    """Prints the time in which gradients travel: two nodes of four GPUs, one of eight."""
    size = 4 * PARAMETERS
    print(f"An estimate: gradients of {PARAMETERS / 1e6:.1f} M float32, {size / 1e6:.0f} MB")
    for name, speed in LINKS.items():
        # Within a node each GPU has the link to itself; between nodes all of a node share one, over
        # which a ring sends the gradients once for each of the two halves of an all-reduce.
        members = GPUS if "one node" in name else GPUS // A_NODE
        sent = 2 * (members - 1) / members * size
        print(f"  {name}: {sent / 1e6:.0f} MB, {1e3 * sent / speed:.1f} ms a step")


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--share", type=int, default=4, help="slices of a step in each process")
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.estimate:
        estimate()
        return
    speeds = {}
    with tempfile.TemporaryDirectory() as name:
        for processes in arguments.processes:
            speeds[processes] = train(processes, arguments.share, arguments.epochs, Path(name))
            ideal = processes * speeds[arguments.processes[0]] / arguments.processes[0]
            print(
                f"{processes} processes: {speeds[processes]:.2f} slices/s, "
                f"efficiency {speeds[processes] / ideal:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
