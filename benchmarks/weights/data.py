"""Puts together the slices that the published weights are trained on, as one slice folder.

    python benchmarks/weights/data.py --data FOLDER --out FOLDER

The case ids name the set, so that each can be given its share (`sampling.groups`):

- `equalised`: covid_ct_seg_slices, whole slices, all of them with infection;
- `medseg`: medseg_volumes, whole slices in the lung window, many without infection;
- `normal`: normal_slices, none with infection; the third person is validated on;
- `equalised-crop`, `medseg-crop`, `normal-crop`: the same cut to the box of the volume's lungs, as
  prediction cuts a scan; these alone are validated on;
- `cut`: of COVID-SemiSeg's unlabelled slices, which are crops in other windows of the volumes of
  covid_ct_seg_slices, those whose slice is found there for sure (registration.py), with the
  experts' mask of it; in training alone;
- `semiseg`: COVID-SemiSeg's labelled slices, 45 to train on and 5 to validate on, the same five as
  in the data set `covid_semiseg`;
- `pool`, with `--pool WEIGHTS` alone: the unlabelled slices of these volumes that were not found,
  with what the weights mark in them; in training alone.

Only patients of the training splits are trained on; test slices are not read at all.
"""

import argparse
import csv
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cosup_jax import load_pretrained
from cosup_jax.data import chest, slice_files
from cosup_jax.prediction import hysteresis
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.scans import images, names
from cosup_jax.weights import Pretrained
from tfds_builders.covid_ct_seg.covid_ct_seg_dataset_builder import patient_id
from tfds_builders.covid_semiseg import covid_semiseg_dataset_builder as covid_semiseg

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
import registration
import sets

COLUMNS = ("file", "case", "patient", "slice")
SIZES = ((512, 512), (630, 630), (401, 630))  # (height, width) of the 20 volumes when cut
WRITTEN = 1_600_000_000  # one time for all files: the same data have the same fingerprint
VALIDATION_EVERY = {"equalised": 2, "normal": 2}  # neighbours say little more, and cost time
TRAINING, VALIDATION = "train", "val"


class Slice(NamedTuple):
    """One slice to write.

    Attributes:
      case: its case, which starts with the set.
      patient: whose it is, empty where that is unknown.
      number: its position.
      image: (H, W) uint8.
      mask: (H, W) bool.
    """

    case: str
    patient: str
    number: int
    image: np.ndarray
    mask: np.ndarray


def main() -> None:
    """Writes the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the five sets")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--pool", help="name or file of weights that label what nobody has")
    arguments = parser.parse_args()
    network = load_pretrained(arguments.pool) if arguments.pool else None
    assemble(arguments.data, arguments.out, network)


def assemble(data: Path, out: Path, network: Pretrained | None = None) -> None:
    """Writes both splits of the weights that mark infection; a network labels the pool."""
    write_splits(out, lambda split: slices(data, split, network))


def write_splits(out: Path, slices: Callable[[str], Iterable[Slice]]) -> None:
    """Writes the slices of both splits, and says how many each set has in them."""
    for split in (TRAINING, VALIDATION):
        rows = [write(piece, out / split) for piece in slices(split)]
        index = out / f"{split}_index.csv"
        with index.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        os.utime(index, (WRITTEN, WRITTEN))
        sets = [row[1].partition(".")[0] for row in rows]
        told = ", ".join(f"{name} {sets.count(name)}" for name in dict.fromkeys(sets))
        print(f"{split}: {len(rows)} slices ({told})", flush=True)


def slices(data: Path, split: str, network: Pretrained | None = None) -> Iterator[Slice]:
    """Yields all slices of a split, set by set, with a pool where a network labels it."""
    equalised, medseg = data / "covid_ct_seg_slices" / split, data / "medseg_volumes" / split
    for name, pieces in (
        ("equalised", whole_slices("equalised", equalised, lambda row: patient_id(row["case"]))),
        ("medseg", whole_slices("medseg", medseg, lambda row: row["patient"])),
        ("normal", normal_slices(data / "normal_slices", split)),
    ):
        found = list(pieces)
        if split == TRAINING:
            yield from found
        yield from thinned(crops(found), split, name)
    semiseg = data / "covid_semiseg"
    if split == TRAINING:
        found = list(cuts(semiseg, equalised))
        yield from found
        if network is not None:
            yield from pool(semiseg, equalised, found, network)
    yield from labelled(semiseg, split)


def thinned(found: Iterator[Slice], split: str, name: str) -> Iterator[Slice]:
    """Yields every slice to train on, and only every so many of some sets to validate on."""
    every = VALIDATION_EVERY.get(name, 1) if split == VALIDATION else 1
    return (piece for i, piece in enumerate(found) if i % every == 0)


def read_index(folder: Path) -> list[dict[str, str]]:
    """Reads the index that lies beside a split's folder."""
    with folder.with_name(f"{folder.name}_index.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_binary(folder: Path, kind: str, file: str) -> np.ndarray:
    """Reads a mask or lungs, (H, W) bool."""
    return images.read_labels(folder / kind / file, sets.MASK_VALUES) > 0


def whole_slices(
    name: str, folder: Path, person: Callable[[dict[str, str]], str]
) -> Iterator[Slice]:
    """Yields the slices of a split as they are."""
    for row in read_index(folder):
        image = images.read_grey(folder / "image" / row["file"])
        mask = read_binary(folder, "mask", row["file"])
        number = names.name_from_file(Path(row["file"]).stem).slice_index
        yield Slice(f"{name}.{row['case']}", person(row), number, image, mask)


def crops(pieces: list[Slice]) -> Iterator[Slice]:
    """Yields the slices of a set cut to the box of the lungs, one box for each volume."""
    for case, volume in itertools.groupby(pieces, lambda piece: piece.case):
        members = list(volume)
        box = chest.find_box(piece.image for piece in members)
        assert box is not None  # the slices of a volume are of one size
        name, _, rest = case.partition(".")
        for piece in members:
            yield piece._replace(
                case=f"{name}-crop.{rest}", image=piece.image[box], mask=piece.mask[box]
            )


def cuts(semiseg: Path, wholes: Path) -> Iterator[Slice]:
    """Yields unlabelled slices that are cut from labelled ones, with the masks of these."""
    files: dict[str, list[str]] = {}
    for row in read_index(wholes):
        files.setdefault(row["case"], []).append(row["file"])
    for case, pictures in unlabelled(semiseg, files):
        numbers, stored = list(pictures), list(pictures.values())
        known = [images.read_grey(wholes / "image" / file) for file in files[case]]
        size = registration.find_size(stored, known, SIZES)
        for cut in registration.find_cuts(stored, known, size):
            mask = read_binary(wholes, "mask", files[case][cut.slice])
            image = stored[cut.picture]
            truth = registration.cut_out(mask, cut, image.shape, size)
            yield Slice(f"cut.{case}", patient_id(case), numbers[cut.picture], image, truth)


def unlabelled(semiseg: Path, cases: Iterable[str]) -> Iterator[tuple[str, dict[int, np.ndarray]]]:
    """Yields the unlabelled slices of each case, (H, W) uint8 upright, by their number."""
    paths: dict[str, dict[int, Path]] = {}
    imgs = semiseg / covid_semiseg.PSEUDO / "Imgs"
    for stem, path in slice_files.list_slices(imgs, semiseg).items():
        name = covid_semiseg.volume_name(stem)
        paths.setdefault(name.case_id, {})[name.slice_index] = path
    for case in sorted(paths.keys() & set(cases)):
        back = covid_semiseg.is_from_back(case)
        yield (
            case,
            {
                number: np.ascontiguousarray(
                    covid_semiseg.upright(images.read_grey(paths[case][number]), from_back=back)
                )
                for number in sorted(paths[case])
            },
        )


def pool(
    semiseg: Path, wholes: Path, found: Iterable[Slice], network: Pretrained
) -> Iterator[Slice]:
    """Yields the unlabelled slices of which no labelled one is known, as a network marks them."""
    known = {(piece.case, piece.number) for piece in found}
    segment = Segmenter(network)
    for case, pictures in unlabelled(semiseg, {row["case"] for row in read_index(wholes)}):
        rest = {n: image for n, image in pictures.items() if (f"cut.{case}", n) not in known}
        grey = (image.astype(np.float32) for image in rest.values())
        maps = segment(grey, "grey8", len(rest))
        for (number, image), probability in zip(rest.items(), maps, strict=True):
            (mask,) = hysteresis.marked([probability], network.threshold, network.peak)
            yield Slice(f"pool.{case}", patient_id(case), number, image, mask)


def labelled(semiseg: Path, split: str) -> Iterator[Slice]:
    """Yields COVID-SemiSeg's training slices with experts' masks, whose patients are unknown."""
    folder = semiseg / covid_semiseg.DOCTOR
    files = slice_files.list_slices(folder / "Imgs", semiseg)
    kept = covid_semiseg.validation_names(list(files))
    for i, (stem, path) in enumerate(files.items()):
        if (stem in kept) == (split == VALIDATION):
            image = covid_semiseg.upright(images.read_grey(path), from_back=False)
            mask = read_binary(folder, "GT", f"{stem}.png")
            upright = covid_semiseg.upright(mask, from_back=False)
            yield Slice(f"semiseg.{stem}", "", i, image, upright)


def normal_slices(folder: Path, split: str) -> Iterator[Slice]:
    """Yields the slices of people without pneumonia; the third person is validated on."""
    for stem, path in slice_files.list_slices(folder / "image", folder).items():
        name = names.name_from_file(stem)
        if (name.case_id == sets.HEALTHY) == (split == VALIDATION):
            image = images.read_grey(path)
            empty = np.zeros(image.shape, bool)
            yield Slice(f"normal.{name.case_id}", name.case_id, name.slice_index, image, empty)


def write(piece: Slice, folder: Path) -> tuple[str, str, str, int]:
    """Writes image and mask of a slice and returns its row of the index."""
    name = f"{piece.case}_{piece.number:04d}.png"
    grey = {"image": piece.image, "mask": piece.mask.astype(np.uint8) * 255}
    for kind, values in grey.items():
        path = folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(values)).save(path)
        os.utime(path, (WRITTEN, WRITTEN))
    return name, piece.case, piece.patient, piece.number


if __name__ == "__main__":
    main()
