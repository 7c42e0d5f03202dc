"""What is made of scored slices: a row per slice, per case and per volume, a summary, a table."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosup_jax import files, metrics
from cosup_jax.evaluation.protocols import Protocol, ScoredSlice
from cosup_jax.evaluation.truths import Truths
from cosup_jax.metrics import THRESHOLD, Counts

Row = dict[str, Any]
PER_SLICE, SUMMARY = "per_slice.csv", "summary.json"
FILES = (PER_SLICE, "per_case.csv", "per_volume.csv", SUMMARY)
NO_EMPTY_TRUTH = "no slice is without infection: false alarms cannot be judged on this split"


class Scores:
    """Scored slices of a split under one protocol.

    Attributes:
      protocol: how they were scored.
      slices: one row per slice, in the order added: case, patient, slice index, pixels at 0.5,
        measures.
      truths: against what they were scored.
    """

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.slices: list[Row] = []
        self.truths = Truths()
        self._levels: list[Counts] = []

    @property
    def levels(self) -> Counts:
        """The pixels of each slice at the 256 thresholds, (N, 256) each."""
        return Counts(*map(np.stack, zip(*self._levels, strict=True)))

    def add(self, example: Mapping[str, Any], scored: ScoredSlice) -> None:
        """Adds a slice: `case_id`, `patient_id`, `slice_index` of `example` say which."""
        row = {name: example[name] for name in ("case_id", "patient_id", "slice_index")}
        row |= {name: int(n) for name, n in scored.counts._asdict().items()}
        measures = {**self.protocol.ratios(scored.counts, scored.levels), **scored.soft}
        self.slices.append(row | {name: measures[name] for name in self.protocol.measures})
        self._levels.append(scored.levels)

    def cases(self) -> list[Row]:
        """Returns one row per case: ratios of its slices' pixels together, means of the others."""
        groups: dict[str, list[int]] = {}
        for i, row in enumerate(self.slices):
            groups.setdefault(row["case_id"], []).append(i)
        return [self._case(groups[case_id]) for case_id in sorted(groups)]

    def _case(self, members: list[int]) -> Row:
        rows = [self.slices[i] for i in members]
        place = {name: rows[0][name] for name in ("case_id", "patient_id")}
        if len(rows) == 1:  # nothing to take together, as where each slice is a case
            of_one = {name: rows[0][name] for name in (*Counts._fields, *self.protocol.measures)}
            return {**place, "slices": 1, **of_one}
        counts, ratios = self._together(members)
        means = {m: float(np.mean([r[m] for r in rows])) for m in self.protocol.measures}
        return {**place, "slices": len(rows), **counts._asdict(), **means, **ratios}

    def _together(self, members: Iterable[int]) -> tuple[Counts, dict[str, float]]:
        members = list(members)
        counts = Counts(*(sum(self.slices[i][n] for i in members) for n in Counts._fields))
        levels = Counts(
            *(np.sum(n, axis=0) for n in zip(*(self._levels[i] for i in members), strict=True))
        )
        return counts, self.protocol.ratios(Counts(*map(np.asarray, counts)), levels)

    def summary(self, about: Mapping[str, Any], volumes: Sequence[Row] = ()) -> dict[str, Any]:
        """Returns the summary: for each measure mean, standard deviation and n over slices.

        Beside these stand `dice_positive`, over slices with infection only, and `pooled_dice`, of
        all pixels of the split together, since slices without infection flatter the mean;
        `per_case` and `per_volume`, and the mean curve of E_φ by rising threshold, whose greatest
        value salient object detection calls its maximum (`e_phi_max` is that of each slice).

        Args:
          about: what else belongs into it: `split`, `note` and the like.
          volumes: rows of `Volumes.rows`.
        """
        positive = [row for row in self.slices if row["tp"] + row["fn"]]
        empty = len(self.slices) - len(positive)
        cases = self.cases()
        note = [about["note"], "" if empty else NO_EMPTY_TRUTH]
        return {
            "protocol": self.protocol.name,
            "protocol_description": self.protocol.description,
            **about,
            "note": "; ".join(filter(None, note)),
            **{m: spread(row[m] for row in self.slices) for m in self.protocol.measures},
            "dice_positive": spread(row["dice"] for row in positive),
            "pooled_dice": self._together(range(len(self.slices)))[1]["dice"],
            "per_case": {m: spread(row[m] for row in cases) for m in self.protocol.measures},
            "per_volume": summarise_volumes(volumes),
            "threshold": THRESHOLD,
            "empty_masks": self.protocol.empty_masks,
            "empty_truths": empty,
            "truths": self.truths.digests(),
            "e_phi_curve": metrics.e_phi(self.levels).mean(axis=0).round(6).tolist(),
        }


def spread(values: Iterable[float]) -> dict[str, Any]:
    """Returns mean, standard deviation and n of values; NaN and None are left out."""
    known = [v for v in values if v is not None and not np.isnan(v)]
    if not known:
        return {"mean": None, "std": None, "n": 0}
    return {"mean": float(np.mean(known)), "std": float(np.std(known)), "n": len(known)}


def summarise_volumes(rows: Sequence[Row]) -> dict[str, Any]:
    """Returns the spread of each measure over volumes; of distances, which may be ∞, the median."""
    if not rows:
        return {}
    known = [row["hd95_mm"] for row in rows if not np.isnan(row["hd95_mm"])]
    median = float(np.median(known)) if known else np.inf
    return {
        **{m: spread(row[m] for row in rows) for m in ("dice", "surface_dice", "volume_error_ml")},
        "hd95_mm": {
            "median": median if np.isfinite(median) else None,
            "infinite": int(np.isinf(known).sum()),
            "n": len(known),
        },
        "notes": sorted({row["note"] for row in rows} - {""}),
    }


def scored_on(summary: Mapping[str, Any]) -> str:
    """Returns in words what was scored: a split of a dataset, or maps against the truths there."""
    if summary["split"]:
        return f"{summary['dataset']}, {summary['split']} split"
    values = f" (values: {summary['map_values']})" if summary.get("map_values") else ""
    return f"{summary['predictions']}{values} against {summary['dataset']}"


def scored_how(summary: Mapping[str, Any]) -> str:
    """Returns in words how a slice was scored, beyond the name of the protocol."""
    flips = ", averaged over each slice and its mirror image" if summary.get("tta") else ""
    return f"{summary['protocol_description']}{flips}"


def table(summary: Mapping[str, Any]) -> str:
    """Returns the summary as a table to print, protocol and notes included."""
    n_slices, n_cases = summary["dice"]["n"], summary["per_case"]["dice"]["n"]
    note = f" ({summary['note']})" if summary["note"] else ""
    lines = [
        f"{scored_on(summary)}{note}",
        f"protocol {summary['protocol']}: {scored_how(summary)}",
        f"{'measure':<14} {f'mean ± std over {n_slices} slices':>30} {f'over {n_cases} cases':>22}",
    ]
    for m in (name for name in summary["per_case"] if name in summary):
        lines.append(f"{m:<14} {_cell(summary[m]):>30} {_cell(summary['per_case'][m]):>22}")
    positive = summary["dice_positive"]
    lines += [
        f"dice over the {positive['n']} slices with infection: {_cell(positive)}; of all pixels "
        f"together: {summary['pooled_dice']:.4f}",
        f"empty masks: {summary['empty_truths']} slices without infection; "
        f"{summary['empty_masks']}",
    ]
    if "ece" in summary:
        lines.append(f"expected calibration error of all pixels: {summary['ece']:.4f}")
    if "tuned_threshold" in summary:
        tuned = summary["tuned_threshold"]
        lines.append(
            f"at the threshold {tuned['threshold']:.3f}, chosen on {tuned['chosen_on']}: dice "
            f"{_cell(tuned['dice'])}"
        )
    if summary["per_volume"]:
        lines.append(_volume_line(summary["per_volume"]))
    if "lesions" in summary:
        lines += _lesion_lines(summary["lesions"], summary["volume_agreement"])
    return "\n".join(lines)


def _cell(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.4f} ± {found['std']:.4f}" if found["n"] else "none"


def _volume_line(found: Mapping[str, Any]) -> str:
    distance = found["hd95_mm"]
    parts = [f"volumes at 0.5: Dice {_cell(found['dice'])}"]
    if found["volume_error_ml"]["n"]:
        parts.append(f"volume error {_cell(found['volume_error_ml'])} mL")
    if distance["n"]:
        median = "∞" if distance["median"] is None else f"{distance['median']:.1f} mm"
        parts.append(f"surface Dice at 1 mm {_cell(found['surface_dice'])}")
        parts.append(f"HD95 median {median}, ∞ in {distance['infinite']} of {distance['n']}")
    return "; ".join([*parts, *found["notes"]])


def _lesion_lines(found: Mapping[str, Any], agreed: Mapping[str, Any]) -> list[str]:
    lines = []
    for how, end in (("touched", ""), (f"at IoU ≥ {found['overlap']:g}", "_iou")):
        share = found[f"sensitivity{end}"]
        lines.append(
            f"lesions of {found['smallest_ml']:g} mL or more, {how}: {found[f'hits{end}']} of "
            f"{found['lesions']}{'' if share is None else f' ({share:.4f})'}; false positives a "
            f"scan: {found[f'false_positives{end}_per_scan']:.2f}"
        )
    limits = ""
    if agreed["lower_ml"] is not None:
        limits = f", limits of agreement {agreed['lower_ml']:.2f} to {agreed['upper_ml']:.2f} mL"
    return [*lines, f"volume, predicted − true: bias {agreed['bias_ml']:.2f} mL{limits}"]


def write(
    scores: Scores, volumes: Sequence[Row], summary: Mapping[str, Any], folder: Path
) -> list[Path]:
    """Writes those of `FILES` that have rows, and the summary, into `folder`, and returns them."""
    slices = sorted(scores.slices, key=lambda row: (row["case_id"], row["slice_index"]))
    tables = dict(zip(FILES, (slices, scores.cases(), volumes), strict=False))
    written = [folder / name for name, rows in tables.items() if rows]
    for path in written:
        files.write_csv(path, tables[path.name])
    files.write_json(folder / SUMMARY, summary)
    return [*written, folder / SUMMARY]
