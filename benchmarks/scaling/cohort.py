"""Scans an hour and memory a worker of a cohort on Beam's local runner, by 1 and 2 workers.

    python benchmarks/scaling/cohort.py           # on a machine that does nothing else
    python benchmarks/scaling/cohort.py SCANS

Needs the extra `beam`. SCANS is what `predict` takes; without it eight phantoms of 60 slices of
512×512 are drawn. Each call starts with an empty folder; its start is part of the time.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from cosup_jax import phantom

WORKER = b"sdk_worker_main"


def draw(folder: Path) -> Path:
    """Draws the phantoms."""
    folder.mkdir()
    for seed in range(8):
        drawn = phantom.draw_volume(seed, size=512, slices=60)
        z, y, x = drawn.spacing
        image = nib.Nifti1Image(drawn.image.transpose(2, 1, 0), np.diag([-x, -y, z, 1.0]))
        nib.save(image, folder / f"phantom{seed}.nii")
    return folder


def memory_of_workers() -> int:
    """Returns the resident bytes of the largest of Beam's workers; 0 where there is none now."""
    largest = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if WORKER in (status.parent / "cmdline").read_bytes():
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
                largest = max(largest, 1024 * int(fields.get("VmHWM", "0").split()[0]))
        except OSError:  # it has ended meanwhile
            continue
    return largest


def predict(scans: Path, out: Path, workers: int) -> tuple[float, int]:
    """Returns the seconds of a call, and the peak memory of a worker in bytes."""
    command = [sys.executable, "-m", "cosup_jax", "predict", str(scans), "--out", str(out)]
    command += ["--runner=FnApiRunner", f"--workers={workers}"]
    over, peak = threading.Event(), [0]

    def watch() -> None:
        while not over.wait(0.5):
            peak[0] = max(peak[0], memory_of_workers())

    watching = threading.Thread(target=watch)
    watching.start()
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    over.set()
    watching.join()
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, peak[0]


def main() -> None:
    """Prints a row for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scans", type=Path, nargs="?")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    print("| workers | scans an hour | memory a worker |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as drawn:
        scans = arguments.scans or draw(Path(drawn) / "scans")
        for workers in arguments.workers:
            with tempfile.TemporaryDirectory() as name:
                seconds, peak = predict(scans, Path(name), workers)
                done = len(list(Path(name).glob("*/findings.json")))
            speed = 3600 * done / seconds
            print(f"| {workers} | {speed:.0f} | {peak / 2**30:.1f} GiB |", flush=True)


if __name__ == "__main__":
    main()
