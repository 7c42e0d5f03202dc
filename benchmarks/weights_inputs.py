"""What weights make of each kind of input: equalised, windowed, cropped to the lungs, in HU.

    python benchmarks/weights_inputs.py --weights c2f-small --volumes FOLDER --semiseg FOLDER

Prints Markdown: Dice at probability 0.5 and the slice's own size, mean over slices. `--volumes` is
a slice folder of which `val` is scored, with lung masks; `--semiseg` COVID-SemiSeg as published, of
which the 48 test slices are. Without them only phantoms are scored, of patients whom no data set
of the package holds: in HU, the same as 8-bit slices in the lung window, and these equalised. Of
those without infection the volume marked is given, since every millilitre of it is wrong.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cosup_jax import load_pretrained, phantom
from cosup_jax.data import preprocess
from cosup_jax.metrics import confusion, dice, lesion_volume
from cosup_jax.prediction.segment import THRESHOLD, Segmenter
from cosup_jax.scans import images
from tfds_builders.covid_semiseg.covid_semiseg_dataset_builder import upright

FIRST_SEED = 5000
Slices = Iterable[tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Prints a row per kind of input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default="c2f-small", help="a name, a file or a run's folder")
    parser.add_argument("--volumes", type=Path, help="slice folder with val/image, mask, lung")
    parser.add_argument("--semiseg", type=Path, help="COVID-SemiSeg")
    parser.add_argument("--patients", type=int, default=6, help="phantoms, ill and healthy each")
    parser.add_argument("--tta", action="store_true", help="average over mirror images")
    arguments = parser.parse_args()
    segment = Segmenter(load_pretrained(arguments.weights), tta=arguments.tta)
    print("| input | slices | Dice |\n| --- | --- | --- |")
    if arguments.volumes:
        val = list(read_folder(arguments.volumes / "val", "image", "mask"))
        lungs = list(read_folder(arguments.volumes / "val", "image", "lung"))
        row("validation slices, equalised", val, segment)
        crops = [crop(*pair, lung) for pair, (_, lung) in zip(val, lungs, strict=True)]
        row("the same, cropped to the lungs", crops, segment)
    if arguments.semiseg:
        test = read_folder(arguments.semiseg / "TestingSet/LungInfection-Test", "Imgs", "GT")
        turned = [tuple(upright(part, from_back=False) for part in pair) for pair in test]
        row("COVID-SemiSeg's 48 test slices, windowed", turned, segment)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.patients)
    ill = [phantom.draw_volume(seed, infected=True) for seed in seeds]
    slices = [pair for v in ill for pair in zip(v.image.astype(np.float32), v.mask, strict=True)]
    grey = [(as_grey8(image), mask) for image, mask in slices]
    row("ill phantoms in HU", slices, segment, "hu")
    row("the same as 8-bit slices in the lung window", grey, segment)
    row("the same, equalised", [(equalise(image), mask) for image, mask in grey], segment)
    print("\n| healthy phantom | marked, mL | share of the lungs |\n| --- | --- | --- |")
    for seed in seeds:
        volume = phantom.draw_volume(seed, infected=False)
        found = segment(volume.image.astype(np.float32), "hu", len(volume.image))
        marked = lesion_volume(np.stack(list(found)) > THRESHOLD, volume.spacing)
        share = marked / lesion_volume(volume.lung, volume.spacing)
        print(f"| {seed} | {marked:.1f} | {share:.2%} |")


def row(name: str, slices: list[tuple[np.ndarray, np.ndarray]], segment, intensity="grey8"):
    """Scores slices and prints a row of the table."""
    found = segment((image for image, _ in slices), intensity, len(slices))
    scores = [
        float(dice(confusion(p[None] > THRESHOLD, mask[None] > 0))[0])
        for p, (_, mask) in zip(found, slices, strict=True)
    ]
    print(f"| {name} | {len(scores)} | {np.mean(scores):.3f} |")


def read_folder(folder: Path, image: str, mask: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images, (H, W) float32, and masks, of the same names in two folders."""
    for path in sorted((folder / mask).glob("*.png")):
        (source,) = (folder / image).glob(f"{path.stem}.*")
        yield images.read_grey(source).astype(np.float32), images.read_codes(path)


def crop(image: np.ndarray, mask: np.ndarray, lung: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a slice to the box around its lungs; without lungs it stays whole."""
    if not lung.any():
        return image, mask
    rows, columns = (np.flatnonzero(lung.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return image[box], mask[box]


def as_grey8(hu: np.ndarray) -> np.ndarray:
    """Returns HU in the lung window as whole grey values 0..255, float32."""
    return np.rint(255 * preprocess.apply_window(hu, preprocess.LUNG_WINDOW)).astype(np.float32)


def equalise(grey: np.ndarray) -> np.ndarray:
    """Returns grey values 0..255 with a flat histogram."""
    counts = np.bincount(grey.astype(np.intp).ravel(), minlength=256)
    return (255 * np.cumsum(counts) / grey.size)[grey.astype(np.intp)].astype(np.float32)


if __name__ == "__main__":
    main()
