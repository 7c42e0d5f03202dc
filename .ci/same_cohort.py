"""Predicts a small cohort plainly, and on Beam by 1 and by 4 workers, of which one call is killed.

    python .ci/same_cohort.py

All must leave the same files, but for the seconds that a scan took. Needs the extra `beam`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from cosup_jax import config as configuration
from cosup_jax import runs, weights
from cosup_jax.models.initialise import initialise

SCANS, SHAPE = 8, (24, 24, 3)
TIMES = ("seconds",)


def make_weights(path: Path) -> None:
    """Writes the weights of an untrained network, which is small."""
    config = configuration.load("quickstart")
    config.data.size, config.model.width = (32, 32), 4
    model = runs.build_model(config)
    variables = initialise(model, (1, 32, 32, 1), 0)
    weights.save(path, runs.Run(path.parent, config, model, variables, 1), {"licence": "none"})


def make_scans(folder: Path) -> None:
    """Writes scans, two of one name, and a file that is none."""
    for i in range(SCANS):
        place = folder / str(i % 4) / f"ct{i // 2}.nii"
        place.parent.mkdir(parents=True, exist_ok=True)
        voxels = np.random.default_rng(i).integers(-1000, -900, SHAPE).astype(np.int16)
        voxels[4:12, 4:12] = 40 + i
        nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 5.0, 1.0])), place)
    (folder / "broken.nii").write_bytes(b"no volume")


def predict(scans: Path, out: Path, network: Path, *options: str, kill: bool = False) -> None:
    """Makes a call; with `kill`, one that is killed with all its workers behind the first scan."""
    command = [sys.executable, "-m", "cosup_jax", "predict", str(scans), "--out", str(out)]
    command += ["--weights", str(network), *options]
    with subprocess.Popen(command, start_new_session=True) as call:
        while kill and call.poll() is None and not list(out.glob("*/findings.json")):
            time.sleep(0.05)
        if kill:
            os.killpg(call.pid, signal.SIGKILL)
    if not kill and call.returncode != 1:  # one scan is broken
        raise RuntimeError(f"{command} ended with {call.returncode}")


def content(folder: Path) -> dict[str, Any]:
    """Returns what all files of a folder of results hold, but for times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "findings.json":
            record = json.loads(path.read_text())
            found[name] = {**record, "row": _timeless(record["row"])}
        elif path.name == "cohort.csv":
            lines = [line.split(",") for line in path.read_text().splitlines()]
            left_out = {i for i, title in enumerate(lines[0]) if title in TIMES}
            found[name] = [[c for i, c in enumerate(row) if i not in left_out] for row in lines]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMES}


def main() -> None:
    """Predicts and compares."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        scans, network = work / "scans", work / "small.safetensors"
        make_scans(scans)
        make_weights(network)
        predict(scans, work / "plain", network)
        expected = content(work / "plain")
        for workers in (1, 4):
            options = ("--runner=FnApiRunner", f"--workers={workers}")
            out = work / f"beam{workers}"
            if workers > 1:
                predict(scans, out, network, *options, kill=True)
            predict(scans, out, network, *options)
            found = content(out)
            differing = [n for n in expected | found if expected.get(n) != found.get(n)]
            if differing or len(expected) < 2 * SCANS:
                raise AssertionError(f"{workers} workers: these differ: {differing}")
            print(f"{workers} workers: {len(found)} files as those of a plain call", flush=True)


if __name__ == "__main__":
    main()
