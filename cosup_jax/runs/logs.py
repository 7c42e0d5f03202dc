"""What a run writes down while it trains: metrics.jsonl, TensorBoard, versions."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

METRICS = "metrics.jsonl"
_PACKAGES = ("cosup-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class RunLog:
    """One row per epoch in metrics.jsonl and TensorBoard.

    A run that goes on after an interruption drops the rows of epochs it has to repeat.

    Args:
      workdir: the run's folder.
      epoch: completed epochs; later rows are dropped.
    """

    def __init__(self, workdir: Path, epoch: int) -> None:
        # Imported here because it imports PyTorch wherever that is installed.
        from tensorboardX import SummaryWriter

        self._path = workdir / METRICS
        kept = [row for row in read_metrics(workdir) if row["epoch"] <= epoch]
        self._path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=epoch + 1)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Writes one epoch's figures; `row` holds `epoch`."""
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "epoch":
                self._board.add_scalar(name, value, int(row["epoch"]))
        self._board.flush()

    def image(self, name: str, image: np.ndarray, epoch: int) -> None:
        """Writes an (H, W, 3) uint8 picture."""
        self._board.add_image(name, image, epoch, dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes the files."""
        self._board.close()


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run's metrics.jsonl; a row cut off by a kill is left out."""
    path = workdir / METRICS
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def versions(devices: Sequence[jax.Device]) -> dict[str, str]:
    """Returns the versions a run depends on, and the kind of its devices."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    kinds = ", ".join(sorted({device.device_kind for device in devices}))
    return {"python": platform.python_version(), "devices": f"{len(devices)} {kinds}", **found}
