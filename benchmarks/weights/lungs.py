"""Makes the weights that find lungs: data, training, export.

    python benchmarks/weights/lungs.py --data FOLDER --workdir runs/lungs

Started again it goes on where it was stopped. `--data` holds covid_ct_seg_slices and
medseg_volumes, each with the lungs that experts have drawn. In `--workdir` appear `data`, the
slices with lungs for masks, `run`, as train.py leaves one with configs/lungs.py, and
`lungs-small.safetensors`, its best epoch on the validation slices.

`--without PATIENT …` leaves patients out of the training, for figures of theirs that are out of
fold: evaluation/lung_tables.py prints those. `--export` writes the best epoch so far and trains no
further.

What is infected counts as lung. Cases are named by their set: `equalised` and `medseg` (training
slices also cut to the box of the lungs), and `phantom`, generated chests in the lung window, whose
lungs are known to the voxel. Slices of medseg without lungs, above and below them, are the empty
ones; slices of other people are not used, since nobody has drawn their lungs.
"""

import argparse
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # configurations import each other

import data
import make
import numpy as np
import sets

from cosup_jax import config as configuration
from cosup_jax import phantom, runs, weights
from cosup_jax.data import preprocess
from cosup_jax.runs import checkpoints
from cosup_jax.scans import images
from cosup_jax.training import loop

CONFIG = Path(__file__).parents[2] / "configs" / "lungs.py"
PHANTOMS = {data.TRAINING: range(6000, 6030), data.VALIDATION: range(6030, 6034)}
PHANTOM_SLICES = 8
CUT_EVERY = 4  # of the training slices, which one is shown cut to the lungs too
VALIDATED_EVERY = {"equalised": 4, "medseg": 2, "phantom": 2}
_LEVELS = 255


def main() -> None:
    """Does what is not done yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the two sets")
    parser.add_argument("--workdir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--without", nargs="*", default=(), help="patients not to train on")
    parser.add_argument("--epochs", type=int, help="train to this one; default: configs/lungs.py")
    parser.add_argument("--export", action="store_true", help="do not train, export the best")
    arguments = parser.parse_args()
    workdir = arguments.workdir.expanduser().resolve()
    if not arguments.export:
        train(arguments.data, workdir, arguments.without, arguments.epochs)
    export(workdir)


def train(source: Path, workdir: Path, without: Collection[str], epochs: int | None) -> None:
    """Puts the data together where they are not, and trains or goes on training."""
    folder = workdir / "data"
    if not (folder / f"{data.VALIDATION}_index.csv").is_file():  # which is written last
        data.write_splits(folder, lambda split: slices(source, split, without))
    config = configuration.load(f"{CONFIG}:data=slice_folder")
    config.data.source = str(folder)
    config.data.data_dir = str(workdir / "tfds")
    config.epochs = epochs or config.epochs
    loop.train_seeds(config, [config.seed], [workdir / "run"])


def slices(source: Path, split: str, without: Collection[str] = ()) -> Iterator[data.Slice]:
    """Yields the slices of a split with lungs for masks, set by set."""
    for name, folder in (("equalised", "covid_ct_seg_slices"), ("medseg", "medseg_volumes")):
        found = [p for p in with_lungs(name, source / folder / split) if p.patient not in without]
        if split == data.VALIDATION:
            yield from found[:: VALIDATED_EVERY[name]]
        else:
            yield from found
            yield from list(data.crops(found))[::CUT_EVERY]
    drawn = list(phantoms(PHANTOMS[split]))
    yield from drawn[:: VALIDATED_EVERY["phantom"]] if split == data.VALIDATION else drawn


def with_lungs(name: str, folder: Path) -> Iterator[data.Slice]:
    """Yields the slices of a split as they are, with lungs and infection for the mask."""
    pieces = data.whole_slices(name, folder, lambda row: person(name, row))
    for piece, row in zip(pieces, data.read_index(folder), strict=True):
        lung = images.read_labels(folder / "lung" / row["file"], sets.LUNG_VALUES) > 0
        yield piece._replace(mask=piece.mask | lung)


def person(name: str, row: dict[str, str]) -> str:
    """Returns whose slice it is; patients of both sets have one name."""
    return row["patient"] if name == "medseg" else data.patient_id(row["case"])


def phantoms(seeds: range) -> Iterator[data.Slice]:
    """Draws chests with and without infection, as they look in the lung window."""
    for seed in seeds:
        volume = phantom.draw_volume(seed, slices=PHANTOM_SLICES)
        grey = preprocess.apply_window(volume.image, preprocess.LUNG_WINDOW) * _LEVELS
        for number, (image, lung) in enumerate(zip(grey, volume.lung > 0, strict=True)):
            pixels = np.rint(image).astype(np.uint8)
            yield data.Slice(f"phantom.{seed}", f"phantom{seed}", number, pixels, lung)


def export(workdir: Path) -> None:
    """Writes the best epoch so far."""
    folder, path = workdir / "run", workdir / f"{weights.LUNGS}{weights.files.SUFFIX}"
    run, rows = runs.open_run(folder), checkpoints.read_history(folder)
    people = json.loads((folder / runs.DATA).read_text())["trained_on"]["patients"]
    score = rows[run.epoch - 1]["validation/dice"]
    card = {
        "name": weights.LUNGS,
        "licence": make.LICENCE,
        "trained_on": [name for name in people if not name.startswith("phantom")],
        "scores": {"validation_macro_mean": round(score, 4)},
        "cpu_hours": round(make.cpu_hours(rows[: run.epoch]), 2),
        "intended_use": "research; not a medical device",
    }
    weights.save(path, run, card, target="lungs")
    print(f"{path}: epoch {run.epoch} of {rows[-1]['epoch']}, macro mean {score:.4f}")


if __name__ == "__main__":
    make.start(main)
