"""Puts together the slices that the published small weights are trained on, as one slice folder.

    python benchmarks/weights_data.py --volumes FOLDER --semiseg FOLDER --out FOLDER --copies 4

`--volumes` is a slice folder (`train`, `val`, with index files) of the 20-volume set, `--semiseg`
COVID-SemiSeg as published. The training split gets all slices of the first's training patients and
the 50 training slices of the second, `--copies` times each, because they are few and the only ones
that were windowed and not equalised; validation is the first's. The 48 test slices are not touched.
Train with `--config.data.name=slice_folder --config.data.source=OUT`.
"""

import argparse
import csv
import shutil
from pathlib import Path

from PIL import Image

from cosup_jax.scans import images
from tfds_builders.covid_semiseg.covid_semiseg_dataset_builder import DOCTOR, upright

COLUMNS = ("file", "case", "patient", "slice")


def main() -> None:
    """Copies the files and writes the index of each split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("volumes", "semiseg", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=1)
    arguments = parser.parse_args()
    for split in ("train", "val"):
        rows = copy_volumes(arguments.volumes, split, arguments.out)
        if split == "train":
            rows += copy_semiseg(arguments.semiseg, arguments.out / split, arguments.copies)
        with (arguments.out / f"{split}_index.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([COLUMNS, *rows])
        print(f"{split}: {len(rows)} slices")


def copy_volumes(folder: Path, split: str, out: Path) -> list[tuple[str, str, str, int]]:
    """Copies a split of a slice folder and returns its index rows."""
    with (folder / f"{split}_index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    for kind in ("image", "mask"):
        shutil.copytree(folder / split / kind, out / split / kind)
    return [
        (row["file"], row["case"], row["patient"], int(Path(row["file"]).stem.rsplit("_", 1)[1]))
        for row in index
    ]


def copy_semiseg(folder: Path, out: Path, copies: int) -> list[tuple[str, str, str, int]]:
    """Copies the 50 training slices, turned upright; whose they are is unknown."""
    rows = []
    for source in sorted((folder / DOCTOR / "Imgs").glob("*.jpg")):
        case = f"semiseg-{source.stem}"
        image = upright(images.read_grey(source), from_back=False)
        mask = upright(
            images.read_codes(folder / DOCTOR / "GT" / f"{source.stem}.png"), from_back=False
        )
        for i in range(copies):
            name = f"{case}_{i}.png"
            Image.fromarray(image).save(out / "image" / name)
            Image.fromarray(mask).save(out / "mask" / name)
            rows.append((name, case, "", i))
    return rows


if __name__ == "__main__":
    main()
