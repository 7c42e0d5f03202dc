"""One patient at several dates: volumes and shares of the lungs, and how they have changed.

A date is the folder that `predict` has made of one scan. Its figures are those of its record as
long as the mask is the one that was written; of a corrected mask they are worked out anew, from the
scan where the record tells where it lies, and otherwise from the mask alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cosup_jax import figures, metrics
from cosup_jax.data import results_folder
from cosup_jax.evaluation import corrected_masks
from cosup_jax.evaluation.side_by_side import markdown
from cosup_jax.prediction import records
from cosup_jax.scans import results
from cosup_jax.scans.nifti import VolumeError

# What is told of a date: field of the findings, in words, digits.
MEASURES = {
    "lesion_ml": ("infection, mL", 1),
    "lung_ml": ("lungs, mL", 0),
    "lung_percent": ("infection, % of the lungs", 1),
    "right_lesion_ml": ("infection on the right side, mL", 1),
    "left_lesion_ml": ("infection on the left side, mL", 1),
    "right_lung_percent": ("infection, % of the right lung", 1),
    "left_lung_percent": ("infection, % of the left lung", 1),
    "lesions": ("lesions", 0),
    "largest_lesion_ml": ("largest lesion, mL", 1),
    "lesion_mean_hu": ("mean of the infection, HU", 0),
}
_EXACT = 6  # digits of a change, without what subtracting leaves behind them
_BREATH = 0.15  # of the lungs' volume; more is another breath, or another part of the lungs


class DatesError(ValueError):
    """Something that is no result of one scan; the message names the folder."""


@dataclass(frozen=True)
class Date:
    """The results of one scan.

    Attributes:
      name: what it is called.
      values: by field of `MEASURES`; None where it is not known.
      notes: what the user should know of it, and why something is not known.
      made_of: of its record.
      corrected: somebody has changed the mask.
      patient: PatientID of its DICOM Segmentation; empty where there is none, or it cannot be read.
      day: StudyDate of it, YYYYMMDD, or empty.
    """

    name: str
    values: Mapping[str, float | None]
    notes: tuple[str, ...]
    made_of: Mapping[str, Any]
    corrected: bool
    patient: str = ""
    day: str = ""


def read(folder: Path, name: str) -> Date:
    """Reads the results of one scan.

    Args:
      folder: that of the scan, or one with the results of a single scan in it.
      name: what to call it.

    Raises:
      DatesError: no results, results of several scans, or none but a failure.
    """
    place = _one(folder)
    record = records.read(place)
    if record is None:
        raise DatesError(f"{place / results.RECORD}: is damaged; predict the scan again")
    if not record.done:
        raise DatesError(f"{place}: has no mask: {record.row.get('reason') or 'it failed'}")
    corrected = record.is_corrected()
    if corrected:
        values, notes = corrected_masks.measure(place, tuple(MEASURES))
    else:
        values = {field: record.row.get(field) for field in MEASURES}
        notes = tuple(filter(None, [_of_what(record), str(record.row.get("notes") or "")]))
    notes += tuple(filter(None, [results_folder.unread(place, record.sizes)]))
    for field, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            raise DatesError(f"{place / results.RECORD}: {field} is {value!r}; expected a number")
    return Date(name, values, notes, record.made_of, corrected, *_whose(place))


def _of_what(record: records.Record) -> str:
    """Returns why the figures of a record may not be those of the mask that lies there."""
    if record.digests is None:
        return (
            "its record, of an earlier version, does not tell whether its mask was corrected; "
            f"{records.AS_PREDICTED}"
        )
    lost = record.lost_mask()
    return f"{lost}; {records.AS_PREDICTED}" if lost else ""


def _whose(place: Path) -> tuple[str, str]:
    """Returns PatientID and StudyDate of results, empty where they say nothing."""
    path = place / results.SEGMENTATION
    if not path.is_file():
        return "", ""
    try:
        from cosup_jax.scans import dicom_whose
    except ImportError:  # without the extra `dicom` nobody knows
        return "", ""
    try:
        return dicom_whose.read(path)
    except VolumeError:
        return "", ""


def _one(folder: Path) -> Path:
    if not folder.is_dir():
        raise DatesError(f"{folder}: no such folder; expected the results of one scan")
    if results.is_here(folder):
        return folder
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and results.is_here(path)]
    if len(inside) != 1:
        named = f", such as {inside[0]}" if inside else ""
        raise DatesError(
            f"{folder}: holds the results of {len(inside)} scans; expected the folder that predict "
            f"has made of one scan{named}"
        )
    return inside[0]


def rows(dates: Sequence[Date]) -> list[dict[str, Any]]:
    """Returns a row for each measure: each date's value, and the change since the first date.

    The change is the difference in the measure's own unit, and in per cent of the first value
    where that is above 0 and the measure is a volume.
    """
    first = dates[0]
    found = []
    for field, (words, _) in MEASURES.items():
        row: dict[str, Any] = {"measure": field, "description": words}
        row |= {f"at {date.name}": date.values[field] for date in dates}
        for date in dates[1:]:
            change, share = _change(first.values[field], date.values[field])
            row[f"change to {date.name}"] = change
            row[f"change to {date.name}, %"] = share if field.endswith("_ml") else None
        found.append(row)
    return found


def _change(before: float | None, now: float | None) -> tuple[float | None, float | None]:
    if before is None or now is None:
        return None, None
    change = round(now - before, _EXACT)
    return change, 100 * (now - before) / before if before > 0 else None


def table(dates: Sequence[Date]) -> str:
    """Returns the rows as Markdown, with what a reader must know of them."""
    cells = []
    for row in rows(dates):
        digits = MEASURES[row["measure"]][1]
        line = [row["description"], *(_cell(row[f"at {date.name}"], digits) for date in dates)]
        for date in dates[1:]:
            change = _cell(row[f"change to {date.name}"], digits, "+")
            share = _cell(row[f"change to {date.name}, %"], 0, "+")
            line.append(f"{change} ({share} %)" if share else change)
        cells.append(line)
    changes = [f"change to {date.name}" for date in dates[1:]]
    head = ["measure", *(date.name for date in dates), *changes]
    return "\n\n".join([markdown(head, cells), *(f"Note: {note}." for note in notes(dates))])


def figure(dates: Sequence[Date]) -> Figure:
    """Draws the volumes of both sides, where they are known of all dates, and the share of lung."""
    sides = {"right side": "right_lesion_ml", "left side": "left_lesion_ml"}
    if any(date.values[field] is None for date in dates for field in sides.values()):
        sides = {"both sides": "lesion_ml"}
    lesions = {
        date.name: {
            part: value
            for part, field in sides.items()
            if (value := date.values[field]) is not None
        }
        for date in dates
    }
    shares = {
        date.name: math.nan if (value := date.values["lung_percent"]) is None else value
        for date in dates
    }
    return figures.dates(lesions, shares)


def _cell(value: float | None, digits: int, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign},.{metrics.places(value, digits)}f}"


def notes(dates: Sequence[Date]) -> list[str]:
    """Returns what stands between the figures and the patient, and what is said of each date."""
    first, found = dates[0], []
    for one, other in combinations(dates, 2):
        found += _of_whom(one, other)
    for date in dates[1:]:
        pair = f"{first.name} and {date.name}"
        differing = _differences(first.made_of, date.made_of)
        if differing:
            found.append(
                f"{pair} were made with other {', '.join(differing)}, so that their difference is "
                "not the patient's alone"
            )
        if first.corrected != date.corrected:
            who = first if first.corrected else date
            found.append(f"of {pair} only the mask of {who.name} was corrected")
        before, now = (one.values["lung_ml"] for one in (first, date))
        if before and now is not None and abs(now - before) > _BREATH * before:
            found.append(
                f"the lungs of {pair} are of {before:,.0f} and {now:,.0f} mL: another "
                "breath, or not all of them in the picture, which changes both mL and per cent"
            )
    return found + [f"{date.name}: {note}" for date in dates for note in date.notes]


def _of_whom(first: Date, date: Date) -> list[str]:
    """Returns what makes two dates none of one patient, or of another order."""
    pair, found = f"{first.name} and {date.name}", []
    if first.made_of.get("input") and first.made_of.get("input") == date.made_of.get("input"):
        found.append(f"{pair} are the same scan")
    if first.patient and date.patient and first.patient != date.patient:
        found.append(
            f"the PatientIDs of {pair} differ: unless both are of one person, what has changed "
            "is the person"
        )
    if first.day and date.day and date.day < first.day:
        found.append(
            f"{date.name} was taken before {first.name}: what has changed is read backwards; "
            f"give {date.name} before {first.name}"
        )
    return found


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    settings = [records.values(made_of.get("settings", {})) for made_of in (one, other)]
    names = [name for name in ("weights", "version") if one.get(name) != other.get(name)]
    keys = settings[0].keys() | settings[1].keys()
    return names + sorted(k for k in keys if settings[0].get(k) != settings[1].get(k))
