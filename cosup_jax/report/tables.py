"""Findings and provenance as HTML, with every text escaped."""

import html
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from cosup_jax import metrics

# What the columns of a cohort are called on the page.
_NAMES = {
    "lesion_ml": "Infected volume",
    "lung_ml": "Volume of the lungs",
    "lung_percent": "Infected share of the lungs",
    "outside_lung_ml": "Marked outside of the lungs",
    "lesions": "Separate lesions",
    "largest_lesion_ml": "Largest lesion",
    "right_lesion_ml": "Infected volume, right side",
    "left_lesion_ml": "Infected volume, left side",
    "right_lung_percent": "Infected share, right lung",
    "left_lung_percent": "Infected share, left lung",
    "lesion_mean_hu": "Mean density of the lesions",
    "infected_slices": "Slices with infection",
    "ground_glass_ml": "Volume of ground-glass",
    "ground_glass_percent": "Ground-glass, share of the infection",
    "consolidation_ml": "Volume of consolidation",
    "consolidation_percent": "Consolidation, share of the infection",
    "effusion_ml": "Volume of effusion",
    "effusion_percent": "Effusion, share of the infection",
}
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
_DIGITS, _FIGURES = 4, 2  # of numbers; at least, of small ones


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


def list_items(texts: Iterable[str]) -> str:
    """Returns a list item for each text."""
    return "\n".join(f"<li>{escape(text)}</li>" for text in texts)


def _label(key: str) -> tuple[str, str]:
    """Returns a label's words and its unit, which may be empty."""
    stem, _, ending = key.rpartition("_")
    unit = _UNITS.get(ending, "") if stem else ""
    words = _NAMES.get(key) or (stem if unit else key).replace("_", " ").strip()
    return words[:1].upper() + words[1:], unit


def _shown(value: Any) -> str:
    """Returns a number with about four digits, anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, numbers.Real) and math.isfinite(value):
        number = float(value)
        digits = max(0, min(2, _DIGITS - len(str(int(abs(number))))))
        places = metrics.places(number, digits, _FIGURES)
        return f"{number:,.{places}f}".replace("-", "−")
    return str(value)
