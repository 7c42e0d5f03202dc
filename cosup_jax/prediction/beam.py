"""A cohort on Apache Beam (extra `beam`): one element a scan, the network loaded once a worker.

Beam spreads the scans over workers and starts again what a lost one had; what a scan leaves, and
where, is the work of `cohort`. Workers must see the scans, the weights and the folder for results
under the same paths.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cosup_jax import weights
from cosup_jax.data import datasets
from cosup_jax.prediction import cohort, table
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.prediction.settings import CohortError, Settings
from cosup_jax.scans.find import Source

# Which work on this machine, in processes of their own. Beam's DirectRunner may look for a program
# of another, which it downloads.
_LOCAL = ("FnApiRunner", "DirectRunner")


def process(
    sources: Sequence[Source],
    out: Path,
    network: str,
    settings: Settings,
    *,
    runner: str,
    options: str = "",
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """Processes scans as `cohort.process` does, on a runner of Beam.

    Args:
      sources: from `scans.find`.
      out: the folder for results.
      network: what `weights.load_pretrained` takes.
      settings: see `Settings`.
      runner: `FnApiRunner` for processes on this machine, or the name of another that Beam has.
      options: of Beam, `key=value,key=value`.
      workers: how many, of a local runner; None for one a processor.

    Returns:
      one row for each scan, as `cohort.process`.

    Raises:
      CohortError: the folder for results cannot be used, or a scan has left no record.
      ImportError: Apache Beam is not installed.
    """
    if workers is not None and runner not in _LOCAL:
        raise CohortError(f"--workers is for {_LOCAL[0]}; {runner} has its own option for them")
    given = [f"runner={runner}"]
    if runner in _LOCAL:
        given = ["direct_running_mode=multi_processing"]
        given.append(f"direct_num_workers={workers or os.cpu_count() or 1}")
    arranged = datasets.beam_pipeline(",".join(filter(None, [*given, options])))
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    folder = cohort.open_folder(out, weights.load_pretrained(network), settings)
    places = cohort.by_place(sources)
    names = cohort.names_of(places)
    work = functools.partial(_process, out=out.resolve(), network=network, settings=settings)
    local = FnApiRunner() if runner in _LOCAL else None
    with beam.Pipeline(runner=local, options=arranged) as pipeline:
        scans = pipeline | beam.Create([(s, names.get(place, "")) for place, s in places.items()])
        _ = scans | beam.Reshuffle() | beam.MapTuple(work)
    cohort.forget_others(folder, places, settings)
    found = {record.place: record for record in folder.records() if not record.earlier}
    if missing := [source for place, source in places.items() if place not in found]:
        raise CohortError(f"{missing[0].path}: no worker has left a record of it in {out}")
    return [table.row(found[place], folder.call) for place in places]


def _process(source: Source, name: str, *, out: Path, network: str, settings: Settings) -> None:
    _scans(out, network, settings).process(source, wait=True, name=name)


@functools.cache
def _scans(out: Path, network: str, settings: Settings) -> cohort.Scans:
    """Returns what a worker processes scans with, made once in its life."""
    loaded = weights.load_pretrained(network)
    folder = cohort.open_folder(out, loaded, settings, table_at_end=True)
    segmenter = Segmenter(loaded, tta=settings.tta)
    return cohort.Scans(folder, loaded, segmenter, settings, tqdm(disable=True))
