"""Trains one epoch on the dummy data of every dataset, by train.py as a user would.

Volumes of one's own are taken in each of the layouts that are read.

python -m tests.dummy.write
python .ci/one_epoch.py
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tfds_builders

ROOT = Path(__file__).parents[1]
DUMMY = "tfds_builders/{}/dummy_data"
SMALL = {
    "epochs": 1,
    "batch_size": 2,
    "data.size": "(32, 32)",
    "model.width": 4,
    "model.blocks": "(1, 1, 1, 1)",
}


def train(name: str, folder: Path, layout: str = "") -> None:
    """Builds a dataset, trains, evaluates, and prints the scores."""
    data: dict[str, Any] = {"data.data_dir": folder / "tfds"}
    if name == "lung_phantom":
        data["data.config"] = "tiny"
    else:
        data["data.source"] = folder / layout if layout else ROOT / DUMMY.format(name)
    command = [sys.executable, "train.py", f"--config=configs/c2f.py:data={name}"]
    command += [f"--config.{field}={value}" for field, value in (SMALL | data).items()]
    name += layout and f", {layout}"
    workdir = folder / name
    # Networks this small are longer compiled than run, and are the same for every dataset.
    quick = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    done = subprocess.run(
        [*command, f"--workdir={workdir}"],
        cwd=ROOT,
        env=os.environ | quick,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: train.py ended with {done.returncode}\n{done.stderr}")
    summary = json.loads((workdir / "evaluation/summary.json").read_text())
    print(f"{name}: Dice {summary['dice']['mean']:.3f} on {summary['split']}", flush=True)


def layouts(folder: Path) -> Iterator[str]:
    """Writes volumes of one's own in each layout but the plain one, and yields their folders."""
    sys.path.insert(0, str(ROOT))
    from tests.dummy import volume_folder

    volume_folder.write_nnunet(folder / "nnU-Net")
    volume_folder.write_decathlon(folder / "Decathlon")
    volume_folder.write_table(folder / "table")
    volume_folder.write_results(folder / "results", folder / "scans")
    for case in volume_folder.LABELLED[:3]:
        volume_folder.correct(folder / "results", case)
    yield from ("nnU-Net", "Decathlon", "table", "results")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for dataset in tfds_builders.available():
            train(dataset, Path(temporary))
        for layout in layouts(Path(temporary)):
            train("volume_folder", Path(temporary), layout)
