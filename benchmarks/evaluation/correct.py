"""Predict, correct, train again: what it gains on the kind that is corrected, and elsewhere.

    python benchmarks/evaluation/correct.py --workdir runs/circle --seeds 3

Draws phantoms, predicts them with the weights that come with the package, takes the true masks of
those that `predict --uncertain` names first for corrections, trains on from the same weights by
configs/finetune.py with `masks=corrected,test=no`, and scores held-out phantoms before and after,
through the commands that a user would type. `--elsewhere FOLDER`, with volumes in `images/` and
masks of the same names in `masks/`, is scored likewise. The same command goes on after an
interruption. At its default size it takes hours of a CPU; `--size 64 --slices 4 --scans 6 --correct
3 --held-out 2 --epochs 1 --seeds 1` tries it out.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from cosup_jax import files, phantom

ROOT = Path(__file__).parents[2]
FIRST_SEED = 5000  # far from the phantoms of any dataset


def run(*command: object) -> None:
    """Runs a command of a user in the repository, and stops where it fails."""
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True)


def save(path: Path, axial: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Saves a (Z, H, W) volume as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    z, y, x = spacing
    nib.save(nib.Nifti1Image(axial.transpose(2, 1, 0), np.diag([-x, -y, z, 1.0])), path)


def draw(folder: Path, given: argparse.Namespace) -> None:
    """Draws the cohort and the phantoms that are held out."""
    for i in range(given.scans + given.held_out):
        place = folder / ("cohort" if i < given.scans else "held_out")
        path = place / "images" / f"p{i:03d}.nii.gz"
        if path.exists():
            continue
        drawn = phantom.draw_volume(
            FIRST_SEED + i, size=given.size, slices=given.slices, infected=True
        )
        save(place / "masks" / path.name, (drawn.mask > 0).astype(np.uint8), drawn.spacing)
        save(path, drawn.image, drawn.spacing)


def correct(folder: Path, given: argparse.Namespace) -> list[str]:
    """Predicts the cohort and puts true masks in the place of those that are named first."""
    results = folder / "results"
    chosen = folder / "corrected.json"
    if not chosen.exists():
        run("-m", "cosup_jax", "predict", folder / "cohort/images", f"--out={results}",
            f"--weights={given.weights}", f"--uncertain={given.correct}")  # fmt: skip
        with (results / "uncertain.csv").open(newline="") as file:
            names = [row["scan"] for row in csv.DictReader(file)][: given.correct]
        files.write_json(chosen, names)
    names = json.loads(chosen.read_text())
    for name in names:
        truth = folder / "cohort/masks" / f"{name}.nii.gz"
        shutil.copyfile(truth, results / name / "mask.nii.gz")
    return names


def score(folder: Path, name: str, weights: object, sets: dict[str, Path]) -> dict[str, float]:
    """Returns mean Dice over the volumes of each set."""
    found = {}
    for kind, place in sets.items():
        out = folder / "scores" / kind / name
        if not (out / "summary.json").exists():
            masks = folder / "predicted" / kind / name
            run("-m", "cosup_jax", "predict", place / "images", f"--out={masks}",
                f"--weights={weights}")  # fmt: skip
            run("-m", "cosup_jax", "evaluate", f"--predictions={masks}",
                f"--truth={place / 'masks'}", f"--out={out}")  # fmt: skip
        summary = json.loads((out / "summary.json").read_text())
        found[kind] = summary["per_volume"]["dice"]["mean"]
    return found


def main() -> None:
    """Goes around once for each seed, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--elsewhere", type=Path, help="folder with images/ and masks/")
    parser.add_argument("--weights", default="c2f-small")
    parser.add_argument("--size", type=int, default=192, help="pixels")
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--correct", type=int, default=12)
    parser.add_argument("--held-out", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    folder = given.workdir.expanduser().resolve()
    draw(folder, given)
    print(f"corrected: {', '.join(correct(folder, given))}")
    sets = {"phantoms held out": folder / "held_out"}
    if given.elsewhere:
        sets["elsewhere"] = given.elsewhere.expanduser().resolve()
    rows = {"before": score(folder, "before", given.weights, sets)}
    for seed in range(given.seeds):
        workdir = folder / f"run{seed}"
        run("train.py", f"--config=configs/finetune.py:data=volume_folder,weights={given.weights}",
            f"--config.data.source={folder / 'results'}", f"--config.seed={seed}",
            "--config.data.config=masks=corrected,test=no", f"--config.epochs={given.epochs}",
            f"--config.data.data_dir={folder / 'tfds'}", f"--workdir={workdir}",
            f"--config.batch_size={given.batch_size}")  # fmt: skip
        rows[f"after, seed {seed}"] = score(folder, f"after{seed}", workdir, sets)
    print("| mean Dice of volumes |", " | ".join(sets), "|")
    print("| --- |", " | ".join("---" for _ in sets), "|")
    for name, row in rows.items():
        gain = [row[kind] - rows["before"][kind] for kind in sets]
        cells = (f"{row[kind]:.4f} ({more:+.4f})" for kind, more in zip(sets, gain, strict=True))
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
