"""Unlabelled slices and the labels a network gives them, kept as a folder of slices.

The folder has the layout of the dataset `slice_folder`, so any run can be trained on it. Beside
what that dataset needs, `train_index.csv` says of each slice in which round it was labelled and how
sure the network was.
"""

import dataclasses
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tqdm import tqdm

from cosup_jax import files
from cosup_jax.data import people, preprocess, schema, splits
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.data.records import Records
from cosup_jax.metrics import THRESHOLD
from cosup_jax.scans import images

INDEX = "train_index.csv"
MASK_VALUES = {0: 0, 255: 1}
_PIXELS = dict.fromkeys(("image", "mask", "lung"), tfds.decode.SkipDecoding())
_LONGEST = 200  # characters of a case in the name of a file, which takes 255 in all
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


class PoolError(ValueError):
    """Unlabelled slices that cannot be used as asked, or labels that have gone from the folder."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """One unlabelled slice.

    Attributes:
      place: its position in the split.
      case_id: its scan.
      patient_id: the person, empty where unknown.
      slice_index: position along the body axis.
      image: (h, w, 1) float32, prepared for the network.
    """

    place: int
    case_id: str
    patient_id: str
    slice_index: int
    image: np.ndarray

    @property
    def file(self) -> str:
        """Name of its picture and of its mask."""
        case = _UNSAFE.sub("-", self.case_id)[:_LONGEST]
        return f"{self.place:05d}-{case}_{self.slice_index:05d}.png"

    def row(self, **more: Any) -> dict[str, Any]:
        """Returns its row of an index."""
        place = {"case": self.case_id, "patient": self.patient_id, "slice": self.slice_index}
        return {"file": self.file, **place, **more}


@dataclasses.dataclass(frozen=True)
class Pool:
    """The unlabelled slices of a dataset, in memory.

    Attributes:
      source: random access to the stored examples.
      slices: those that may be labelled, in the order in which they will be.
      settings: how they were prepared.
    """

    source: Sequence[Mapping[str, Any]]
    slices: Sequence[Slice]
    settings: Preprocessing


def open_pool(
    builder: tfds.core.DatasetBuilder,
    split: str,
    settings: Preprocessing,
    *,
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> Pool:
    """Reads and prepares the unlabelled slices; masks that a split may have are not looked at.

    Args:
      builder: a built dataset.
      split: its name, TFDS slicing allowed.
      settings: how slices are prepared for the network.
      exclude: patients whose slices are left out, because others of theirs are scored later.
      seed: decides the order, which is the same on every machine.

    Raises:
      PoolError: no such split, a patient to exclude who is not in it, or nothing is left.
    """
    check_split(builder, split, exclude)
    pool_size(builder, split, exclude)
    left_out = set(map(schema.normal_name, exclude))
    source = Records(builder, split)
    reader = tqdm(source, desc=f"reading {split}", unit="slice", delay=2.0)
    found = [_slice(i, example, settings) for i, example in enumerate(reader)]
    kept = {s.file: s for s in found if s.patient_id not in left_out}
    order = splits.ranked(kept, f"semi:{seed}")
    return Pool(source, [kept[file] for file in order], settings)


def check_split(builder: tfds.core.DatasetBuilder, split: str, exclude: Sequence[str] = ()) -> None:
    """Refuses a split that a built dataset does not have, and patients who are not in it.

    Raises:
      PoolError: naming those it has.
    """
    name = split.partition("[")[0]
    if name not in builder.info.splits:
        raise PoolError(
            f"{builder.info.full_name} has no split {name!r} to take unlabelled slices from, which "
            f"--config.semi.per_round above 0 asks for; it has {', '.join(builder.info.splits)}. "
            "Give one with --config.semi.unlabelled, or --config.semi.per_round=0 to train on "
            "labelled slices alone"
        )
    patients = people.people(builder, split)["patients"]
    if strangers := sorted(set(map(schema.normal_name, exclude)) - set(patients)):
        raise PoolError(
            f"--config.semi.exclude_patients names {', '.join(strangers)}, not in the split "
            f"{split!r}; its patients are {', '.join(patients)}"
        )


def pool_size(builder: tfds.core.DatasetBuilder, split: str, exclude: Sequence[str] = ()) -> int:
    """Counts the slices that `open_pool` would have, as `pool_cases`."""
    return len(pool_cases(builder, split, exclude))


def pool_cases(
    builder: tfds.core.DatasetBuilder, split: str, exclude: Sequence[str] = ()
) -> list[str]:
    """Returns the case of each slice that `open_pool` would have; no pixels are read.

    Raises:
      PoolError: there are none.
    """
    left_out = set(map(schema.normal_name, exclude))
    cases = [
        schema.normal_name(example["case_id"].decode())
        for example in Records(builder, split, decoders=_PIXELS)
        if schema.normal_name(example["patient_id"].decode()) not in left_out
    ]
    if cases:
        return cases
    raise PoolError(f"the split {split!r} of {builder.info.full_name} has no slice left")


def _slice(place: int, example: Mapping[str, Any], settings: Preprocessing) -> Slice:
    return Slice(
        place,
        schema.normal_name(example["case_id"].decode()),
        schema.normal_name(example["patient_id"].decode()),
        int(example["slice_index"]),
        preprocess.prepare_image(*_values(example), settings),
    )


def _values(example: Mapping[str, Any]) -> tuple[np.ndarray, str]:
    intensity = schema.intensity_name(example["intensity"])
    return schema.true_values(example)[..., 0], intensity


def confidence(probability: np.ndarray, mask: np.ndarray) -> float:
    """Computes how sure a network is of a label: soft Dice of the probabilities with the label.

    (2 Σ p g + 1) / (Σ p + Σ g + 1); 1 where every probability is 0 or 1.

    Args:
      probability: (H, W) in 0..1.
      mask: (H, W) bool, the label made of it.
    """
    overlap = float(probability[mask].sum())
    return (2 * overlap + 1) / (float(probability.sum()) + float(mask.sum()) + 1)


def keep_label(pool: Pool, piece: Slice, probability: np.ndarray, folder: Path) -> float:
    """Writes a slice and its pseudo label (probability over 0.5) in the size the slice was stored.

    Args:
      pool: where the slice is from.
      piece: the slice.
      probability: (h, w), at the network's size.
      folder: `image` and `mask` are written into it, whole or not at all.

    Returns:
      The label's confidence.
    """
    example = pool.source[piece.place]
    values, _ = _values(example)
    resized = np.clip(preprocess.resize_image(probability, values.shape), 0.0, 1.0)
    mask = resized > THRESHOLD
    write_slice(example, mask, folder, piece.file, pool.settings)
    return confidence(resized, mask)


def write_slice(
    example: Mapping[str, Any], mask: np.ndarray, folder: Path, file: str, settings: Preprocessing
) -> None:
    """Writes a stored slice and a (H, W) mask as PNGs `image/FILE` and `mask/FILE`.

    Grey values stay as they are. Hounsfield units become 16-bit grey, 0 to 65535 over the window,
    and values of an unknown range their own range: what a network sees of them is the same.
    """
    _write_png(folder / "image" / file, grey_of(example, settings))
    _write_png(folder / "mask" / file, mask.astype(np.uint8) * 255)


def grey_of(example: Mapping[str, Any], settings: Preprocessing) -> np.ndarray:
    """Returns a stored slice as the (H, W) grey values of its picture."""
    values, intensity = _values(example)
    if intensity in ("grey8", "grey16"):
        return values.astype(np.uint8 if intensity == "grey8" else np.uint16)
    if intensity == "hu":
        unit = preprocess.apply_window(values, settings.window)
    else:
        unit = preprocess.unit_range(values, intensity)
    return (unit * 65535).round().astype(np.uint16)


def write_validation(
    builder: tfds.core.DatasetBuilder, split: str, folder: Path, settings: Preprocessing
) -> None:
    """Writes a labelled split as the validation split of a folder of slices."""
    rows = []
    for place, example in enumerate(Records(builder, split)):
        piece = _slice(place, example, settings)
        write_slice(example, example["mask"][..., 0] > 0, folder / "val", piece.file, settings)
        rows.append(piece.row())
    write_index(folder / "val_index.csv", rows)


def read_label(piece: Slice, folder: Path, settings: Preprocessing) -> dict[str, np.ndarray]:
    """Returns `image`, `mask` and `edge` to train on, of a slice that has its pseudo label.

    Raises:
      PoolError: the label has gone.
      ImageError: it is damaged.
    """
    path = folder / "mask" / piece.file
    if not path.is_file():
        raise PoolError(f"{path} has gone; put it back, or start again in another --workdir")
    labels = images.read_labels(path, MASK_VALUES)
    mask = preprocess.resize_labels(labels, settings.size)
    edge = preprocess.edges(mask)
    return {"image": piece.image, "mask": mask[..., None], "edge": edge[..., None]}


def write_index(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes an index CSV of a folder of slices, a column for each key of the rows."""
    files.write_csv(path, rows)


def _write_png(path: Path, grey: np.ndarray) -> None:
    content = io.BytesIO()
    Image.fromarray(grey).save(content, "PNG")
    files.write_bytes(path, content.getvalue())
