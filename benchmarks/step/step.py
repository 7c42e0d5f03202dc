"""How fast a step is: this package beside the plain PyTorch form of the same network.

    python benchmarks/step/step.py --devices cpu --repeats 5 --out step_cpu.json
    python benchmarks/step/step.py --devices gpu --precision tf32 --repeats 30 --out step_gpu.json

Times ResUNet_C2F on a batch of random slices: `train` is forward, joint loss, backward and Adam;
`infer` the probabilities alone. PyTorch is tried with contiguous and channels_last tensors, eager
and compiled. Each form has a process of its own, and in every round
each takes its turn, so that a noisy machine is noisy for all. Prints Markdown and writes JSON.
`--framework "jax,torch.compile channels_last"` times these alone. Where the environment names a
TORCHINDUCTOR_CACHE_DIR, PyTorch finds there what an earlier run has compiled. `--together` compiles
all at once, where minutes count; how long each took then says little. Interrupted (Ctrl-C) it
reports the complete rounds. Needs Linux.

Ratios are medians over the rounds. Of the fractions, "matrix rate" is FLOP/s over those of a large
matrix product of the same precision, "bandwidth" bytes/s over those of copying an array, the better
of the frameworks each, measured in the same rounds. FLOPs and bytes of the package are XLA's;
PyTorch counts the FLOPs of convolutions only, and no bytes.
"""

import argparse
import itertools
import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import step_report
from step_job import Job
from step_process import Process
from tqdm import tqdm

LAYOUTS = ("contiguous", "channels_last")
FORMS = ("jax", *(f"{name} {layout}" for name in ("torch", "torch.compile") for layout in LAYOUTS))
WORKS = ("train", "infer")


def main() -> None:
    """Times all jobs, prints the table and writes it."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            Process(job, Path(tempfile.mkdtemp(dir=folder))) for job in make_jobs(arguments)
        ]
        try:
            prepare_all(processes, arguments.together)
            turns = list(itertools.product(range(arguments.repeats), processes))
            for _, process in tqdm(turns, desc="timing", unit="turn"):
                if not process.failed:
                    process.turn()
        except KeyboardInterrupt:
            rounds = min((len(p.seconds) for p in processes if not p.failed), default=0)
            print(f"interrupted after {rounds} complete rounds", file=sys.stderr)
            arguments.repeats = rounds
            for process in processes:
                process.end(rounds)
        finally:
            for process in processes:
                process.close()
    settings = {name: value for name, value in vars(arguments).items() if name != "out"}
    report = step_report.make_report(settings, processes)
    print(step_report.table(report))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def prepare_all(processes: list[Process], together: bool) -> None:
    """Has all processes compile and warm up, one after another or at once."""
    pool = ThreadPoolExecutor(len(processes) if together else 1)
    try:
        for _ in pool.map(prepare, processes):
            pass
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def prepare(process: Process) -> None:
    """Has a process compile and warm up, and says how long it took."""
    began = time.perf_counter()
    process.prepare()
    took = f"{time.perf_counter() - began:.0f} s"
    told = process.facts["error"] if process.failed else took
    print(f"{process.job.work}, {process.job.name}: {told}", file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="fp32")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--framework", type=_choices(FORMS), default=list(FORMS), help=", ".join(FORMS)
    )
    parser.add_argument("--mode", type=_choices(WORKS), default=list(WORKS))
    parser.add_argument("--repeats", type=int, default=10, help="rounds")
    parser.add_argument("--together", action="store_true", help="compile all at once")
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    arguments = parser.parse_args()
    if arguments.precision == "tf32" and arguments.devices == "cpu":
        parser.error("--precision tf32 is for GPUs; a CPU has fp32 and bf16")
    return arguments


def make_jobs(arguments: argparse.Namespace) -> list[Job]:
    """Returns the ceilings of the frameworks, then all forms of the work."""
    libraries = sorted({re.split("[ .]", form)[0] for form in arguments.framework})
    wanted = [(library, "", work) for work in step_report.CEILINGS for library in libraries]
    for work, form in itertools.product(arguments.mode, arguments.framework):
        framework, _, layout = form.partition(" ")
        wanted.append((framework, layout, work))
    return [
        Job(
            framework=framework,
            layout=layout,
            work=work,
            device=arguments.devices,
            precision=arguments.precision,
            batch=arguments.batch,
            size=arguments.size,
            width=arguments.width,
            threads=arguments.threads,
        )
        for framework, layout, work in wanted
    ]


def _choices(known: Any):
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := sorted(set(chosen) - set(known)):
            raise argparse.ArgumentTypeError(f"{unknown}: expected some of {', '.join(known)}")
        return chosen

    return parse


if __name__ == "__main__":
    main()
