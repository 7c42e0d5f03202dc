"""Trains one epoch on the dummy data of every dataset, by train.py as a user would.

python -m tests.dummy.write
python .ci/one_epoch.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tfds_builders

ROOT = Path(__file__).parents[1]
SMALL = {
    "epochs": 1,
    "batch_size": 4,
    "data.size": "(32, 32)",
    "model.width": 4,
    "model.blocks": "(1, 1, 1, 1)",
}


def train(name: str, folder: Path) -> None:
    """Builds a dataset, trains, evaluates, and prints the scores."""
    data: dict[str, Any] = {"data.data_dir": folder / "tfds"}
    if name == "lung_phantom":
        data["data.config"] = "tiny"
    else:
        data["data.source"] = ROOT / f"tfds_builders/{name}/dummy_data"
    command = [sys.executable, "train.py", f"--config=configs/c2f.py:data={name}"]
    command += [f"--config.{field}={value}" for field, value in (SMALL | data).items()]
    workdir = folder / name
    cache = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(folder / "jax")}
    done = subprocess.run(
        [*command, f"--workdir={workdir}"],
        cwd=ROOT,
        env=os.environ | cache,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: train.py ended with {done.returncode}\n{done.stderr}")
    summary = json.loads((workdir / "evaluation/summary.json").read_text())
    print(f"{name}: Dice {summary['dice']['mean']:.3f} on {summary['split']}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for dataset in tfds_builders.available():
            train(dataset, Path(temporary))
