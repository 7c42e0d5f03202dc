"""Where the time of a step goes on a CPU, operation by operation.

    python benchmarks/step/step_profile.py --batch 4 --size 128 --width 64
    python benchmarks/step/step_profile.py --mode infer

Runs one step under JAX's profiler and adds up what XLA's operations took, by kind. Two of them may
run at a time, and other work on the machine lengthens all, so that only the shares are worth
reading.
"""

import argparse
import collections
import os
import re
import tempfile
import time
from pathlib import Path

os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}

import jax
import step_jax
from step_job import Job

# The first that fits: kind, pattern of the operation's name, of its shape, of where it stands in
# the network.
KINDS = (
    ("gradient by kernels", "", "", "kernel_gradient"),
    ("gradient by kernels", "ynn|conv", r"f32\[\d+,[123],[123],\d+\]", ""),
    ("kernels transposed", "copy|transpose", r"f32\[[123],[123],", ""),
    ("gradient by maps", "ynn|conv", "", r"transpose\(.*conv_general_dilated"),
    ("convolutions", "ynn|conv", "", "conv_general_dilated"),
    ("pooling", "iota|select-and-scatter|reduce-window", "", ""),
    ("pooling", "", "", "max_pool|reduce_window"),
    ("normalisation", "", "", "/norm/"),
    ("fusion and heads", "", "", "/(afm|esm|assm)/"),
    ("optimizer", "", r"f32\[[123],[123],", ""),
    ("copies of maps", "copy|transpose|concatenate", "", ""),
    ("everything else", "", "", ""),
)
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = (\S+) \S+\(")


def main() -> None:
    """Profiles one step and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--longest", type=int, default=5, help="operations to list by name")
    a = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    job = Job("jax", "", a.mode, "cpu", "fp32", a.batch, a.size, a.width, threads)
    work = step_jax.prepare(job)
    work.run(1)
    began = time.process_time()
    work.run(1)
    print(f"{job}\n{time.process_time() - began:.2f} processor seconds a step\n")
    operations = instructions(work.program)
    took = profile(work, set(operations))
    total = sum(took.values())
    kinds = collections.Counter()
    for name, nanoseconds in took.items():
        kinds[kind(name, *operations[name])] += nanoseconds
    print("| kind | share |\n| --- | --- |")
    print("\n".join(f"| {name} | {100 * ns / total:.1f} % |" for name, ns in kinds.most_common()))
    print("\n| operation | share | result | where |\n| --- | --- | --- | --- |")
    for name, nanoseconds in took.most_common(a.longest):
        shape, where = operations[name]
        print(f"| {name} | {100 * nanoseconds / total:.1f} % | {shape} | {where[-60:]} |")


def instructions(program: str) -> dict[str, tuple[str, str]]:
    """Returns shape and origin of every instruction of an HLO program, by name."""
    found = {}
    for line in program.splitlines():
        if match := _INSTRUCTION.match(line):
            where = re.search(r'op_name="([^"]*)"', line)
            found[match[1]] = (match[2].partition("{")[0], where[1] if where else "")
    return found


def profile(work: step_jax.Work, names: set[str]) -> collections.Counter[str]:
    """Returns the nanoseconds of each named operation in one step."""
    took: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            work.run(1)
        (path,) = Path(folder).rglob("*.xplane.pb")
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    # A loop's time is that of its operations, which are counted by themselves.
                    if event.name in names and not event.name.startswith("while"):
                        took[event.name] += int(event.duration_ns)
    return took


def kind(name: str, shape: str, where: str) -> str:
    """Returns the kind of an operation."""
    for label, *patterns in KINDS:
        texts = (name, shape, where)
        if all(re.search(p, text) for p, text in zip(patterns, texts, strict=True)):
            return label
    raise AssertionError("the last kind fits all")


if __name__ == "__main__":
    main()
