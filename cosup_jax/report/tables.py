"""Findings and provenance as HTML, with every text escaped."""

import html
import math
from collections.abc import Mapping
from typing import Any

# A label may end in its unit, as the columns of a table do: `lesion_ml`.
_UNITS = {
    "ml": "mL",
    "percent": "%",
    "hu": "HU",
    "mm": "mm",
    "mm2": "mm²",
    "mm3": "mm³",
    "cm2": "cm²",
    "seconds": "s",
}
_DIGITS = 4


def escape(text: object) -> str:
    """Returns a text that is nothing but text in HTML, in attributes too."""
    return html.escape(str(text).encode("utf-8", "replace").decode())


def findings_rows(findings: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    """Returns a table row for each finding: its label, and its value with unit.

    Args:
      findings: label to number, text, or None where it could not be determined.
      reasons: why not, for labels whose value is None.
    """
    rows = []
    for key, value in findings.items():
        label, unit = _label(key)
        if value is None:
            cell = f'<span class="missing">{escape(reasons.get(key, "not determined"))}</span>'
        else:
            cell = escape(_shown(value)) + (f" <small>{unit}</small>" if unit else "")
        rows.append(f'<tr><th scope="row">{escape(label)}</th><td>{cell}</td></tr>')
    return "\n".join(rows)


def provenance_terms(provenance: Mapping[str, str]) -> str:
    """Returns a term and its description for each entry."""
    return "\n".join(
        f"<dt>{escape(_label(key)[0])}</dt><dd>{escape(text)}</dd>"
        for key, text in provenance.items()
    )


def _label(key: str) -> tuple[str, str]:
    """Returns a label's words and its unit, which may be empty."""
    stem, _, ending = key.rpartition("_")
    unit = _UNITS.get(ending, "") if stem else ""
    words = (stem if unit else key).replace("_", " ").strip()
    return words[:1].upper() + words[1:], unit


def _shown(value: Any) -> str:
    """Returns a number with about four digits, anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float) and math.isfinite(value):
        places = max(0, min(2, _DIGITS - len(str(int(abs(value))))))
        return f"{value:,.{places}f}".replace("-", "−")
    return str(value)
