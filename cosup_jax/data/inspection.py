"""What a built dataset holds: counts, range of values, sizes of lesions, and a contact sheet."""

import io
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from cosup_jax import files
from cosup_jax.data import preprocess, schema
from cosup_jax.data.records import Records

# Upper ends, in percent of the slice's pixels; the last bin is open.
LESION_BINS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_SKIP = tfds.decode.SkipDecoding()
_LABELS_ONLY = {"image": _SKIP, "lung": _SKIP}
_NO_PIXELS = {**_LABELS_ONLY, "mask": _SKIP}
_TILE, _COLUMNS, _ROWS = 160, 8, 6
_BAR = 40
_RED = np.array([255, 60, 60], np.uint8)


@dataclass
class SplitContents:
    """What was counted in a split.

    Attributes:
      cases: ids of the scans.
      patients: ids of the persons that are known.
      slices: how many slices.
      labelled: slices that somebody has labelled.
      positive: labelled slices with infection.
      lesions: positive slices by bin of `LESION_BINS`.
      ranges: lowest and highest true value by intensity; empty where images were not read.
    """

    cases: set[str] = field(default_factory=set)
    patients: set[str] = field(default_factory=set)
    slices: int = 0
    labelled: int = 0
    positive: int = 0
    lesions: Counter[int] = field(default_factory=Counter)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, example: Mapping[str, Any], *, image: bool) -> None:
        """Counts one example of the schema, with or without its image."""
        self.cases.add(example["case_id"].decode())
        self.patients |= {example["patient_id"].decode()} - {schema.UNKNOWN_PATIENT}
        self.slices += 1
        self.labelled += bool(example["has_mask"])
        if infected := int(np.count_nonzero(example["mask"])):
            self.positive += 1
            share = 100 * infected / example["mask"].size
            self.lesions[int(np.searchsorted(LESION_BINS, share))] += 1
        if image:
            values = schema.true_values(example)
            name = schema.intensity_name(int(example["intensity"]))
            low, high = self.ranges.get(name, (math.inf, -math.inf))
            self.ranges[name] = min(low, float(values.min())), max(high, float(values.max()))


def count(builder: tfds.core.DatasetBuilder, *, images: bool = False) -> dict[str, SplitContents]:
    """Reads a built dataset through once.

    Args:
      builder: a built dataset.
      images: whether to read the images too, for the range of their values.

    Returns:
      split to its contents.
    """
    contents = {}
    for name in builder.info.splits:
        contents[name] = SplitContents()
        for example in _read(builder, name, images):
            contents[name].add(example, image=images)
    return contents


def _read(builder: tfds.core.DatasetBuilder, split: str, images: bool) -> Iterator[dict]:
    source = Records(builder, split, decoders=None if images else _LABELS_ONLY)
    for i in tqdm(range(len(source)), desc=f"counting {split}", unit="slice", leave=False):
        yield source[i]


def table(contents: Mapping[str, SplitContents]) -> str:
    """Returns the counts of each split as a table to print."""
    lines = [
        f"{'split':<12}{'cases':>8}{'patients':>10}{'slices':>8}{'labelled':>10}{'positive':>10}"
    ]
    for name, c in contents.items():
        patients = len(c.patients) or "unknown"
        lines.append(
            f"{name:<12}{len(c.cases):>8}{patients:>10}{c.slices:>8}{c.labelled:>10}{c.positive:>10}"
        )
    return "\n".join(lines)


def ranges(contents: Mapping[str, SplitContents]) -> str:
    """Returns lowest and highest value of each split, a line per split and intensity."""
    lines = [
        f"{split:<12}{name:<10}{low:>10.6g} to {high:.6g}"
        for split, c in contents.items()
        for name, (low, high) in sorted(c.ranges.items())
    ]
    return "\n".join([f"{'split':<12}{'intensity':<10}{'values':>10}", *lines])


def histogram(contents: Mapping[str, SplitContents]) -> str:
    """Returns how large the infection is on the positive slices of all splits, drawn in text."""
    total = sum((c.lesions for c in contents.values()), Counter())
    edges = ["0", *(f"{end:g}" for end in LESION_BINS)]
    names = [f"{low}-{high} %" for low, high in itertools.pairwise(edges)]
    names.append(f"> {edges[-1]} %")
    most = max(total.values(), default=1)
    lines = [
        f"{name:<12}{total[i]:>8} {'#' * round(_BAR * total[i] / most)}".rstrip()
        for i, name in enumerate(names)
    ]
    return "\n".join(["infected share of the slice, positive slices", *lines])


def save_contact_sheet(builder: tfds.core.DatasetBuilder, split: str, path: Path) -> int:
    """Saves slices spread evenly over a split, in the lung window, infection outlined in red.

    Args:
      builder: a built dataset.
      split: the split's name.
      path: the PNG to write.

    Returns:
      How many slices it shows.
    """
    source = Records(builder, split)
    shown = min(len(source), _ROWS * _COLUMNS)
    # The stored order is random, so that cases are sorted first, to stand side by side.
    keys = Records(builder, split, decoders=_NO_PIXELS)
    order = sorted(
        range(len(source)), key=lambda i: (keys[i]["case_id"], int(keys[i]["slice_index"]))
    )
    chosen = [order[i] for i in np.linspace(0, len(order) - 1, shown).round().astype(int)]
    rows = -(-shown // _COLUMNS)
    sheet = np.zeros((rows * _TILE, min(shown, _COLUMNS) * _TILE, 3), np.uint8)
    for place, index in enumerate(chosen):
        top, left = (_TILE * n for n in divmod(place, _COLUMNS))
        sheet[top : top + _TILE, left : left + _TILE] = _tile(source[index])
    content = io.BytesIO()
    Image.fromarray(sheet).save(content, "PNG")
    files.write_bytes(path, content.getvalue())
    return shown


def _tile(example: Mapping[str, Any]) -> np.ndarray:
    values = schema.true_values(example)[..., 0]
    if schema.intensity_name(int(example["intensity"])) == "hu":
        values = preprocess.apply_window(values, preprocess.LUNG_WINDOW)
    else:
        values = (values - values.min()) / max(float(np.ptp(values)), 1.0)
    size = (_TILE, _TILE)
    grey = (255 * preprocess.resize_image(values, size)).astype(np.uint8)
    tile = np.repeat(grey[..., None], 3, axis=-1)
    infected = preprocess.resize_labels(example["mask"][..., 0], size) > 0
    tile[infected & ~ndimage.binary_erosion(infected)] = _RED
    return tile
