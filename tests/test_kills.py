"""A process killed at any of its file operations leaves what the next one goes on from.

`.ci/kill_sweep.py` does this to whole commands; here it is done to what all of them write with.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
from pathlib import Path
from cosup_jax import files, locks
out = Path(sys.argv[1])
with locks.lock(out / ".lock", "it"):
    files.recover(out / "scan")
    for version in ("old", "new"):
        files.write_json(out / "a.json", {"version": version})
        files.write_csv(out / "b.csv", [{"version": version}])
    for version in ("old", "new"):
        with files.replacing(out / "scan") as folder:
            files.write_text(folder / "mask", version)
"""
VERSIONS = ("old", "new")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    path = tmp_path_factory.mktemp("library") / "kill_at.so"
    source = ROOT / ".ci" / "kill_at.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source, "-ldl"], check=True)
    return path


def run(library, out, at=None):
    """Writes everything, killed at an operation or counting them; returns the exit status."""
    out.mkdir(exist_ok=True)
    settings = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    if at is not None:
        settings |= {"LD_PRELOAD": str(library), "KILL_BELOW": str(out), "KILL_AT": str(at)}
        settings["KILL_COUNT"] = str(library.with_name("count"))
    command = [sys.executable, "-c", SCRIPT, str(out)]
    return subprocess.run(command, env={**os.environ, **settings}, check=False).returncode


def content(out):
    return {
        path.relative_to(out).as_posix(): path.read_text()
        for path in out.rglob("*")
        if path.is_file()
    }


def test_every_operation_may_be_the_last(library, tmp_path):
    assert run(library, tmp_path / "whole", at=0) == 0
    whole = content(tmp_path / "whole")
    count = int.from_bytes(library.with_name("count").read_bytes(), sys.byteorder)
    # Opening, emptying, writing, synchronising and renaming of each file, and the folders.
    assert 60 <= count <= 120
    for at in range(1, count + 1, 4):
        out = tmp_path / str(at)
        assert run(library, out, at) == -signal.SIGKILL
        left = content(out)
        assert left.get("a.json", whole["a.json"]) in [
            whole["a.json"].replace("new", version) for version in VERSIONS
        ]
        assert left.get("scan/mask", "new") in VERSIONS
        assert run(library, out) == 0
        assert content(out) == whole, at
