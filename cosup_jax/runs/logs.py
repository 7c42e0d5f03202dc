"""What a run writes down while it trains: metrics.jsonl, TensorBoard, versions."""

import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cosup_jax import __version__, files, hosts

METRICS = "metrics.jsonl"
# Of a row, in the checkpoint alone: two runs of one seed have the same metrics.jsonl but for the
# time by the clock.
_COST = ("cpu_seconds",)
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class RunLog:
    """One row per epoch in metrics.jsonl, which is always whole, and in TensorBoard.

    A run that goes on after an interruption drops the rows of epochs it has to repeat. Of several
    processes the first writes.

    Args:
      workdir: the run's folder.
      rows: those of the completed epochs, see `history`.
    """

    def __init__(self, workdir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self._workdir, self._rows, self._board = workdir, [*rows], None
        if hosts.is_first():
            # Imported here because it imports PyTorch wherever that is installed.
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=len(rows) + 1)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Writes one epoch's figures; `row` holds `epoch`."""
        if self._board is None:
            return
        self._rows.append(row)
        _write(self._workdir, self._rows)
        for name, value in row.items():
            if name != "epoch":
                self._board.add_scalar(name, value, int(row["epoch"]))
        self._board.flush()

    def image(self, name: str, image: np.ndarray, epoch: int) -> None:
        """Writes an (H, W, 3) uint8 picture."""
        if self._board is not None:
            self._board.add_image(name, image, epoch, dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._board is not None:
            self._board.close()


def history(
    workdir: Path, epoch: int, known: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    """Returns the row of each completed epoch, and leaves metrics.jsonl with these alone.

    They are those of the checkpoint; where the file differs from it that is said.

    Args:
      workdir: the run's folder.
      epoch: completed epochs.
      known: the rows that the checkpoint holds; those of earlier versions hold none.
    """
    if not hosts.is_first():
        return tuple(known)
    path = workdir / METRICS
    there: tuple[Mapping[str, Any], ...] = tuple(
        row for row in read_metrics(workdir) if row["epoch"] <= epoch
    )
    if len(known) == epoch:
        if path.exists() and [*map(_shown, there)] != [*map(_shown, known)]:
            _say(f"{path} was not as the run left it; its {epoch} rows are those of the checkpoint")
        there = tuple(known)
    elif [row["epoch"] for row in there] != list(range(1, epoch + 1)):
        _say(
            f"{path} lacks rows of the {epoch} completed epochs, and the checkpoint, of an earlier "
            "version, holds none; learning curves and times will lack them"
        )
    _write(workdir, there)
    return there


def _write(workdir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    files.write_text(workdir / METRICS, "".join(json.dumps(_shown(row)) + "\n" for row in rows))


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _COST}


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run's metrics.jsonl, up to the first that is damaged or cut off."""
    path = workdir / METRICS
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines():
        try:
            row = files.parse_json(line, str(path))
        except files.FileError:
            break
        if not isinstance(row.get("epoch"), int) or not all(map(_is_number, row.values())):
            break
        rows.append(row)
    return rows


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def versions(devices: Sequence[jax.Device]) -> dict[str, str]:
    """Returns the versions a run depends on, and the kind of its devices."""
    found = {"cosup-jax": __version__}  # which nobody has to have installed to train in a clone
    found |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    kinds = ", ".join(sorted({device.device_kind for device in devices}))
    return {"python": platform.python_version(), "devices": f"{len(devices)} {kinds}", **found}
