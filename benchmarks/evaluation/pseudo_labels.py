r"""Pseudo labels of COVID-SemiSeg's unlabelled slices beside experts' masks of the same slices.

    python benchmarks/evaluation/pseudo_labels.py --semiseg FOLDER --slices FOLDER \
      --pseudo RUN/pseudo --network before=RUN/labelled --network after=RUN

Prints Markdown. The unlabelled slices are crops of the 20 volumes; `--slices` is a slice folder of
whole slices of these volumes with masks and lungs, of which `--split` is used. Which slice a crop
is of, and where, is found by correlation (registration.py); crops that are not found for sure are
counted and left out. Scores are on the crops' own pixels. Beside the labels of a semi-supervised
run, if it is given, stand the published ones (at 0.5), what networks make of the crops, how good
the experts' own masks would be at the networks' size, and two simple rules that are told where the
lungs are: all of them, and their brighter part after Otsu. Takes about two minutes.
"""

import argparse
import csv
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import scipy.stats
from registration import Cut, cut_out, find_cuts, find_size
from tqdm import tqdm

from cosup_jax import load_pretrained
from cosup_jax.data import preprocess, slice_files
from cosup_jax.metrics import THRESHOLD, Counts, confusion, dice, precision, sensitivity
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.scans import images
from cosup_jax.scans.names import name_from_file
from cosup_jax.training import pseudo
from cosup_jax.weights import Pretrained
from tfds_builders.covid_ct_seg.covid_ct_seg_dataset_builder import patient_id
from tfds_builders.covid_semiseg import covid_semiseg_dataset_builder as covid_semiseg

SIZES = ((512, 512), (630, 630), (401, 630))  # (height, width) of the 20 volumes
PUBLISHED, OURS = "published labels", "labels of the run"

Group = tuple[str, np.ndarray]  # what to call slices, and their positions


@dataclass(frozen=True)
class Scored:
    """A crop with experts' mask.

    Attributes:
      case: its volume.
      number: the crop's number in its name.
      cut: where it was found.
      counts: pixels of each kind of label, by its name.
      row: what the run's index says of it, or nothing.
    """

    case: str
    number: int
    cut: Cut
    counts: Mapping[str, Counts]
    row: Mapping[str, str]


def main() -> None:
    """Prints how the crops were found, and the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--semiseg", type=Path, required=True, help="COVID-SemiSeg")
    parser.add_argument("--slices", type=Path, required=True, help="whole slices with masks, lungs")
    parser.add_argument("--split", default="train", help="folder of --slices (default: train)")
    parser.add_argument("--pseudo", type=Path, help="folder `pseudo` of a semi-supervised run")
    parser.add_argument("--network", action="append", default=[], help="NAME=FOLDER of a run")
    arguments = parser.parse_args()
    networks = {}
    for text in arguments.network:
        name, _, folder = text.partition("=")
        networks[f"network {name}"] = load_pretrained(folder)
    crops = list_crops(arguments.semiseg / covid_semiseg.PSEUDO)
    wholes = list_wholes(arguments.slices / arguments.split)
    rows = read_rows(arguments.pseudo) if arguments.pseudo else {}
    scored, total = [], 0
    for case, files in tqdm(sorted(wholes.items()), unit="volume"):
        if case in crops:
            total += len(crops[case])
            scored += score_case(case, crops[case], files, rows, arguments.pseudo, networks)
    if not scored:
        raise SystemExit(f"no crop of {arguments.semiseg} was found in {arguments.slices}")
    print(how_found(scored, total))
    print(methods_table(scored))
    if rows:
        labelled = [s for s in scored if s.row]
        if not labelled:
            raise SystemExit(f"{arguments.pseudo} has a label of none of these crops")
        print(groups_table(labelled, (*by_run(labelled), *by_patient(labelled)), OURS, PUBLISHED))
        print(agreement(labelled))
    else:
        print(groups_table(scored, by_patient(scored), PUBLISHED))


def list_crops(folder: Path) -> dict[str, list[tuple[int, Path, Path]]]:
    """Lists number, picture and published label of the crops of each volume, in their order."""
    pictures = slice_files.list_slices(folder / "Imgs", folder)
    labels = slice_files.list_slices(folder / "GT", folder, masks=True)
    slice_files.match(pictures, labels, folder / "GT")
    found = defaultdict(list)
    for stem, path in pictures.items():
        name = covid_semiseg.volume_name(stem)
        found[name.case_id].append((name.slice_index, path, labels[stem]))
    return {case: sorted(crops) for case, crops in found.items()}


def list_wholes(folder: Path) -> dict[str, list[Path]]:
    """Lists the pictures of the whole slices of each volume, in the order of the volume."""
    found = defaultdict(list)
    for stem, path in slice_files.list_slices(folder / "image", folder).items():
        name = name_from_file(stem)
        found[name.case_id].append((name.slice_index, path))
    return {case: [path for _, path in sorted(files)] for case, files in found.items()}


def read_rows(folder: Path) -> dict[tuple[str, int], dict[str, str]]:
    """Reads of each slice that a run has labelled the row of its index, by case and number."""
    with (folder / pseudo.INDEX).open(newline="") as file:
        return {(row["case"], int(row["slice"])): row for row in csv.DictReader(file)}


def score_case(
    case: str,
    crops: Sequence[tuple[int, Path, Path]],
    wholes: Sequence[Path],
    rows: Mapping[tuple[str, int], Mapping[str, str]],
    labelled: Path | None,
    networks: Mapping[str, Pretrained],
) -> list[Scored]:
    """Finds the crops of a volume in its slices and counts their pixels, label by label."""
    from_back = covid_semiseg.is_from_back(case)

    def upright(stored: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(covid_semiseg.upright(stored, from_back=from_back))

    pictures = [upright(images.read_grey(path)) for _, path, _ in crops]
    slices = [images.read_grey(path) for path in wholes]
    size = find_size(pictures, slices, SIZES)
    cuts = find_cuts(pictures, slices, size)
    found = {
        name: list(Segmenter(network)(floating(pictures, cuts), "grey8", len(pictures)))
        for name, network in networks.items()
    }
    scored = []
    for i, cut in enumerate(cuts):
        picture, whole = pictures[cut.picture], wholes[cut.slice]
        truth, lung = (
            cut_out(read_binary(whole, kind), cut, picture.shape, size) for kind in ("mask", "lung")
        )
        number, _, label = crops[cut.picture]
        labels = {
            "all of the lungs": lung,
            "bright part of the lungs": bright(picture, lung),
            PUBLISHED: upright(images.read_codes(label)) >= covid_semiseg.PSEUDO_THRESHOLD,
        }
        row = rows.get((case, number), {})
        if labelled and row:
            path = labelled / "train" / "mask" / row["file"]
            labels[OURS] = images.read_labels(path, pseudo.MASK_VALUES) > 0
        labels |= {name: maps[i] > THRESHOLD for name, maps in found.items()}
        for height, width in {network.preprocessing.size for network in networks.values()}:
            labels[f"experts' masks at {height}×{width}"] = coarse(truth, (height, width))
        counts = {name: confusion(mask[None], truth[None]) for name, mask in labels.items()}
        scored.append(Scored(case, number, cut, counts, row))
    return scored


def floating(pictures: Sequence[np.ndarray], cuts: Iterable[Cut]) -> Iterator[np.ndarray]:
    """Yields the pictures that were found as a network takes them, (h, w) float32."""
    for cut in cuts:
        yield pictures[cut.picture].astype(np.float32)


def coarse(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns (H, W) bool: what is left of a mask that a network of another size is trained on."""
    small = preprocess.resize_labels(mask.astype(np.uint8), size).astype(np.float32)
    return preprocess.resize_image(small, mask.shape) > THRESHOLD


def read_binary(whole: Path, kind: str) -> np.ndarray:
    """Reads the mask or the lungs of a whole slice, (H, W) bool."""
    return images.read_labels(whole.parents[1] / kind / whole.name, pseudo.MASK_VALUES) > 0


def bright(picture: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Returns (H, W) bool: what lies in the lungs above Otsu's threshold of their grey values."""
    if not lung.any():
        return lung
    threshold, _ = cv2.threshold(picture[lung], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return lung & (picture > threshold)


def how_found(scored: Sequence[Scored], total: int) -> str:
    """Says how many crops were found, and how sure.

    Numbers in the names of crops and slices are not used to find them. Both count along the body,
    so two crops should be as many slices apart as their numbers are, unless slices were dropped.
    """
    own = np.array([s.cut.correlation for s in scored])
    other = np.array([s.cut.elsewhere for s in scored if s.cut.elsewhere > -1])
    pairs = [(a, b) for a, b in itertools.pairwise(scored) if a.case == b.case]
    apart = [b.cut.slice - a.cut.slice == b.number - a.number for a, b in pairs]
    return (
        f"{len(scored)} of {total} crops of {len({s.case for s in scored})} volumes were found; "
        f"{total - len(scored)} were left out. Correlation with the slice found: median "
        f"{np.median(own):.2f}, least {own.min():.2f}; highest with a slice elsewhere in the "
        f"volume: median {np.median(other):.2f}. {sum(apart)} of {len(apart)} pairs of crops next "
        "to each other are as many slices apart as their numbers, which were not used.\n"
    )


def methods_table(scored: Sequence[Scored]) -> str:
    """Returns a row for each kind of label."""
    lines = ["| labels | slices | Dice | Dice, all pixels | Sens. | Prec. |", "| --- " * 6 + "|"]
    for name in dict.fromkeys(name for s in scored for name in s.counts):
        counts = [s.counts[name] for s in scored if name in s.counts]
        pooled = total(counts)
        both = [float(f(pooled)[0]) for f in (dice, sensitivity, precision)]
        cells = [f"{100 * value:.1f}" for value in (mean_dice(counts), *both)]
        lines.append(f"| {name} | {len(counts)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def by_patient(scored: Sequence[Scored]) -> list[Group]:
    """Returns the slices of each patient."""
    patients = np.array([patient_id(s.case) for s in scored])
    return [(name, np.flatnonzero(patients == name)) for name in np.unique(patients)]


def by_run(labelled: Sequence[Scored]) -> list[Group]:
    """Returns the slices of three parts of the rounds, and of four parts of the confidence."""
    rounds, sure = numbers(labelled, "round"), numbers(labelled, "confidence")
    groups = [
        (f"rounds {third[0]:.0f} to {third[-1]:.0f}", np.flatnonzero(np.isin(rounds, third)))
        for third in np.array_split(np.unique(rounds), 3)
        if len(third)
    ]
    for quarter in np.array_split(np.argsort(sure, kind="stable"), 4):
        if len(quarter):
            low, high = sure[quarter[[0, -1]]]
            groups.append((f"confidence {low:.3f} to {high:.3f}", quarter))
    return groups


def numbers(labelled: Sequence[Scored], column: str) -> np.ndarray:
    """Returns a column of the run's index as (slices,) float64."""
    return np.array([float(s.row[column]) for s in labelled])


def groups_table(scored: Sequence[Scored], groups: Iterable[Group], *kinds: str) -> str:
    """Returns a row for each group of slices, with the Dice of some kinds of label."""
    heads = [f"Dice, {kind} | all pixels" for kind in kinds]
    lines = [f"| slices of | number | {' | '.join(heads)} |", "| --- " * (2 + 2 * len(kinds)) + "|"]
    for name, chosen in groups:
        cells = []
        for kind in kinds:
            counts = [scored[i].counts[kind] for i in chosen]
            cells += [mean_dice(counts), float(dice(total(counts))[0])]
        lines.append(f"| {name} | {len(chosen)} | {' | '.join(f'{100 * c:.1f}' for c in cells)} |")
    return "\n".join(lines) + "\n"


def agreement(labelled: Sequence[Scored]) -> str:
    """Says whether the run was surer of the labels that are better."""
    scores = [mean_dice([s.counts[OURS]]) for s in labelled]
    found = scipy.stats.spearmanr(numbers(labelled, "confidence"), scores).statistic
    return f"Rank correlation (Spearman) of a slice's confidence with its Dice: {found:.2f}."


def mean_dice(counts: Iterable[Counts]) -> float:
    """Returns the mean Dice over slices."""
    return float(np.mean([float(dice(c)[0]) for c in counts]))


def total(counts: Sequence[Counts]) -> Counts:
    """Returns the counts of all pixels together."""
    return Counts(
        *(sum(part.astype(np.int64) for part in kind) for kind in zip(*counts, strict=True))
    )


if __name__ == "__main__":
    main()
