"""What a GPU would run, compiled on a machine that has none, and read.

    python benchmarks/compiled/compiled.py --workdir runs/compiled --python python3.13

Makes an environment in `--workdir` with JAX's plugin for CUDA (3.5 GB to install; `--python` must
be 3.12 or newer), compiles every program of programs.py in a process of its own (two to three
minutes each) and prints Markdown. What is compiled is kept: the same command goes on where it was,
and prints the tables alone once all are there. After a change of the package give another
`--workdir` with the same `--environment`, and compare.

**Compiled for, not run on.** No kernel was chosen by measuring, so no time is known. What a program
moves and computes gives the least time a card can take (hlo.py says how it is counted), and so the
most slices a second. Memory has no workspaces, which cuDNN's algorithms ask for when chosen.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import hlo
import programs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GB = 1e9
_CONVOLUTIONS = (hlo.FORWARD, hlo.BY_INPUT, hlo.BY_FILTER)


def main() -> None:
    """Compiles what is not compiled yet, and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--environment", type=Path, help="default: the folder env in --workdir")
    parser.add_argument("--python", default=sys.executable, help="makes the environment")
    parser.add_argument("--only", nargs="*", help="programs whose name holds one of these")
    parser.add_argument("--largest", type=int, default=0, help="list so many kernels of each")
    arguments = parser.parse_args()
    workdir = arguments.workdir.expanduser().resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    wanted = arguments.only or ("",)
    jobs = [job for job in programs.JOBS if any(part in job.name for part in wanted)]
    missing = [job for job in jobs if not (workdir / f"{job.name}.json").exists()]
    if missing:
        python = environment(arguments.environment or workdir / "env", arguments.python)
        for number, job in enumerate(missing, 1):
            print(f"{number} of {len(missing)}: {job.name}", file=sys.stderr, flush=True)
            compile_one(python, job, workdir)
    found = {job: json.loads((workdir / f"{job.name}.json").read_text()) for job in jobs}
    print(programs_table(found))
    print(kinds_table(found))
    print(layouts_table(found))
    for job in jobs if arguments.largest else ():
        print(largest_table(job, found[job], arguments.largest))


def environment(folder: Path, python: str) -> Path:
    """Returns the Python of an environment with this package and JAX for CUDA, made if need be."""
    inside = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
        install = [inside, "-m", "pip", "install", "--quiet", "-e", ROOT, "jax[cuda12]"]
        subprocess.run(install, check=True)
        done.touch()
    return inside


def compile_one(python: Path, job: programs.Job, workdir: Path) -> None:
    """Compiles a program in a process of its own, which is the package of this checkout."""
    asked = {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
    asked["PYTHONPATH"] = str(ROOT)  # whichever checkout the environment was made from
    command = [python, HERE / "worker.py", job.name, workdir]
    done = subprocess.run(
        command, env=os.environ | asked, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{job.name}: {done.stderr[-3000:]}")


def program_of(found: dict[str, Any]) -> hlo.Program:
    """Returns the program that a worker has read."""
    return hlo.from_json(json.dumps(found["program"]))


def programs_table(found: dict[programs.Job, dict[str, Any]]) -> str:
    """Returns a row for each program: memory, kernels, work, and the least time it can take."""
    lines = [
        "| program | arguments, GB | temporaries, GB | kernels | convolutions (repeated) | TFLOP "
        "| GB moved | least ms | slices/s at most |",
        "| --- " * 9 + "|",
    ]
    for job, facts in found.items():
        program, card = program_of(facts), programs.CARDS[job.card]
        kinds = _count(program)
        seconds = program.least_seconds(card.bandwidth, card.peaks)
        fits = facts["arguments"] + facts["temporaries"] + facts["results"] <= card.memory
        cells = [
            job.name,
            f"{facts['arguments'] / GB:.3f}",
            f"{facts['temporaries'] / GB:.3f}{'' if fits else ' (does not fit)'}",
            str(sum(kinds.values())),
            f"{sum(kinds[kind] for kind in _CONVOLUTIONS)} ({program.repeated()})",
            f"{program.flops / 1e12:.3f}",
            f"{program.bytes / GB:.2f}",
            f"{1e3 * seconds:.2f}",
            f"{job.batch / seconds:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def kinds_table(found: dict[programs.Job, dict[str, Any]]) -> str:
    """Returns for each program the kernels of each kind: how many, and the GB they move."""
    kinds = sorted({k.kind for facts in found.values() for k in program_of(facts).kernels})
    lines = [f"| program | {' | '.join(kinds)} |", "| --- " * (1 + len(kinds)) + "|"]
    for job, facts in found.items():
        program = program_of(facts)
        count, moved = _count(program), Counter[str]()
        for kernel in program.kernels:
            moved[kernel.kind] += kernel.times * kernel.bytes
        cells = (f"{count[k]}, {moved[k] / GB:.2f}" if count[k] else "–" for k in kinds)
        lines.append(f"| {job.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def layouts_table(found: dict[programs.Job, dict[str, Any]]) -> str:
    """Returns how convolutions lie in memory and in which type they multiply."""
    lines = ["| program | convolutions by type and layout |", "| --- | --- |"]
    for job, facts in found.items():
        forms: dict[str, int] = defaultdict(int)
        for kernel in program_of(facts).kernels:
            if kernel.kind in _CONVOLUTIONS:
                forms[f"{kernel.dtype} {kernel.layout}"] += kernel.times
        told = ", ".join(f"{number} {form}" for form, number in sorted(forms.items()))
        lines.append(f"| {job.name} | {told} |")
    return "\n".join(lines) + "\n"


def largest_table(job: programs.Job, facts: dict[str, Any], number: int) -> str:
    """Returns the kernels that move most."""
    kernels = sorted(program_of(facts).kernels, key=lambda k: -k.times * k.bytes)[:number]
    lines = [f"| {job.name} | kind | times | MB |", "| --- " * 4 + "|"]
    lines += [f"| {k.name} | {k.kind} | {k.times} | {k.bytes / 1e6:.1f} |" for k in kernels]
    return "\n".join(lines) + "\n"


def _count(program: hlo.Program) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for kernel in program.kernels:
        kinds[kernel.kind] += kernel.times
    return kinds


if __name__ == "__main__":
    main()
