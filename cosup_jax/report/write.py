"""Writes the page: checks what it is given, packs the volumes, fills in the template."""

import base64
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from cosup_jax import files
from cosup_jax.report import description, stacks, tables

# They are joined to one module and know each other's names.
_SCRIPTS = ("decode.js", "planes.js", "burden.js", "views.js", "controls.js", "main.js")
# Bytes that the page's settings and remarks take at most, beside those of each slice.
_REST, _PER_SLICE = 10_000, 64
_DOUBT = "?"  # behind the name of a side that is a guess


def write_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    volume: np.ndarray,
    mask: np.ndarray,
    probability: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
    intensity: str = "hu",
    no_sides: str = "",
    findings: Mapping[str, Any],
    reasons: Mapping[str, str] | None = None,
    provenance: Mapping[str, str],
    notes: Sequence[str] = (),
    budget_bytes: int = 15_000_000,
) -> None:
    """Writes the report of one scan as a single HTML file.

    The file holds the volume and shows it in axial, coronal and sagittal planes; it loads nothing
    from anywhere. The mask is kept voxel for voxel. What the volume loses to stay within the budget
    is said on the page.

    Args:
      path: the file to write; it is replaced as a whole or not at all.
      title: the scan's name; no identifier of the patient unless it is meant to be read.
      volume: (Z, H, W) numbers in the axial view: slice 0 at the feet, row 0 in front, column 0 on
        the patient's right.
      mask: (Z, H, W) bool, the infection.
      probability: (Z, H, W) in 0..1, or None.
      spacing: (z, y, x) in mm, or None where it is not known; voxels are then drawn as cubes.
      intensity: `hu`, or `grey` where the values are not Hounsfield units.
      no_sides: why sides and ends of the body are a guess; they then have a question mark. Empty
        where they are known.
      findings: label to number, text, or None. A label may end in its unit, such as `lesion_ml`.
      reasons: label to the reason why its finding is None.
      provenance: name to text: hash of the input, weights, version, command.
      notes: what else a reader should know of the scan, such as what was odd about its files.
      budget_bytes: the largest size of the file.

    Raises:
      ValueError: shapes, types or values do not fit; or the budget is too small for the volume.
    """
    _check(volume, mask, probability, spacing, intensity)
    masks = stacks.pack_mask(mask)
    levels = stacks.HU_LEVELS if intensity == "hu" else stacks.grey_levels(volume)
    volumes = {"image": stacks.Coded(volume, levels)}
    if probability is not None:
        volumes["probability"] = stacks.Coded(probability, stacks.PROBABILITY_LEVELS)
    texts = {
        "title": tables.escape(title),
        "geometry": description.geometry(mask.shape, spacing),
        "findings": tables.findings_rows(findings, reasons or {}),
        "provenance": tables.provenance_terms(provenance),
        "notes": tables.list_items(notes),
        "doubt": _DOUBT if no_sides else "",
        "settings": "",
        "pictures": "",
    }
    frame = len(_fill(texts)) + _REST + _PER_SLICE * len(mask)
    try:
        fitted = stacks.fit([*volumes.values()], (budget_bytes - frame) * 3 // 4 - masks.nbytes)
    except ValueError as error:
        raise ValueError(f"{path}: budget_bytes={budget_bytes:,}: {error}") from error
    layers = {**dict(zip(volumes, fitted, strict=True)), "mask": masks}
    image = layers["image"]
    settings = {
        "shape": mask.shape,
        "spacing": None if spacing is None else [*map(float, spacing)],
        "intensity": intensity,
        "doubt": texts["doubt"],
        "levels": levels.tolist(),
        "exact": image.quality is None and image.size == mask.shape[1:],
        "windows": description.windows(volume, levels, intensity),
        "burden": description.burden(mask, spacing),
        "start": description.start(mask),
        "layers": {
            name: {"size": stack.size, "lengths": [*map(len, stack.pictures)]}
            for name, stack in layers.items()
        },
    }
    remarks = description.remarks(image, mask.shape, spacing, intensity, no_sides)
    texts["notes"] = tables.list_items([*notes, *remarks])
    texts["settings"] = json.dumps(settings, separators=(",", ":"))
    texts["pictures"] = "\n".join(_block(name, stack) for name, stack in layers.items())
    files.write_bytes(Path(path), _fill(texts))


def _check(
    volume: np.ndarray,
    mask: np.ndarray,
    probability: np.ndarray | None,
    spacing: Sequence[float] | None,
    intensity: str,
) -> None:
    if volume.ndim != 3 or 0 in volume.shape or volume.dtype.kind not in "iuf":
        raise ValueError(
            f"volume: {volume.dtype} of shape {volume.shape}; expected (Z, H, W) real numbers"
        )
    if mask.shape != volume.shape or mask.dtype != bool:
        raise ValueError(
            f"mask: {mask.dtype} of shape {mask.shape}; expected bool of {volume.shape}"
        )
    if not np.isfinite(volume).all():
        raise ValueError("volume: holds NaN or infinite values; expected numbers only")
    if probability is not None:
        if probability.shape != volume.shape:
            raise ValueError(f"probability: of shape {probability.shape}; expected {volume.shape}")
        if not (probability.min() >= 0 and probability.max() <= 1):
            raise ValueError("probability: holds values that are not in 0..1")
    if spacing is not None and not (
        len(spacing) == 3 and all(math.isfinite(side) and side > 0 for side in spacing)
    ):
        raise ValueError(f"spacing: {spacing}; expected (z, y, x) in mm, each above 0")
    if intensity not in ("hu", "grey"):
        raise ValueError(f"intensity: {intensity!r}; expected 'hu' or 'grey'")


def _block(name: str, stack: stacks.Stack) -> str:
    data = base64.b64encode(b"".join(stack.pictures)).decode()
    return f'<script type="text/plain" id="{name}-data">{data}</script>'


def _fill(texts: Mapping[str, str]) -> bytes:
    """Returns the page in UTF-8; no script or style runs in it but the package's own."""
    style = _asset("page.css")
    script = "\n".join(map(_asset, _SCRIPTS))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    page = Template(_asset("page.html"))
    return page.substitute(texts, policy=policy, style=style, script=script).encode()


def _asset(name: str) -> str:
    return resources.files("cosup_jax.report").joinpath("page", name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
