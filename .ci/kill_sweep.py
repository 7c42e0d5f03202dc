"""Kills commands at every file operation, starts them again, and compares what they leave.

    python .ci/kill_sweep.py [--first M] [--every N] [JOB …]

A job is a command on a tiny dataset and network. Its file operations are counted first, by
`kill_at.c`, which needs a C compiler; then it is killed (SIGKILL) before, after or amid each of
them, or each N-th from the M-th on (N no multiple of 3), and the same command is started once more.
What it then leaves must be what a command that was never killed leaves: the same bytes, but for
times and what names a folder; of checkpoints the same arrays. All JSON under final names is whole.
"""

import argparse
import atexit
import ctypes
import dataclasses
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Compared array by array, or of no account: TensorBoard's files, locks, TFDS's own notes.
_OTHERS = re.compile(r"checkpoints/|tensorboard/|\.lock$|(^|/)\.config/")
_TIMES = re.compile(rb'"(\w*seconds|slices_per_s|alive)": [0-9.e+-]+')
_MINUTES = re.compile(rb",(\d+),\d+\.\d,,")  # of a row of `experiment`, behind its parameters


def build_library(folder: Path) -> Path:
    """Compiles `kill_at.c`."""
    library = folder / "kill_at.so"
    source = Path(__file__).with_name("kill_at.c")
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
      command: program and arguments, for the folder it writes into.
      least: file operations that it has at least, so that no sweep is empty by mistake.
    """

    command: Callable[[Path], list[str]]
    least: int


class Place:
    """The folder of all trials, with a dataset, a run and a weight file made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tfds, self.run = folder / "tfds", folder / "run"
        self.weights = folder / "vgg.safetensors"

    def train(self, *more: str, config: str = "baseline.py:net=unet") -> list[str]:
        """Returns the command of a tiny training."""
        fields = {"config": "tiny", "data_dir": self.tfds, "size": "(32,32)"}
        given = [f"--config.data.{name}={value}" for name, value in fields.items()]
        given += ["--config.model.width=2", "--config.batch_size=4", "--config.epochs=2"]
        return ["train.py", f"--config={ROOT / 'configs' / config}", *given, *more]

    def jobs(self) -> dict[str, Job]:
        """Returns the jobs by name."""

        def own(name: str, *more: str) -> list[str]:
            return ["cosup_jax", name, "--workdir", str(self.run), *more]

        def convert(out: Path) -> list[str]:
            fields = ["backbone=vgg16", "width=4"]
            given = [f"--config.model.{field}" for field in fields] + ["--config.data.size=(32,32)"]
            where = ["--config", str(ROOT / "configs/infnet.py"), "--workdir", str(out / "run")]
            return ["cosup_jax", "convert", str(self.weights), *where, *given]

        def experiment(out: Path) -> list[str]:
            fields = self.train()[2:]
            what = ["table2", "--data", "lung_phantom", "--rows", "unet", "--seeds", "1"]
            return ["cosup_jax", "experiment", *what, "--out", str(out / "x"), *fields]

        def semi(out: Path) -> list[str]:
            fields = ["per_round=4", "unlabelled=test", "epochs=0.5", "pretrain_epochs=1"]
            given = [f"--config.semi.{field}" for field in [*fields, "pretrain_batch_size=4"]]
            return self.train(f"--workdir={out / 'w'}", "--config.data.test=validation", *given)

        build = ["tfds_builders", "build", "lung_phantom", "--config", "tiny", "--data_dir"]
        return {
            "build": Job(lambda out: [*build, str(out / "d")], 20),
            "train": Job(lambda out: self.train(f"--workdir={out / 'w'}"), 150),
            "semi": Job(semi, 300),
            "evaluate": Job(
                lambda out: own("evaluate", "--out", str(out / "e"), "--save_predictions"), 40
            ),
            "export": Job(lambda out: own("export", "--out", str(out / "x.stablehlo")), 10),
            "export_weights": Job(
                lambda out: own("export_weights", "--out", str(out / "x.safetensors")), 5
            ),
            "convert": Job(convert, 40),
            "experiment": Job(experiment, 150),
        }

    def prepare(self) -> None:
        """Makes what the jobs read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        status = start(self.train(f"--workdir={self.run}"), self.folder / "prepare.log")
        if status:
            raise SystemExit((self.folder / "prepare.log").read_text())
        script = (
            "import sys, safetensors.numpy; from flax import traverse_util\n"
            "from cosup_jax import models\n"
            "network = models.build('infnet', backbone='vgg16', width=4)\n"
            "made = models.initialise(network, (32, 32, 1), 5)\n"
            "safetensors.numpy.save_file(traverse_util.flatten_dict(made, sep='/'), sys.argv[1])\n"
        )
        subprocess.run([sys.executable, "-c", script, str(self.weights)], check=True, cwd=ROOT)


def use_small_network() -> None:
    """Has the network `unet` consist of two layers: tracing a whole one is what takes seconds."""
    import flax.linen as nn

    from cosup_jax import models
    from cosup_jax.models import layers

    class Small(models.UNet):
        @nn.compact
        def __call__(self, x, train):  # type: ignore[no-untyped-def]
            policy = layers.Policy(self.dtype, self.axis_name)
            x = layers.ConvNorm(self.width, policy=policy, name="conv")(x, train)
            return models.SegOutput(logits=nn.Conv(1, (1, 1), name="top")(x))

    models._NETWORKS["unet"] = Small


def start(command: list[str], log: Path, below: Path | None = None, at: int = 0) -> int:
    """Runs a command in a forked process, which has everything imported; returns its status.

    Args:
      command: `train.py` or a module, and arguments.
      log: what it says.
      below: where file operations are counted.
      at: the operation at which it is killed; 0 only counts, into the file `count` beside `log`.
    """
    process = os.fork()
    if process == 0:
        status = 70
        try:
            said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            if below is not None:
                counter = str(log.with_name("count")).encode()
                arm = ctypes.CDLL(None).kill_at_arm
                arm(str(below).encode(), ctypes.c_long(at), counter)
            status = _run(command)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _run(command: list[str]) -> int:
    sys.argv = command
    try:
        if command[0].endswith(".py"):
            runpy.run_path(str(ROOT / command[0]), run_name="__main__")
        else:
            runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        status: object = 0
    except SystemExit as end:
        status = end.code or 0
    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()  # as the interpreter ends: threads, then what is registered
    atexit._run_exitfuncs()
    sys.stdout.flush()
    return status if isinstance(status, int) else 1


def digests(folder: Path) -> dict[str, str]:
    """Returns what a finished folder holds, by name: equal for equal results."""
    from cosup_jax.runs import stored

    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _OTHERS.search(name):
            content = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
            found[name] = _sha(_MINUTES.sub(rb",\1,0,,", _TIMES.sub(rb'"\1": 0', content)))
        elif path.is_dir() and path.name == "checkpoints":
            for number in stored.listed(path):
                arrays = stored.look(path, number).arrays
                found[f"{name}/{number}"] = _sha(json.dumps(arrays).encode())
    return found


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def check_whole(folder: Path) -> list[str]:
    """Returns the files under final names that are not whole after a kill."""
    from cosup_jax import files

    wrong = []
    for path in folder.rglob("*"):
        hidden = any(part.startswith((".", "incomplete.")) for part in path.parts)
        if hidden or "-tmp" in str(path) or not path.is_file():
            continue
        if path.suffix == ".json":
            try:
                files.read_json(path)
            except files.FileError as error:
                wrong.append(str(error))
        elif path.suffix in (".png", ".csv", ".md", ".stablehlo") and not path.stat().st_size:
            wrong.append(f"{path}: is empty")
    return wrong


def sweep(name: str, job: Job, place: Path, chosen: slice) -> bool:
    """Kills a job at its operations and prints what came of it; returns whether all is well."""
    logs, whole, out = place / "logs", place / name / "whole", place / name / "killed"
    logs.mkdir(exist_ok=True)
    shutil.rmtree(whole.parent, ignore_errors=True)
    whole.mkdir(parents=True)
    status = start(job.command(whole), logs / f"{name}.log", whole)
    count = int.from_bytes((logs / "count").read_bytes(), sys.byteorder)
    if status or count < job.least:
        print(f"{name}: status {status}, {count} operations; see {logs / name}.log")
        return False
    kills = range(count + 1)[chosen]
    print(f"{name}: {count} operations, killed at {kills}", flush=True)
    expected, wrong, killed = digests(whole), [], 0
    for at in kills:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        log = logs / f"{name}-{at}.log"
        first = start(job.command(out), log, out, at)
        killed += first == -9
        half = check_whole(out)
        again = start(job.command(out), log)
        found = {} if again else digests(out)
        if half or again or found != expected:
            differing = sorted(n for n in expected | found if expected.get(n) != found.get(n))
            wrong.append(f"operation {at}: {half or ''} status {again}, differing {differing[:4]}")
        else:
            log.unlink()
    same = killed - len(wrong)
    print(f"{name}: {killed} kills, {same} with the same result", flush=True)
    print("".join(f"  {text}\n" for text in wrong), end="", flush=True)
    # Where files are written beside one another their number may differ by a few.
    return not wrong and killed >= 0.9 * len(kills)


def main() -> int:
    """Runs the sweeps asked for; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="by default all")
    parser.add_argument("--every", type=int, default=1, help="kill at each N-th only")
    parser.add_argument("--first", type=int, default=1, help="and at none before this one")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    arguments = parser.parse_args()
    if "kill_at.so" not in os.environ.get("LD_PRELOAD", ""):
        with tempfile.TemporaryDirectory() as folder:
            preload = {"LD_PRELOAD": str(build_library(Path(folder))), "PYTHONPATH": str(ROOT)}
            settings = {"JAX_PLATFORMS": "cpu", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
            settings["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
            # Each program is compiled once, the smallest too, by the start that counts.
            keep = arguments.keep or Path(folder)
            settings["JAX_COMPILATION_CACHE_DIR"] = f"{keep}/cache"
            settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
            # A TemporaryDirectory of that process would go where a fork of it ends.
            command = [sys.executable, *sys.argv, f"--keep={keep}"]
            return subprocess.run(command, env={**os.environ, **settings, **preload}).returncode
    # Imported, and nothing of JAX started, before the processes fork.
    import matplotlib.pyplot  # noqa: F401
    import tensorboardX  # noqa: F401

    from cosup_jax.commands import convert, evaluate, experiment, export, export_weights  # noqa: F401
    from cosup_jax.experiments import caption, formats, runner, trials  # noqa: F401

    use_small_network()
    place = Place(arguments.keep)
    if not place.weights.exists():
        place.prepare()
    jobs, chosen = place.jobs(), slice(arguments.first, None, arguments.every)
    results = [sweep(n, jobs[n], place.folder, chosen) for n in arguments.jobs or jobs]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
