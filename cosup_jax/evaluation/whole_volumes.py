"""Masks of whole volumes scored: slices, millimetres and millilitres, lesions, agreement."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cosup_jax import metrics
from cosup_jax.evaluation import tables
from cosup_jax.evaluation.folder import BLAND_ALTMAN, renewing
from cosup_jax.evaluation.protocols import Protocol
from cosup_jax.evaluation.volumes import Volumes, without_distances
from cosup_jax.figures import files as figure_files
from cosup_jax.figures import plots
from cosup_jax.metrics import LesionScores
from cosup_jax.metrics.lesions import OVERLAP, SMALLEST_ML
from cosup_jax.scans.geometry import SHEARED

_DESCRIPTION = "masks of whole volumes, at their own size, mean over slices"
_LIMITS = 1.96  # standard deviations to the limits of agreement


class Pair(NamedTuple):
    """The mask of a volume, and the true one.

    Attributes:
      case_id: names the volume.
      patient_id: whose it is.
      pred: (H, W) bool of each slice in the axial view.
      truth: likewise.
      spacing: (z, y, x) in mm; NaN where unknown.
      places: the number of each slice in its volume.
      notes: what a reader must know of it.
      shear: the product of a voxel's sides over its volume, see `Grid.shear`.
      slices: how many the volume has, where these may be some of them; 0 where they are all.
    """

    case_id: str
    patient_id: str
    pred: Sequence[np.ndarray]
    truth: Sequence[np.ndarray]
    spacing: tuple[float, float, float]
    places: Sequence[int]
    notes: Sequence[str] = ()
    shear: float = 1.0
    slices: int = 0


def score(
    pairs: Iterable[Pair], rules: Protocol, about: Mapping[str, Any], out: Path | None
) -> dict[str, Any]:
    """Scores masks slice by slice and volume by volume.

    Args:
      pairs: each volume once.
      rules: by which slices are scored.
      about: what else belongs into the summary, see `tables.Scores.summary`.
      out: where to write the tables, the summary and a Bland-Altman figure; None writes nothing.

    Returns:
      The summary, with `lesions` and `volume_agreement`.
    """
    scores, rows = tables.Scores(rules), []
    for pair in pairs:
        collected = Volumes(slices={pair.case_id: pair.slices})
        for index, pred, truth in zip(pair.places, pair.pred, pair.truth, strict=True):
            place = {
                "case_id": pair.case_id,
                "patient_id": pair.patient_id,
                "slice_index": index,
                "spacing": pair.spacing,
            }
            scores.add(place, rules.score(pred.astype(np.float64), truth))
            scores.truths.add(place, truth, truth)
            collected.add(place, pred.astype(np.float64), truth)
        (row,) = collected.rows()
        fault = row["note"]
        lesions: dict[str, int | None] = dict.fromkeys(LesionScores._fields)
        if not fault:  # the slices are a whole volume of known size
            masks = np.stack(pair.pred), np.stack(pair.truth)
            lesions |= metrics.lesion_scores(*masks, pair.spacing)._asdict()
        if abs(pair.shear - 1) > SHEARED:
            row = without_distances(row)
        note = "; ".join(filter(None, [row.pop("note"), *pair.notes]))
        rows.append({**row, **lesions, "note": note})
    if not rules.stretched:
        about = {"protocol_description": _DESCRIPTION, **about}
    summary = scores.summary(about, rows)
    if any(row["lesions"] is not None for row in rows):
        summary["lesions"] = summarise_lesions(rows)
        summary["volume_agreement"] = agreement(rows)
    if out is not None:
        with renewing(out) as written:
            written += tables.write(scores, rows, summary, out)
            volumes = [(row["true_volume_ml"], row["volume_ml"]) for row in rows]
            known = np.array([pair for pair in volumes if not np.isnan(pair).any()])
            if len(known):
                figure_files.save(plots.bland_altman(*known.T), out / BLAND_ALTMAN)
                written.append(out / f"{BLAND_ALTMAN}.png")
    return summary


def summarise_lesions(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns lesion-wise sensitivity and false positives a scan, of all volumes together.

    Rows whose `lesions` are None, as nothing could be counted, are left out; `scans` says of how
    many the others are.
    """
    rows = [row for row in rows if row["lesions"] is not None]
    total = {name: sum(row[name] for row in rows) for name in LesionScores._fields}
    count = total["lesions"]
    return {
        **total,
        "sensitivity": total["hits"] / count if count else None,
        "sensitivity_iou": total["hits_iou"] / count if count else None,
        "false_positives_per_scan": total["false_positives"] / len(rows),
        "false_positives_iou_per_scan": total["false_positives_iou"] / len(rows),
        "smallest_ml": SMALLEST_ML,
        "overlap": OVERLAP,
        "scans": len(rows),
    }


def agreement(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns bias and limits of agreement of the volumes, predicted minus true, in mL.

    Limits are bias ± 1.96 standard deviations (of a sample); None of a single volume (Bland and
    Altman 1986). Volumes of unknown size are left out.
    """
    apart = np.array([row["volume_ml"] - row["true_volume_ml"] for row in rows])
    apart = apart[~np.isnan(apart)]
    bias = float(apart.mean())
    wide = _LIMITS * float(apart.std(ddof=1)) if len(apart) > 1 else math.nan
    limits = (bias - wide, bias + wide) if len(apart) > 1 else (None, None)
    return {"bias_ml": bias, "lower_ml": limits[0], "upper_ml": limits[1], "n": len(apart)}
