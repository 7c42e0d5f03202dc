"""Which scans are worth correcting first: those of which the network is least sure.

A slice and its mirror image show the same disease, so that a network that is sure of it marks both
alike. Two figures, both over the lungs: the mean entropy of the two probabilities' mean, in bits,
and the share of the lungs that only one of the two marks. Scans are listed by the mean of their
ranks in the two.
"""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import entr
from scipy.stats import rankdata
from tqdm import tqdm

from cosup_jax import __version__, files, metrics, weights
from cosup_jax.prediction import cohort, lungs
from cosup_jax.prediction.folder import Folder
from cosup_jax.prediction.lung_tissue import LungError
from cosup_jax.prediction.records import DONE
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.prediction.settings import Settings
from cosup_jax.prediction.table import Call
from cosup_jax.scans.results import UNCERTAIN
from cosup_jax.scans.scan import Scan
from cosup_jax.scans.source import Source

COLUMNS = (
    *("rank", "scan", "entropy_bits", "mirror_percent", "mirror_ml", "reason"),
    *("sha256", "weights", "threshold", "hu_offset", "version"),
)
_KEY = ("sha256", "weights", "threshold", "hu_offset", "version")
_NO_LUNGS = "no lungs to measure it in: {}"


class Doubt(NamedTuple):
    """How unsure a network is of one scan.

    Attributes:
      entropy_bits: mean entropy of a voxel of the lungs, 0 to 1; None where there are no lungs.
      mirror_percent: of the lungs, marked in the scan or in its mirror image but not in both.
      mirror_ml: the same in mL.
      reason: why there are no figures; empty where there are.
    """

    entropy_bits: float | None
    mirror_percent: float | None
    mirror_ml: float | None
    reason: str = ""


def measure(
    scan: Scan, segmenter: Segmenter, threshold: float, find: lungs.Finder = lungs.find_by_both
) -> Doubt:
    """Measures how unsure a network is of a scan.

    Args:
      scan: in HU and of a known spacing, or nothing can be measured.
      segmenter: of the network, which does not average over mirror images itself.
      threshold: probability above which a voxel is marked.
      find: finds the lungs.
    """
    if scan.intensity != "hu" or scan.spacing is None:
        return _unknown("they are found in HU of a known spacing only")
    try:
        lung = find(scan.true_slices(), scan.spacing).labels > 0
    except LungError as error:
        return _unknown(str(error))
    count, voxels = len(scan.slices), int(np.count_nonzero(lung))
    boxes = segmenter.boxes((scan.values(i) for i in range(count)), scan.intensity)
    turned_boxes = boxes and [
        tuple((rows, _turned(columns, lung.shape[2])) for rows, columns in views) for views in boxes
    ]
    plain = segmenter.labelled((scan.values(i) for i in range(count)), scan.intensity, count, boxes)
    turned = (np.ascontiguousarray(scan.values(i)[:, ::-1]) for i in range(count))
    mirrored = segmenter.labelled(turned, scan.intensity, count, turned_boxes)
    entropy, apart = 0.0, 0
    for inside, (one, _), (other, _) in zip(lung, plain, mirrored, strict=True):
        one, other = one[inside], other[:, ::-1][inside]
        mean = (one.astype(np.float64) + other) / 2
        entropy += float((entr(mean) + entr(1 - mean)).sum()) / np.log(2)
        apart += int(np.count_nonzero((one > threshold) != (other > threshold)))
    return Doubt(entropy / voxels, 100 * apart / voxels, apart * metrics.voxel_ml(scan.spacing))


def _turned(columns: slice, width: int) -> slice:
    """Returns where columns are in the mirror image."""
    return slice(width - columns.stop, width - columns.start)


def _unknown(why: str) -> Doubt:
    return Doubt(None, None, None, _NO_LUNGS.format(why))


def rank(
    sources: Sequence[Source],
    results: Sequence[Mapping[str, Any]],
    out: Path,
    network: weights.Pretrained,
    settings: Settings,
) -> list[dict[str, Any]]:
    """Measures scans that were predicted, ranks them, and writes `uncertain.csv`.

    Scans that failed are left out, and those whose masks somebody has corrected. What the table
    holds already, of the same scan and network, is not measured again.

    Args:
      sources: from `scans.find`.
      results: what `cohort.process` returned of them.
      out: the folder for results.
      network: from `load_pretrained`.
      settings: of the call.

    Returns:
      a row for each scan, the one to correct first in front; those that cannot be measured last.
    """
    of_call = {
        "weights": network.digest,
        "threshold": settings.threshold,
        "hu_offset": "" if settings.hu_offset is None else settings.hu_offset,
        "version": __version__,
    }
    call = Call(network.digest, settings.kept(), __version__)
    corrected = {r.content for r in Folder(out, call).records() if r.is_corrected()}
    if network.crop == weights.MIRRORED:  # what has been averaged over both says the same of both
        network = dataclasses.replace(network, crop=weights.VOLUME)
    segmenter, known = Segmenter(network), _read(out / UNCERTAIN)
    places: dict[str, Source] = {}
    for source in sources:
        places.setdefault(cohort.place_of(source), source)
    rows: dict[str, dict[str, Any]] = {}
    pairs = list(zip(places.values(), results, strict=True))
    for source, done in tqdm(pairs, desc="uncertainty", unit="scan", disable=len(pairs) < 2):
        content = done["sha256"]
        if done["status"] != DONE or content in corrected or content in rows:
            continue
        key = (content, *map(str, of_call.values()))
        doubt = known.get(key) or measure(
            source.read(settings.hu_offset), segmenter, settings.threshold
        )
        rows[content] = {"scan": done["scan"], **doubt._asdict(), "sha256": content, **of_call}
        files.write_csv(out / UNCERTAIN, _ranked(list(rows.values())), COLUMNS)
    return _ranked(list(rows.values()))


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    measured = [row for row in rows if row["entropy_bits"] is not None]
    ranks = [
        rankdata([-row[name] for row in measured], "min").astype(int)
        for name in ("entropy_bits", "mirror_percent")
    ]
    order = sorted(zip(*ranks, measured, strict=True), key=_by_both_ranks)
    found = []
    for i, (by_entropy, by_mirror, row) in enumerate(order, 1):
        reason = (
            f"mean entropy in the lungs {row['entropy_bits']:.4f} bit, number {by_entropy} of "
            f"{len(order)}; its mirror image is marked otherwise on {row['mirror_percent']:.2f} % "
            f"of the lungs ({row['mirror_ml']:.1f} mL), number {by_mirror}"
        )
        found.append({"rank": i, **row, "reason": reason})
    return found + [{"rank": None, **row} for row in rows if row["entropy_bits"] is None]


def _by_both_ranks(one: tuple[Any, ...]) -> tuple[Any, ...]:
    by_entropy, by_mirror, row = one
    return by_entropy + by_mirror, by_entropy, row["scan"]


def _read(path: Path) -> dict[tuple[str, ...], Doubt]:
    """Returns what an earlier call measured, by scan and call; nothing of a damaged table."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {tuple(row[name] for name in _KEY): _doubt(row) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def _doubt(row: Mapping[str, str]) -> Doubt:
    if not row["entropy_bits"]:
        return Doubt(None, None, None, row["reason"])
    entropy, percent, volume = (float(row[name]) for name in Doubt._fields[:3])
    return Doubt(entropy, percent, volume)
