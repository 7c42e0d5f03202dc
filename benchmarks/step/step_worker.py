"""A process of benchmarks/step/step.py: prepares one job and runs it when told to.

It reads a line of JSON per request and answers each with one, so that the parent can take turns
among several of them: `{"do": "prepare"}`, `{"do": "memory"}`, `{"do": "run", "steps": n}`.
"""

import ctypes
import importlib
import json
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from step_job import Job, Work


def main() -> None:
    """Answers requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the frameworks print goes to the log
    job = Job(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    worker = Worker(job)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {_first_line(error)}"}
        answers.write(json.dumps(answer) + "\n")


class Worker:
    """The requests, each answered by a dictionary."""

    work: Work

    def __init__(self, job: Job):
        self.job = job

    def prepare(self) -> dict[str, Any]:
        """Imports, initialises, compiles, takes the first step."""
        began = time.perf_counter()
        name = "step_jax" if self.job.framework == "jax" else "step_torch"
        self.framework = importlib.import_module(name)
        imported = time.perf_counter()
        self.work = self.framework.prepare(self.job)
        self.work.run(1)
        return {
            "import_s": imported - began,
            **self.work.facts,
            "versions": self.framework.versions(),
        }

    def memory(self) -> dict[str, Any]:
        """Measures the memory of one step at its peak, what lives between steps included."""
        if self.job.device == "gpu":
            return {"peak_bytes": self.framework.gpu_peak(self.work)}
        return {"peak_bytes": self.work.resident() + _host_growth(self.work)}

    def run(self, steps: int) -> dict[str, Any]:
        """Measures the seconds per step of so many steps."""
        if steps > 1:
            self.work.run(1)  # short steps: the clock of an idle device is low, caches are cold
        began = time.perf_counter()
        self.work.run(steps)
        return {"seconds": (time.perf_counter() - began) / steps}


def _host_growth(work: Work) -> int | None:
    """Returns by how many bytes this process grows within a step."""
    ctypes.CDLL(None).malloc_trim(0)  # gives back what compilation and other steps have left
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM, the highest RSS, to RSS
    before = _status("VmRSS")
    work.run(1)
    return _status("VmHWM") - before


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", text)[1])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else ""


if __name__ == "__main__":
    main()
