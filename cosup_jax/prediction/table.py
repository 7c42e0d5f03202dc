"""The table of a folder of results: a row for each record, and what sets it apart."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosup_jax import files
from cosup_jax.prediction import findings, records
from cosup_jax.prediction.records import AS_PREDICTED, EARLIER, Record

COLUMNS = (
    *("scan", "input", "status", "reason", *findings.FIELDS, "seconds", "notes", "sha256"),
    *("weights", "threshold", "settings"),
)


@dataclass(frozen=True)
class Call:
    """What the present call would make results of.

    Attributes:
      weights: digest of the weights.
      settings: as a record has them.
      version: of this package.
    """

    weights: str
    settings: Mapping[str, Any]
    version: str

    def made_of(self, content: str | None) -> dict[str, Any]:
        """Returns what results of a scan are made of, see `Record`."""
        return {"input": content, **vars(self)}

    def differs(self, record: Record) -> list[str]:
        """Returns in what a record's results differ from those that this call would make."""
        made_of = record.made_of
        same = {
            "weights": made_of.get("weights") == self.weights,
            "settings": records.digest(made_of.get("settings", {}))
            == records.digest(self.settings),
            "version": made_of.get("version") == self.version,
        }
        return [name for name, equal in same.items() if not equal]


def write(path: Path, found: Iterable[Record], call: Call) -> None:
    """Writes the table of some records; other fields than `COLUMNS` follow the findings."""
    rows = [row(record, call) for record in found]
    more = dict.fromkeys(name for r in rows for name in r if name not in COLUMNS)
    at = COLUMNS.index(findings.FIELDS[-1]) + 1
    files.write_csv(path, rows, (*COLUMNS[:at], *more, *COLUMNS[at:]))


def row(record: Record, call: Call) -> dict[str, Any]:
    """Returns the row of a record; its notes begin with what sets it apart from those of a call."""
    settings = record.made_of.get("settings", {})
    marks = []
    if record.earlier:
        marks.append(
            "an earlier result of this place, which was predicted anew or holds something else"
        )
    if record.is_corrected():
        marks.append(f"its mask was changed since; {AS_PREDICTED}")
    elif lost := record.lost_mask():
        marks.append(f"{lost}; {AS_PREDICTED}")
    if record.done and (other := call.differs(record)):
        marks.append(f"made with other {', '.join(other)} than the last call's")
    notes = record.row.get("notes")
    return {
        **record.row,
        "scan": record.folder.name,
        "status": EARLIER if record.earlier else record.row["status"],
        "notes": "; ".join([*marks, *([notes] if notes else [])]),
        "threshold": settings.get("threshold", ""),
        "settings": records.digest(settings),
    }


def numbered(name: str) -> list[tuple[int, str]]:
    """Sorts `a10` after `a9`."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
