"""Times one form of the input pipeline; started by pipeline.py, one process each."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from cosup_jax.data import pipeline, preprocess
from tfds_builders.lung_phantom.lung_phantom_dataset_builder import Builder, LungPhantomConfig

PATIENTS, SLICES = 8, 16
SPLIT = "+".join(["train"] * 8)  # as many slices as a dataset has, without drawing them all
BATCH = 8
CORES = 2
SETTINGS = preprocess.Preprocessing(size=(256, 256))

Times = dict[str, dict[str, float]]


def make_builder(folder: Path) -> tfds.core.DatasetBuilder:
    """Returns the builder of phantoms of 512×512."""
    config = LungPhantomConfig(
        name="pipeline",
        version=Builder.VERSION,
        description="512×512",
        patients={"train": PATIENTS, "validation": 1},
        size=512,
        slices=SLICES,
    )
    return Builder(config=config, data_dir=folder, file_format="array_record")


@contextmanager
def _timed(times: Times, epoch: str, slices: int) -> Iterator[None]:
    seconds, cpu = time.perf_counter(), _cpu()
    yield
    seconds, cpu = time.perf_counter() - seconds, _cpu() - cpu
    times[epoch] = {"slices_per_s": slices / seconds, "cpu_ms": 1e3 * cpu / slices}


def _cpu() -> float:
    """CPU seconds of this process and of those that have ended under it."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _exhaust(batches: Iterable[Any], slices: int) -> None:
    seen = sum(len(batch["image"]) for batch in batches)
    if seen != slices:
        raise AssertionError(f"{seen} slices came out of {slices}")


def ours(builder: tfds.core.DatasetBuilder, epochs: int) -> Times:
    """The pipeline as the training loop uses it."""
    times: Times = {}
    slices = builder.info.splits[SPLIT].num_examples
    steps = slices // BATCH
    with _timed(times, "first", slices):
        dataset = pipeline.open_split(builder, SPLIT, SETTINGS)
        batches = iter(pipeline.train_batches(dataset, batch_size=BATCH, seed=0))
        _exhaust((next(batches) for _ in range(steps)), slices)
    with _timed(times, "later", epochs * slices):
        _exhaust((next(batches) for _ in range(epochs * steps)), epochs * slices)
    return times


def loader(builder: tfds.core.DatasetBuilder, epochs: int, *, keep: bool = False) -> Times:
    """A DataLoader of two workers, that decodes in every epoch or shares what is kept in memory."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    skipped = {"lung": tfds.decode.SkipDecoding()}  # as in the package
    source = builder.as_data_source(split=SPLIT, decoders=skipped)
    torch.set_num_threads(1)

    class Slices(Dataset):
        def __init__(self):
            self.kept = [self._prepare(i) for i in range(len(source))] if keep else []

        def __len__(self):
            return len(source)

        def __getitem__(self, i):
            return self.kept[i] if keep else self._prepare(i)

        def _prepare(self, i):
            prepared = preprocess.prepare_example(source[i], SETTINGS)
            return {
                name: torch.tensor(value) if name in pipeline.DEVICE_FIELDS else value
                for name, value in prepared.items()
            }

    times: Times = {}
    slices = len(source)
    epochs = epochs if keep else 1

    def run(epochs: int) -> None:
        made = DataLoader(dataset, BATCH, shuffle=True, num_workers=2, persistent_workers=True)
        for _ in range(epochs):
            _exhaust(made, slices)

    with _timed(times, "first", slices):
        dataset = Slices()
        run(1)
    with _timed(times, "later", epochs * slices):
        run(epochs)
    return times


JOBS: dict[str, Callable[[tfds.core.DatasetBuilder, int], Times]] = {
    "cosup-jax": ours,
    "DataLoader": loader,
    "DataLoader, kept in memory": lambda builder, epochs: loader(builder, epochs, keep=True),
}


def main(job: str, folder: str, epochs: str) -> None:
    """Times one form and prints JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    print(json.dumps(JOBS[job](make_builder(Path(folder)), int(epochs))))


if __name__ == "__main__":
    main(*sys.argv[1:])
