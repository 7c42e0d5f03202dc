"""A process of its own for one form of the work, and what is known of it."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from step_job import Job

_BURST_SECONDS = 0.3  # short steps are timed several at a time


class Process:
    """A worker, the job it has, and what is known of it."""

    def __init__(self, job: Job, folder: Path):
        self.job = job
        self.folder = folder
        self.log = folder / "log.txt"
        self.facts: dict[str, Any] = {}
        self.seconds: list[float] = []
        self.steps = 1
        inductor = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        environment = (
            inductor
            | os.environ
            | {
                "JAX_PLATFORMS": {"cpu": "cpu", "gpu": "cuda"}[job.device],
                "JAX_ENABLE_COMPILATION_CACHE": "false",
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                "OMP_NUM_THREADS": str(job.threads),
            }
        )
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("step_worker.py"), _json(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent
            )

    @property
    def failed(self) -> bool:
        """Whether a request ended with an error."""
        return "error" in self.facts

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer; an error is kept in `facts`."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            last = self.log.read_text().strip().splitlines()[-1:]
            line = json.dumps({"error": f"ended with status {self.process.wait()}: {last}"})
        answer = json.loads(line)
        if "error" in answer:
            self.facts |= answer
        return answer

    def prepare(self) -> None:
        """Has the worker compile and warm up, measures memory, and decides the steps per turn."""
        self.facts |= self.ask("prepare")
        for do in ("memory", "run"):
            if not self.failed:
                self.facts |= self.ask(do, **({"steps": 1} if do == "run" else {}))
        if not self.failed:
            self.steps = math.ceil(_BURST_SECONDS / self.facts.pop("seconds"))

    def turn(self) -> None:
        """Times the job once."""
        answer = self.ask("run", steps=self.steps)
        if not self.failed:
            self.seconds.append(answer["seconds"])

    def end(self, rounds: int) -> None:
        """Ends the worker at once; of what it measured so many rounds count."""
        self.process.kill()
        del self.seconds[rounds:]

    def close(self) -> None:
        """Ends the worker."""
        self.process.stdin.close()
        self.process.wait()


def _json(job: Job) -> str:
    return json.dumps(dataclasses.asdict(job))
