"""Scans one after another: masks, findings, pages, and one table of all of them.

Each scan has a folder of its own, made under another name and renamed when it is complete, with
`findings.json` in it: the row of the table, and what it was made of. A scan whose input, weights
and settings are still the same is not computed again.
"""

import csv
import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from cosup_jax import __version__, models, report, weights
from cosup_jax.metrics import THRESHOLD
from cosup_jax.prediction import findings
from cosup_jax.prediction.segment import Segmenter
from cosup_jax.scans import kinds
from cosup_jax.scans.find import Source
from cosup_jax.scans.scan import Scan

TABLE, RECORD = "cohort.csv", "findings.json"
COLUMNS = ("scan", "input", "status", "reason", *findings.FIELDS, "seconds", "notes", "sha256")
DONE, FAILED = "done", "failed"
_DIGITS = {"lesion_mean_hu": 1, "lung_ml": 1}
# What a bad scan raises; anything else is a fault of this package and stops the cohort.
_BAD_SCAN = (ValueError, OSError, MemoryError)


class CohortError(ValueError):
    """A folder for results that cannot be used; the message says why."""


@dataclass(frozen=True)
class Settings:
    """What decides the results besides scan and weights.

    Attributes:
      threshold: probability above which a voxel is infection.
      tta: average over each slice and its mirror image.
      probability: write the probabilities too.
      report: write a page for each scan.
      identify: DICOM scans keep the name of their folder or zip in the table and in file names.
      series: number of the DICOM series to read where there are several.
      hu_offset: what is to be added to the values to make them HU; None: the scan tells.
    """

    threshold: float = THRESHOLD
    tta: bool = False
    probability: bool = False
    report: bool = False
    identify: bool = False
    series: int | None = None
    hu_offset: float | None = None

    def __post_init__(self) -> None:
        """Checks the threshold."""
        if not 0 < self.threshold < 1:
            raise CohortError(f"--threshold={self.threshold}: expected a number between 0 and 1")


def process(
    sources: Sequence[Source], out: Path, network: weights.Pretrained, settings: Settings
) -> list[dict[str, Any]]:
    """Processes scans, going on where an earlier call was interrupted.

    Args:
      sources: from `scans.find`.
      out: the folder for results; made where it is missing.
      network: from `load_pretrained`.
      settings: see `Settings`.

    Returns:
      one row for each scan, as written to `cohort.csv`; `status` is `done` or `failed`.

    Raises:
      CohortError: a folder of results is in the way that this function has not made, or the folder
        for results cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CohortError(f"--out={out}: {error.strerror}") from error
    segmenter = Segmenter(network, tta=settings.tta)
    rows: list[dict[str, Any]] = []
    with tqdm(sources, unit="scan", disable=len(sources) < 2) as bar:
        for source in bar:
            row = _process_one(source, out, network, segmenter, settings)
            if row["status"] == FAILED:
                bar.write(f"{source.path}: {row['reason']}")
            elif row["scan"] != source.name:
                # The only place where the two names stand together.
                bar.write(f"{source.path} is {row['scan']}")
            rows.append(row)
            write_table(out / TABLE, rows, columns(network))
    return rows


def classes(network: weights.Pretrained) -> tuple[str, ...]:
    """Returns the classes of infection that a network tells apart; nothing where it has one."""
    return kinds.CLASSES[: models.count_classes(network.model) - 1]


def columns(network: weights.Pretrained) -> tuple[str, ...]:
    """Returns `COLUMNS`, with those of the classes behind the other findings."""
    place = COLUMNS.index(findings.FIELDS[-1]) + 1
    fields = [field for name in classes(network) for field in findings.class_fields(name)]
    return (*COLUMNS[:place], *fields, *COLUMNS[place:])


def _process_one(
    source: Source,
    out: Path,
    network: weights.Pretrained,
    segmenter: Segmenter,
    settings: Settings,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "scan": source.name or _pseudonym(str(source.path.resolve())),
        "input": str(source.path) if source.kind != "dicom" or settings.identify else "",
    }
    unfinished = out / f".{row['scan']}.unfinished"
    try:
        row["sha256"] = source.digest()
        if not source.name:
            row["scan"] = _pseudonym(row["sha256"])
        made_of = {
            "input": row["sha256"],
            "weights": network.digest,
            "settings": dataclasses.asdict(settings),
            "version": __version__,
        }
        folder = out / row["scan"]
        if (finished := _finished(folder, made_of)) is not None:
            return finished | row
        started = time.perf_counter()
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        row |= _results(source, unfinished, network, segmenter, settings, row)
        row |= {"status": DONE, "seconds": round(time.perf_counter() - started, 1)}
        record = {"made_of": made_of, "row": row}
        (unfinished / RECORD).write_text(json.dumps(record, indent=2) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except CohortError:
        raise
    except _BAD_SCAN as error:
        hidden = source.kind == "dicom" and not settings.identify
        logging.debug("%s: %r", source.path, error)
        shutil.rmtree(unfinished, ignore_errors=True)
        row |= {"status": FAILED, "reason": _reason(error, hidden)}
    return row


def _reason(error: Exception, hidden: bool) -> str:
    """Returns what went wrong, without the names of files where these are to be hidden."""
    if hidden and isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__


def _pseudonym(text: str) -> str:
    return f"scan_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _finished(folder: Path, made_of: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the row of a finished scan, or None where it has to be computed."""
    if not folder.exists():
        return None
    try:
        record = json.loads((folder / RECORD).read_text())
        return record["row"] if record["made_of"] == made_of else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CohortError(
            f"{folder}: is there, but holds no results of this command; give another --out"
        ) from error


def _results(
    source: Source,
    folder: Path,
    network: weights.Pretrained,
    segmenter: Segmenter,
    settings: Settings,
    row: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes the results of one scan into a folder and returns its findings."""
    scan = source.read(settings.series, settings.hu_offset)
    count = len(scan.slices)
    kept, masks, labels = [], [], []  # labels: of a network that tells classes apart
    names = classes(network)
    values = (scan.values(i) for i in range(count))
    found = segmenter.labelled(values, scan.intensity, count)
    for probability, likeliest in tqdm(found, row["scan"], count, unit="slice", leave=False):
        masks.append(probability > settings.threshold)
        if names:
            labels.append(likeliest * masks[-1])
        if settings.probability or settings.report:
            kept.append(np.rint(probability * 255).astype(np.uint8))
    scan.save(folder, "mask", [mask.astype(np.uint8) for mask in masks])
    if names:
        scan.save(folder, "classes", labels)
    if settings.probability:
        scan.save(folder, "probability", kept)
    true = scan.true_slices()
    result = findings.describe(
        *(true, masks),
        intensity=scan.intensity,
        spacing=scan.spacing,
        unknown=scan.unknown,
        shear=scan.shear,
    )
    if names:
        findings.add_classes(result, labels, names, scan.spacing, scan.unknown)
    if settings.report:
        _write_page(folder / "report.html", scan, true, masks, kept, result, network, settings, row)
    whys: dict[str, list[str]] = {}
    for name, reason in result.reasons.items():
        whys.setdefault(reason, []).append(name)
    notes = [*scan.notes, *result.notes]
    notes += [f"no {', '.join(names)}: {reason}" for reason, names in whys.items()]
    return {**_rounded(result.values), "notes": "; ".join(notes)}


def _rounded(values: Mapping[str, float | int | None]) -> dict[str, float | int | None]:
    return {
        name: round(value, _DIGITS.get(name, 3)) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _write_page(
    path: Path,
    scan: Scan,
    slices: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    probabilities: Sequence[np.ndarray],
    result: findings.Findings,
    network: weights.Pretrained,
    settings: Settings,
    row: Mapping[str, Any],
) -> None:
    options = [f"--threshold={settings.threshold}"] + ["--tta"] * settings.tta
    provenance = {
        "input": f"sha256 {row['sha256']}",
        "weights": f"{network.name}, sha256 {network.digest}",
        "version": f"cosup-jax {__version__}",
        "command": f"python -m cosup_jax predict {row['scan']} --report {' '.join(options)}",
    }
    report.write_page(
        path,
        title=row["scan"],
        volume=_stack(slices),
        mask=_stack(masks),
        probability=_stack(probabilities) / np.float32(255),
        spacing=scan.spacing,
        intensity="hu" if scan.intensity == "hu" else "grey",
        findings=_rounded(result.values),
        reasons=result.reasons,
        provenance=provenance,
        notes=(*scan.notes, *result.notes),
    )


def _stack(slices: Sequence[np.ndarray]) -> np.ndarray:
    """Returns (Z, H, W); slices smaller than others lie in the upper left corner."""
    shape = np.max([pixels.shape for pixels in slices], axis=0)
    stacked = np.zeros((len(slices), *shape), np.result_type(*slices))
    for place, pixels in zip(stacked, slices, strict=True):
        place[: pixels.shape[0], : pixels.shape[1]] = pixels
    return stacked


def write_table(
    path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str] = COLUMNS
) -> None:
    """Writes the rows as CSV with the columns `names`; the file is replaced as a whole.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    unfinished.replace(path)


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in (*"=+-@\t\r",) else value
