"""How far the runs of a table are, from the texts in their folders."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import files, runs
from cosup_jax.experiments.plan import Request
from cosup_jax.experiments.rows import Row
from cosup_jax.runs import checkpoints, logs
from cosup_jax.training import pseudo, semi
from cosup_jax.training.setup import FREE_FIELDS

_DICE = "validation/dice"


class LongerRunError(ValueError):
    """A run was trained longer than is asked for."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
      epochs: completed epochs.
      limit: the epochs asked for at most.
      finished: whether nothing is left to train, and the best epoch is evaluated.
      stopped: whether the run ended by its own rule, not by a limit lower than its file's.
      seconds: what its epochs took.
      differing: fields in which the folder holds another configuration.
    """

    epochs: int
    limit: int
    finished: bool
    stopped: bool
    seconds: float
    differing: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """`missing`, `half done` or `finished`."""
        if self.finished:
            return "finished"
        return "half done" if self.epochs else "missing"


def progress(request: Request, row: Row, seed: int) -> Progress:
    """Looks at a run's folder; nothing is opened but its texts."""
    folder, config = request.folder(row, seed), request.config(row, seed)
    if config.semi.per_round:
        config = semi.finetune_config(config, folder)
    scored = best_epoch(folder) is not None
    # Without checkpoints it begins anew, unless they were removed when all was done.
    log = logs.read_metrics(folder) if scored or checkpoints.exist(folder) else []
    epochs = int(log[-1]["epoch"]) if log else 0
    losses = [line["validation/loss"] for line in log if "validation/loss" in line]
    early = has_stopped(losses, config.early_stopping.patience)
    differing: list[str] = []
    if epochs:
        files.read_json(folder / runs.CONFIG)  # which names it where it is damaged
        kept = (folder / runs.CONFIG).read_text()
        differing = configuration.differences(kept, configuration.to_json(config), FREE_FIELDS)
    is_over = early or epochs >= config.epochs
    return Progress(
        epochs=epochs,
        limit=config.epochs,
        finished=is_over and not differing and scored,
        stopped=early or (is_over and epochs >= request.file_config(row).epochs),
        seconds=sum(line.get("seconds", 0.0) for line in log),
        differing=tuple(differing),
    )


def checked(request: Request, row: Row, seed: int) -> Progress:
    """Returns `progress`, and refuses more epochs than are asked for: the best may be one of those.

    Raises:
      LongerRunError: naming the run.
    """
    found = progress(request, row, seed)
    if found.epochs > found.limit:
        raise LongerRunError(
            f"{request.folder(row, seed)} was trained {found.epochs} epochs, more than the "
            f"{found.limit} asked for; ask for {found.epochs} or more, or give another --out"
        )
    return found


def has_stopped(losses: Sequence[float], patience: int) -> bool:
    """Tells whether early stopping has ended a run.

    Args:
      losses: validation loss of each epoch.
      patience: epochs without a lower loss after which a run ends.

    >>> has_stopped([1.0, 0.5, 0.6], 2), has_stopped([1.0, 0.5, 0.6, 0.5], 2)
    (False, True)
    """
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


def best_epoch(folder: Path) -> int | None:
    """Returns a run's best epoch; None before that one was evaluated.

    A damaged summary is as none: the run is evaluated again. So it is where the summary is of the
    epoch that was the best before the run was trained further. Where somebody has removed the
    checkpoints, the figures of the epochs tell which was the best.
    """
    path, best = folder / "evaluation" / "summary.json", checkpoints.best_epoch(folder)
    if best is None:
        log = [line for line in logs.read_metrics(folder) if _DICE in line]
        best = int(max(log, key=lambda line: line[_DICE])["epoch"]) if log else None
    try:
        return best if path.is_file() and files.read_json(path).get("epoch") == best else None
    except files.FileError:
        return None


def missing_guides(request: Request, row: Row, seeds: Sequence[int]) -> list[int]:
    """Returns the seeds whose guide is still to be trained; a finished one counts as it is."""
    if row.guide is None or not request.trains_guide(row):
        return []
    folders = {seed: request.folder(row.guide, seed) for seed in seeds}
    return [s for s, f in folders.items() if best_epoch(f) is None or not checkpoints.exist(f)]


def guide_words(config: ConfigDict) -> str:
    """Says what guides a guided run: network, size and epochs of the run it starts from."""
    folder = Path(config.init)
    if not (folder / runs.CONFIG).is_file():
        return folder.name
    guide = runs.read_config(folder)
    height, width = guide.data.size
    epochs = len(logs.read_metrics(folder))
    return f"{guide.model.name} of {height}×{width} after {epochs} epochs"


def rounds_words(config: ConfigDict, folder: Path) -> str:
    """Says what went before the last step of a semi-supervised run; empty for others."""
    log = logs.read_metrics(folder / semi.ROUNDS)
    if not (config.semi.per_round and log):
        return ""
    labelled, pretrained = (
        len(logs.read_metrics(folder / name)) for name in (semi.LABELLED, semi.PRETRAIN)
    )
    path = folder / semi.PSEUDO / pseudo.INDEX
    steps = sum(row.get("steps", 0) for row in log)
    labels = len(path.read_text().splitlines()) - 1
    return (
        f"{labelled} epochs on labelled slices, then {labels} pseudo labels in {len(log)} rounds "
        f"({steps} steps), {pretrained} epochs on these alone, and the epochs of the head on "
        "labelled slices"
    )


def overview(request: Request) -> str:
    """Returns what would be trained: the rows, their runs, and an estimate of the time."""
    lines = []
    left: dict[str, tuple[int, float | None]] = {}  # by name of the runs, which rows may share
    for row in request.definition.rows:
        if row.name not in request.selected:
            lines.append(f"{row.name}: not selected")
            continue
        if row.run in left:
            lines.append(f"{row.name}: the runs of {row.run}, scored in another way")
            continue
        try:
            found = [progress(request, row, seed) for seed in range(request.seeds)]
            limit = request.config(row).epochs
            unknown = request.not_applying(row)
            guides = missing_guides(request, row, range(request.seeds))
        except configuration.ConfigError as error:
            lines.append(f"{row.name}: cannot be run: {error}")
            continue
        lines.append(f"{row.name}: {request.configs / row.config}, at most {limit} epochs")
        lines += [f"  {o} does not apply: {_why(row, o)}" for o in unknown]
        lines += [f"  {text}" for text in _states(found)]
        if request.config(row).semi.per_round:
            lines.append("  and before them the other steps of semi-supervised training")
        left[row.run] = _left(found, limit)
        if row.guide is not None and guides:
            limit = request.config(row.guide).epochs
            first = [progress(request, row.guide, seed) for seed in guides]
            left[row.guide.run] = _left(first, limit)
            seeds = ", ".join(map(str, guides))
            lines.append(f"  before it {row.guide.run}, seed {seeds}, at most {limit} epochs")
        elif row.guide is not None:
            lines.append(f"  guided by {request.config(row).init}")
    return "\n".join([*lines, _estimate(list(left.values()))])


def _why(row: Row, override: str) -> str:
    """Says why an override for all rows is not one for this row."""
    if override.startswith("--config.init="):
        return f"it would be this row's guide, which --config.init@{row.run}= names"
    return "this row has no such setting"


def _left(found: Sequence[Progress], limit: int) -> tuple[int, float | None]:
    """How many epochs are left at most, and how many seconds one took so far."""
    own = [p.seconds / p.epochs for p in found if p.epochs]
    epochs = sum(max(limit - p.epochs, 0) for p in found if not p.finished)
    return epochs, float(np.mean(own)) if own else None


def _states(found: Sequence[Progress]) -> list[str]:
    """Says how far the seeds of a row are, those that are alike on one line."""
    alike: dict[str, list[str]] = {}
    for seed, p in enumerate(found):
        text = p.words if not p.epochs else f"{p.words} after {p.epochs} epochs"
        if p.epochs > p.limit:
            text += f", more than the {p.limit} asked for"
        if p.differing:
            text += f", but its folder holds another run (differing in {', '.join(p.differing)})"
        alike.setdefault(text, []).append(str(seed))
    return [f"seed {', '.join(seeds)}: {text}" for text, seeds in alike.items()]


def _estimate(left: Sequence[tuple[int, float | None]]) -> str:
    epochs, rates = sum(count for count, _ in left), [rate for _, rate in left if rate]
    if not epochs:
        return "nothing is left to train"
    if not rates:
        return f"{epochs} epochs at most; how long one takes is known once a run has begun"
    typical = float(np.mean(rates))
    seconds = sum(count * (rate or typical) for count, rate in left)
    return (
        f"{epochs} epochs at most, about {seconds / 3600:.1f} h of training (from the epochs "
        "trained so far; early stopping may end a run sooner)"
    )
