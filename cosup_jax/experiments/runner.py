"""Trains what is missing, goes on with what is half done, and scores every run once."""

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from cosup_jax import evaluation, files, runs
from cosup_jax.experiments import data, progress, trials
from cosup_jax.experiments.plan import Request
from cosup_jax.experiments.results import RowResult, RunResult
from cosup_jax.experiments.rows import Row
from cosup_jax.runs import checkpoints
from cosup_jax.training import loop

RESULT = "result.json"
FAILURE = "failure.txt"
PENDING = "not run yet"


def run_rows(request: Request) -> Iterator[list[RowResult]]:
    """Runs the selected rows one after another.

    A row that fails keeps its reason and the others go on; its traceback is left in `failure.txt`
    beside the folders of its runs.

    Yields:
      The results of all rows of the table, before the first row is run and after each.
    """
    rows = request.definition.rows
    results = {row.name: _at_hand(request, row) for row in rows}
    yield list(results.values())
    for row in rows:
        if row.name in request.selected:
            results[row.name] = run_row(request, row)
            yield list(results.values())


def run_row(request: Request, row: Row) -> RowResult:
    """Trains and scores the seeds of a row.

    Where training diverges for some, the others are scored, and the result names those that failed.
    """
    failure = request.folder(row, 0).parent / FAILURE
    seeds = range(request.seeds)
    try:
        states = [progress.checked(request, row, seed) for seed in seeds]
        left = [seed for seed, one in zip(seeds, states, strict=True) if not one.finished]
        for seed in set(seeds) - set(left):
            data.check_trained(request, row, seed)
        print(f"\n{request.table}, {row.name}: {len(left)} of {len(seeds)} runs to train")
        guides = progress.missing_guides(request, row, left)
        diverged = ""
        if row.guide is not None and guides:
            print(f"before it {row.guide.run}, which guides it: {len(guides)} runs to train")
            if told := _diverged(request, row.guide, guides):
                diverged = f"{row.guide.run}, {told}"
                unguided = progress.missing_guides(request, row, guides)
                left = [seed for seed in left if seed not in unguided]
        diverged = "; ".join(filter(None, [diverged, _diverged(request, row, left)]))
        ended: Sequence[int] = seeds
        if diverged:
            ended = [s for s in seeds if progress.progress(request, row, s).finished]
        found = tuple(score(request, row, seed) for seed in ended)
    # Whatever goes wrong in one row, memory included, must not lose the others.
    except Exception as error:
        files.write_text(failure, traceback.format_exc())
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logging.warning("%s failed: %s (see %s)", row.name, reason, failure)
        return RowResult(row, failed=reason)
    if diverged:
        files.write_text(failure, f"{diverged}\n")
        logging.warning("%s, some seeds failed: %s (see %s)", row.name, diverged, failure)
    else:
        failure.unlink(missing_ok=True)
    return RowResult(row, found, failed=diverged)


def _diverged(request: Request, row: Row, seeds: Sequence[int]) -> str:
    """Trains seeds of a row; says which have diverged, and how."""
    try:
        train(request, row, seeds)
    except loop.TrainingDiverged as error:
        return str(error)
    return ""


def train(request: Request, row: Row, seeds: Sequence[int]) -> None:
    """Trains seeds of a row, each to a folder of its own: together, or one after another.

    Raises:
      TrainingDiverged: naming the seeds that have; the others are trained.
    """
    configs = [request.config(row, seed) for seed in seeds]
    folders = [request.folder(row, seed) for seed in seeds]
    for folder in folders:
        _forget(folder)
    # Each seed has a guide of its own, so guided networks are not trained together.
    if len(seeds) > 1 and not (request.solo or configs[0].semi.per_round or row.guide):
        trials.train_seeds(configs[0], seeds, folders)
        return
    told = []
    for config, folder in zip(configs, folders, strict=True):
        print(f"seed {config.seed}, in {folder}")
        try:
            if config.semi.per_round:
                trials.train_semi(config, folder)
            else:
                trials.train_and_evaluate(config, folder)
        except loop.TrainingDiverged as error:
            told.append(f"seed {config.seed}: {error}")
    if told:
        raise loop.TrainingDiverged("; ".join(told))


def _forget(folder: Path) -> None:
    """Removes the scores of a run whose checkpoints are gone, before it is trained anew."""
    if not checkpoints.exist(folder):
        results = [path for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{RESULT}")]
        for path in (folder / trials.FOLDER / "summary.json", *results):
            path.unlink(missing_ok=True)


def score(request: Request, row: Row, seed: int) -> RunResult:
    """Scores a finished run by the table's protocol, unless that was done on the data there now."""
    folder = request.folder(row, seed)
    place = score_folder(request, row, seed)
    kept = _kept(request, row, seed)
    if kept is None:
        run = runs.open_run(folder, request.evaluation_overrides())
        summary = _evaluate(run, row, request.definition.protocol, place)
        sizes = [leaf.size for leaf in jax.tree.leaves(run.variables["params"])]
        kept = {"epoch": run.epoch, "parameters": sum(sizes), "summary": summary}
        kept["data"] = data.scored(request, row)
        files.write_json(place / RESULT, kept)
    found = progress.progress(request, row, seed)
    return RunResult(
        seed=seed,
        folder=place,
        summary=kept["summary"],
        parameters=kept["parameters"],
        epochs=found.epochs,
        stopped=found.stopped,
        seconds=found.seconds,
        guide=progress.guide_words(request.config(row, seed)) if row.guide else "",
        rounds=progress.rounds_words(request.config(row, seed), folder),
        devices=str(files.read_json(folder / "versions.json").get("devices", "devices unknown")),
    )


def _evaluate(run: runs.Run, row: Row, protocol: str, place: Path) -> dict[str, Any]:
    if not row.infection:
        return evaluation.evaluate_run(run, protocol=protocol, tta=row.tta, out=place)
    # All classes are scored at once, each into a folder of its own name.
    return evaluation.evaluate_classes(run, protocol=protocol, out=place.parent)[row.infection]


def score_folder(request: Request, row: Row, seed: int) -> Path:
    """Returns where the scores of a run lie: one folder for each way to score it, and dataset."""
    source = data.source_digest(request, row)[:8]
    words = [request.definition.protocol, request.data, *[source] * bool(source)]
    name = "-".join(words + ["flips"] * row.tta)
    return request.folder(row, seed) / name / row.infection


def _kept(request: Request, row: Row, seed: int) -> dict | None:
    """The scores at hand, if they are those of the run's best epoch, on the data as it is now."""
    path = score_folder(request, row, seed) / RESULT
    if not path.is_file():
        return None
    try:
        kept = files.read_json(path)
    except files.FileError:
        return None  # made again from what it was made of
    wanted: dict[str, Any] = {"epoch": progress.best_epoch(request.folder(row, seed))}
    wanted["data"] = data.scored(request, row)
    same = all(kept.get(name) == value for name, value in wanted.items())
    return kept if same and {"summary", "parameters"} <= kept.keys() else None


def _at_hand(request: Request, row: Row) -> RowResult:
    """What can be said of a row without running it: finished seeds, as long as all are."""
    seeds = range(request.seeds)
    try:
        states = [progress.checked(request, row, seed) for seed in seeds]
        finished = all(one.finished for one in states)
        if finished and all(_kept(request, row, seed) is not None for seed in seeds):
            for seed in seeds:
                data.check_trained(request, row, seed)
            return RowResult(row, tuple(score(request, row, seed) for seed in seeds))
    except ValueError as error:
        return RowResult(row, failed=str(error))
    return RowResult(row, pending=PENDING)
