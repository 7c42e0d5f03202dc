"""A run scored by the masks that `predict` would write of its scans, with its defaults.

What `evaluate_run` scores is the network: σ(S_p) of each slice, as the papers score it. What users
get is a mask of a whole scan, on the scan's own voxels, after all that `predict` does to it; here
the same code makes it, of the slices that the dataset keeps.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from cosup_jax import weights
from cosup_jax.data import records, schema
from cosup_jax.data.preprocess import UnlabelledSliceError
from cosup_jax.data.records import Records
from cosup_jax.evaluation import scoring, whole_volumes
from cosup_jax.evaluation.protocols import protocol_named
from cosup_jax.evaluation.volumes import sheared_cases
from cosup_jax.evaluation.whole_volumes import Pair
from cosup_jax.prediction import results
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.prediction.settings import Settings
from cosup_jax.runs import Run
from cosup_jax.scans.scan import Scan

_SKIP = tfds.decode.SkipDecoding()
_NO_PIXELS = {"image": _SKIP, "mask": _SKIP, "lung": _SKIP}
_NO_LUNGS = {"lung": _SKIP}


def evaluate_product(
    run: Run,
    *,
    protocol: str = "cosup",
    split: str | None = None,
    tta: bool = False,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Scores the masks that `predict` would write of a split's scans, if given this run.

    Args:
      run: from `runs.open_run`.
      protocol: `cosup` or `semiseg`, by which slices are scored.
      split: as for `evaluate_run`.
      tta: as `predict --tta`.
      out: where to write; None writes nothing.

    Returns:
      The summary, see `whole_volumes.score`.

    Raises:
      PatientOverlapError, ValueError: as `evaluate_run`.
    """
    rules = protocol_named(protocol)
    builder = scoring.open_dataset(run)
    chosen = scoring.chosen_split(run, builder, split)
    network = weights.Pretrained(
        run.workdir.name, run.model, run.variables, run.preprocessing, "", {}, crop=run.crop
    )
    settings = Settings(threshold=network.threshold, tta=tta)
    about = {
        "dataset": builder.info.full_name,
        "split": chosen,
        "note": "; ".join(
            [
                f"masks as predict writes them, at the threshold {settings.threshold:g}",
                *scoring.notes(run, builder, chosen, asked=split is not None),
            ]
        ),
        "epoch": run.epoch,
        "tta": tta,
    }
    maker = results.Maker(network, Segmenter(network, tta=tta), settings)
    pairs = _pairs(builder, chosen, maker)
    return whole_volumes.score(pairs, rules, about, None if out is None else Path(out).expanduser())


def _pairs(builder: tfds.core.DatasetBuilder, split: str, maker: results.Maker) -> Iterator[Pair]:
    cases: dict[str, dict[int, int]] = {}
    for place, example in enumerate(Records(builder, split, decoders=_NO_PIXELS)):
        if not example["has_mask"]:
            raise UnlabelledSliceError(
                f"case {example['case_id'].decode()!r}, slice {example['slice_index']} has no "
                "mask; evaluation needs a labelled split"
            )
        cases.setdefault(example["case_id"].decode(), {})[int(example["slice_index"])] = place
    whole = Records(builder, split, decoders=_NO_LUNGS)
    sheared, slices = sheared_cases(builder), records.slices_of_cases(builder)
    for case, places in tqdm(sorted(cases.items()), desc="scans", delay=2.0, leave=False):
        examples = [whole[places[index]] for index in sorted(places)]
        pred, notes = predicted(examples, maker)
        truth = [example["mask"][..., 0] > 0 for example in examples]
        z, y, x = (float(side) for side in examples[0]["spacing"])
        person = examples[0]["patient_id"].decode()
        pair = Pair(case, person, pred, truth, (z, y, x), sorted(places), notes)
        yield pair._replace(shear=sheared.get(case, 1.0), slices=slices.get(case, 0))


def predicted(
    examples: Sequence[Mapping[str, Any]], maker: results.Maker
) -> tuple[list[np.ndarray], list[str]]:
    """Returns the mask that `predict` writes of a scan, and its notes.

    Args:
      examples: stored examples of all slices of the scan, from the feet to the head.
      maker: of the network and the settings.

    Returns:
      (H, W) bool of each slice.
    """
    first, kept = examples[0], {}

    def save(folder: Path, result: str, slices: Sequence[np.ndarray]) -> None:
        kept[result] = slices

    spacing = tuple(float(side) for side in first["spacing"])
    scan = Scan(
        slices=[example["image"][..., 0] for example in examples],
        intensity=schema.intensity_name(int(first["intensity"])),
        save=save,
        slope=float(first["rescale_slope"]),
        intercept=float(first["rescale_intercept"]),
        spacing=spacing if np.isfinite(spacing).all() else None,  # type: ignore[arg-type]
    )
    case = first["case_id"].decode()
    found = maker.make(scan, Path(), case, "")
    return [mask > 0 for mask in kept["mask"]], [found["notes"]]
