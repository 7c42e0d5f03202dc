"""Mutated texts and checkpoints of a finished run, and files of its dataset; see `mutations`."""

import functools
import json
import shutil
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cosup_jax import config as configuration
from cosup_jax import figures, runs
from cosup_jax.data import datasets, people
from cosup_jax.data.records import Records
from cosup_jax.evaluation import comparison, scoring, side_by_side
from cosup_jax.runs import checkpoints, integrity, logs, stored
from cosup_jax.runs.progress import progress_of
from cosup_jax.training import provenance, rounds
from tests.fuzzing.mutations import Target, mutate_bytes, mutate_json

TEXTS = ("config.json", "data.json", "metrics.jsonl")


def targets(run: Path) -> dict[str, Target]:
    """Returns the targets by name; `run` as in `targets.all_of`."""
    return _texts(run) | _checkpoints(run) | _dataset(run)


def _texts(run: Path) -> dict[str, Target]:
    builder = datasets.make_builder(
        "lung_phantom", config="tiny", data_dir=str(run.parent / "tfds")
    )
    config = runs.read_config(run)
    content = {name: (run / name).read_bytes() for name in TEXTS}

    def open_config(place: Path) -> object:
        opened = runs.read_config(place)
        return runs.build_model(opened), runs.preprocessing(opened)

    def describe(place: Path) -> object:
        opened = types.SimpleNamespace(workdir=place, config=config, note="")
        return scoring.notes(opened, builder, "test", asked=True)

    def start_from(place: Path) -> object:
        tuned = config.copy_and_resolve_references()
        tuned.init = str(place)
        uses = provenance.uses(tuned, builder)
        people.check_uses(builder, uses, provenance.trained_before(tuned.init))
        return provenance.whose(tuned, builder)

    def go_on(place: Path) -> object:
        kept = runs.read_data(place)
        return provenance.is_same(kept, builder, ["train", "validation"])

    def draw(place: Path) -> object:
        rows = logs.read_metrics(place)
        logs.history(place, 1, rows[:1])
        return figures.learning_curves({"run": rows}) if rows else None

    def compare(place: Path) -> object:
        methods = {"one": [comparison.read(place)], "other": [comparison.read(run)]}
        rows = comparison.compare(methods, "dice")
        tables = side_by_side.scores_table(methods), side_by_side.cases_table(methods, "dice")
        said = side_by_side.headings(methods), side_by_side.notes(methods)
        return tables, side_by_side.differences_table(rows), said

    def differ(place: Path) -> object:
        other = (place / "x.json").read_text(errors="replace")
        return configuration.differences(content["config.json"].decode(), other)

    def beside(place: Path) -> None:
        for name in TEXTS:
            (place / name).write_bytes(content[name])

    def text(name: str, read: Callable[[Path], object], *, slow: bool = False) -> Target:
        return Target(name, (content[name],), read, mutate_json, beside, slow)

    summary = (run / "evaluation/summary.json").read_bytes()
    scores = (run / "evaluation/per_slice.csv").read_bytes()
    return {
        "config.json": text("config.json", open_config),
        "configurations compared": Target("x.json", (content["config.json"],), differ, mutate_json),
        "data.json": text("data.json", describe),
        "data.json of the run before": text("data.json", start_from),
        "data.json of a run that goes on": text("data.json", go_on),
        "metrics.jsonl": text("metrics.jsonl", draw, slow=True),
        "summary.json": Target(
            *("summary.json", (summary,), compare, mutate_json),
            lambda place: (place / "per_slice.csv").write_bytes(scores),
            slow=True,
        ),
        "per_slice.csv": Target(
            *("per_slice.csv", (scores,), compare, mutate_bytes),
            lambda place: (place / "summary.json").write_bytes(summary),
            slow=True,
        ),
        "selection.jsonl": Target(
            rounds.SELECTION, (_selection(),), lambda p: rounds.read_selection(p, 2), mutate_json
        ),
    }


def _selection() -> bytes:
    rows = [{"file": f"{i}.png", "round": 1 + i // 2, "confidence": 0.5} for i in range(6)]
    return "\n".join(map(json.dumps, rows)).encode()


def _checkpoints(run: Path) -> dict[str, Target]:
    """What is accepted of a checkpoint must be what was written."""
    folder = run / checkpoints.FOLDER
    best, number, _ = checkpoints.find_best(run)
    whole, written = stored.look(folder, number), integrity.names(best)

    def beside(place: Path, record: bytes | None = None) -> None:
        there = place / checkpoints.FOLDER / str(number)
        shutil.copytree(folder / str(number), there)
        if record is not None:
            (there / stored.PROGRESS / "metadata").write_bytes(record)

    def read(place: Path) -> object:
        found = integrity.names(checkpoints.find_best(place)[0])
        assert found.keys() == written.keys()
        assert all(np.array_equal(found[name], written[name]) for name in written)

    def look(place: Path) -> object:
        found = stored.look(place / checkpoints.FOLDER, number)
        return progress_of(found), stored.layouts(found)

    def target(path: Path, mutate, reader=read, slow: bool = True) -> Target:
        name = str(path.relative_to(run))
        return Target(name, (path.read_bytes(),), reader, mutate, beside, slow)

    state = whole.path / stored.STATE
    arrays = max(state.glob("**/d/*"), key=lambda path: path.stat().st_size)
    record = whole.path / stored.PROGRESS / "metadata"
    kept = json.loads(record.read_bytes())
    earlier = {name: kept[name] for name in ("epoch", "iterator", "stopping")}
    content = json.dumps(earlier | {"best_dice": whole.merit}).encode()
    return {
        "checkpoint: record": target(record, mutate_json, look, slow=False),
        "checkpoint: record of an earlier version": Target(
            *(str(record.relative_to(run)), (content,), look, mutate_json),
            functools.partial(beside, record=content),
            slow=True,
        ),
        "checkpoint: measure": target(
            whole.path / stored.METRICS / "metrics", mutate_json, look, slow=False
        ),
        "checkpoint: names of arrays": target(state / "_METADATA", mutate_json),
        "checkpoint: manifest": target(state / "manifest.ocdbt", mutate_bytes),
        "checkpoint: arrays": target(arrays, mutate_bytes),
    }


def _dataset(run: Path) -> dict[str, Target]:
    tfds = run.parent / "tfds"
    version = next(tfds.glob("lung_phantom/tiny/*.*.*"))

    def read(place: Path) -> object:
        builder = datasets.make_builder("lung_phantom", config="tiny", data_dir=str(place))
        datasets.prepare(builder)
        people.people(builder, "train")
        return datasets.describe(builder), [*Records(builder, "train")]

    def target(path: Path, mutate) -> Target:
        name = str(path.relative_to(tfds))
        beside = functools.partial(shutil.copytree, tfds, dirs_exist_ok=True)
        return Target(name, (path.read_bytes(),), read, mutate, beside, slow=True)

    return {
        "dataset: records": target(next(version.glob("*train.array_record*")), mutate_bytes),
        "dataset: dataset_info.json": target(version / "dataset_info.json", mutate_json),
        "dataset: features.json": target(version / "features.json", mutate_json),
        "dataset: metadata.json": target(version / "metadata.json", mutate_json),
    }
