"""Maps and truths in folders of pictures, ours and others': written, read, and scored by name."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cosup_jax import files
from cosup_jax.data import schema, slice_files
from cosup_jax.evaluation import tables
from cosup_jax.evaluation.calibration import calibration
from cosup_jax.evaluation.folder import PREDICTIONS, TRUTHS, map_paths, renewing
from cosup_jax.evaluation.map_values import AUTO, MapValuesError, Meaning, decide
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.scans import images
from cosup_jax.scans.names import SliceName, name_from_file

SAME = "PREDICTIONS AND TRUTHS ARE THE SAME"
ARRAY_SUFFIX = ".npy"
_DESCRIPTION = "saved maps at 0.5 and their own size, mean over slices"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class SavedMapError(ValueError):
    """A saved map is not what it should be, or has no partner; the message names the file."""


class Writer:
    """Writes maps and truths as 8-bit PNG named `<case>_<slice>.png`, into two folders.

    Attributes:
      written: all files so far.
    """

    def __init__(self, folder: Path) -> None:
        self.written: list[Path] = []
        self._folder = folder
        for name in (PREDICTIONS, TRUTHS):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def __call__(self, example: Mapping[str, Any], grey: np.ndarray, truth: np.ndarray) -> None:
        """Writes a slice: `grey` (H, W) uint8, `truth` (H, W) bool."""
        paths = map_paths(self._folder, _safe(example["case_id"]), example["slice_index"])
        for path, values in zip(paths, (grey, truth * np.uint8(255)), strict=True):
            with files.writing(path) as file:
                images.write_map(values, file)
        self.written += paths


def _safe(case_id: str) -> str:
    if "/" in case_id or "\\" in case_id or case_id.startswith("."):
        raise SavedMapError(f"the case {case_id!r} cannot serve as the name of a file")
    return case_id


def evaluate_folders(
    predictions: str | Path,
    truths: str | Path,
    *,
    protocol: str,
    out: str | Path | None = None,
    map_values: str = AUTO,
) -> dict[str, Any]:
    """Scores saved maps against truths of the same name, and writes tables and summary.json.

    Args:
      predictions: folder of maps, 1-, 8- or 16-bit grey pictures, whose values mean what
        `map_values.decide` makes of all of them, or `.npy` of a floating type in 0..1, or of bool.
      truths: folder of masks as PNG or TIFF: 0 and 255, or classes 0..3.
      protocol: `cosup` or `semiseg`; maps and truths are scored at the size they have.
      out: where to write; None writes nothing.
      map_values: what the values of pictures mean, where they do not tell: see `map_values.decide`.

    Raises:
      DatasetLayoutError: a folder is missing or holds other files.
      ImageError: a picture is damaged or not grey.
      SavedMapError: a map or truth without partner, of another size, or an array that is no map;
        two maps of one slice of one case.
      MapValuesError: the values of the pictures can mean several things.
    """
    rules = protocol_named(protocol)
    maps, masks = _maps(Path(predictions).expanduser()), _masks(Path(truths).expanduser())
    _match(maps, masks)
    names = _names(maps)
    meaning = _meaning(maps.values(), map_values)
    scores = tables.Scores(rules)
    for stem, path in tqdm(maps.items(), desc="slices", unit="slice", delay=2.0, leave=False):
        prob, truth = read_map(path, meaning), read_truth(masks[stem])
        if prob.shape != truth.shape:
            raise SavedMapError(
                f"{path}: {prob.shape[1]} x {prob.shape[0]} pixels, but its truth {masks[stem]} "
                f"has {truth.shape[1]} x {truth.shape[0]}; expected the same size"
            )
        place = {n: getattr(names[stem], n) for n in ("case_id", "patient_id", "slice_index")}
        scores.add(place, rules.score(prob, truth))
        scores.truths.add(place, truth, truth)
    notes = [slice_files.EACH_A_PATIENT * any(name.case_known for name in names.values())]
    notes.append(SAME * Path(predictions).expanduser().samefile(Path(truths).expanduser()))
    note = "; ".join(filter(None, notes))
    about = {"dataset": str(truths), "split": "", "predictions": str(predictions), "note": note}
    about["map_values"] = meaning.words
    if not rules.stretched:
        about["protocol_description"] = _DESCRIPTION
    summary = scores.summary(about)
    if not rules.stretched:
        summary["ece"] = calibration(scores.levels).ece
    if out is not None:
        folder = Path(out).expanduser()
        with renewing(folder, [*maps.values(), *masks.values()]) as written:
            written += tables.write(scores, (), summary, folder)
    return summary


def _maps(folder: Path) -> dict[str, Path]:
    arrays = sorted(folder.glob(f"*{ARRAY_SUFFIX}")) if folder.is_dir() else []
    for path in arrays:
        slice_files.check_inside(path, folder)
    if not arrays:
        return slice_files.list_slices(folder, folder)
    others = [path for path in sorted(folder.iterdir()) if path not in arrays]
    if others:
        raise SavedMapError(
            f"{others[0]}: lies among {ARRAY_SUFFIX} files; expected a folder of one kind"
        )
    return {schema.normal_name(path.stem): path for path in arrays}


def _masks(folder: Path) -> dict[str, Path]:
    return slice_files.list_slices(folder, folder, masks=True)


def _match(maps: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
    for some, others, kind in ((maps, masks, "truth"), (masks, maps, "prediction")):
        lone = [path for stem, path in some.items() if stem not in others]
        if lone:
            raise SavedMapError(
                f"{lone[0]}: no {kind} of this name; expected one for every file "
                f"({len(lone)} of {len(some)} without)"
            )
    if not maps:
        raise SavedMapError("both folders are empty; expected a map and a truth for each slice")


def _names(maps: Mapping[str, Path]) -> dict[str, SliceName]:
    """Returns what the name of each map says, and refuses one slice of one case twice."""
    names: dict[str, SliceName] = {}
    stem_of: dict[tuple[str, int], str] = {}
    for stem, path in maps.items():
        name = names[stem] = name_from_file(stem)
        first = stem_of.setdefault((name.case_id, name.slice_index), stem)
        if first != stem:
            raise SavedMapError(
                f"{path}: case {name.case_id!r}, slice {name.slice_index}, as {maps[first].name} "
                "is; expected one file for each (<case>_<slice>)"
            )
    return names


def _meaning(paths: Iterable[Path], declared: str) -> Meaning:
    """Reads all maps for what their values mean together."""
    paths = list(paths)
    if paths[0].suffix.lower() == ARRAY_SUFFIX:
        if declared != AUTO:
            raise MapValuesError(
                f"--map-values={declared}: it is for pictures; {ARRAY_SUFFIX} files hold 0..1"
            )
        return Meaning("probabilities 0..1", 1)
    values: set[int] = set()
    depths, said, like_labels = set(), set(), []
    for path in tqdm(paths, desc="values", unit="slice", delay=2.0, leave=False):
        codes, full = images.read_map(path)
        said.add(full)
        here = set(np.unique(codes).tolist())
        if 1 in here <= {0, 1}:
            like_labels.append(path.name)
        values |= here
        depths.add(8 * codes.dtype.itemsize)
    if declared == AUTO and len(said) == 1 and (full := said.pop()):
        declared = full
    meaning = decide(values, depths, declared)
    if declared == AUTO and meaning.full > 1 and like_labels:
        told = f"{len(like_labels)} of {len(paths)} maps hold only 0 and 1, as labels do"
        words = f"{meaning.words}; {told}, {like_labels[0]} first"
        return dataclasses.replace(meaning, words=words)
    return meaning


def read_map(path: Path, meaning: Meaning) -> np.ndarray:
    """Reads a saved map of infection.

    Args:
      path: a grey picture of 1, 8 or 16 bits, or an array: see `evaluate_folders`.
      meaning: what the values of a picture mean.

    Returns:
      (H, W) float64 in 0..1.

    Raises:
      ImageError: the picture is damaged or not grey.
      SavedMapError: the array is no map; nothing is executed or allocated to find out.
    """
    if path.suffix.lower() != ARRAY_SUFFIX:
        return meaning(images.read_map(path)[0])
    values = _read_array(path).astype(np.float64)
    if not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
        raise SavedMapError(
            f"{path}: values from {values.min():g} to {values.max():g}; expected probabilities 0..1"
        )
    return values


def _read_array(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        try:
            shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        # NumPy raises nearly every built-in exception on a damaged header.
        except Exception as error:
            raise SavedMapError(
                f"{path}: no {ARRAY_SUFFIX} array ({type(error).__name__}: {error})"
            ) from error
        if len(shape) != 2 or dtype.kind not in "fb":
            raise SavedMapError(
                f"{path}: {dtype} of shape {shape}; expected (H, W) of a floating type, or bool"
            )
        if not all(1 <= side <= images.MAX_SIDE for side in shape):
            raise SavedMapError(f"{path}: {shape}; expected 1..{images.MAX_SIDE} pixels a side")
        held = path.stat().st_size - file.tell()
        if held != shape[0] * shape[1] * dtype.itemsize:
            raise SavedMapError(f"{path}: {held} bytes of values do not make {dtype} of {shape}")
        return np.fromfile(file, dtype).reshape(shape, order="F" if by_columns else "C")


def read_truth(path: Path) -> np.ndarray:
    """Reads a mask: 0 and 255, or classes 0..3, of which any but 0 is infection.

    Returns:
      (H, W) bool.

    Raises:
      ImageError: the picture is damaged.
      SavedMapError: it holds other values, as one that was smoothed or is a soft map.
    """
    codes = images.read_codes(path)
    found = set(np.unique(codes).tolist())
    if not (found <= {0, 255} or found <= set(range(schema.MAX_CLASS + 1))):
        raise SavedMapError(
            f"{path}: holds the values {sorted(found)[:6]}; expected 0 and 255, or classes 0.."
            f"{schema.MAX_CLASS}"
        )
    return codes > 0
