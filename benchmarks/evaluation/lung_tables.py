"""Lungs by their air, by the network, and by both; and what limits to them take from marks.

    python benchmarks/evaluation/lung_tables.py --data FOLDER [--folds FILE …]

Every volume of medseg_volumes and covid_ct_seg_slices is judged by weights that have not seen its
patient: those that ship, or else the first of `--folds` (weights/lungs.py --without …) that has
not. Volumes that all have seen are left out, and said so. The air is looked for in grey values that
are mapped back to HU by a straight line, through the median of the expert's lung, taken for -860
HU, and the commonest grey of tissue, taken for 40: that is the lung window to 60 HU but for
medseg8, whose window was another. Those of covid_ct_seg_slices are equalised and no HU: `predict`
looks for no lungs there, and the network is alone. Distances are unknown: those in the slice are
assumed as in `SIDES`, and slices to stand for 300 mm, but to be at most 7 mm apart.

Whatever has seen a volume, its lungs by air alone tell how much of an expert's lesions lies at
worst in parts far from the lungs. Marks are those of the default weights, on volumes that these
have not seen and the series of ct_hu.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "weights"))
import sets

from cosup_jax import metrics, weights
from cosup_jax.data import chest
from cosup_jax.prediction import hysteresis, limits, lungs
from cosup_jax.prediction.lung_tissue import LungError
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.scans import find
from cosup_jax.weights import lung_network
from tfds_builders.covid_ct_seg.covid_ct_seg_dataset_builder import patient_id

SIDES = {"medseg_volumes": 1.15, "covid_ct_seg_slices": 1.4}  # mm, assumed
HEIGHT, FURTHEST = 300.0, 7.0  # mm, assumed
LUNG_HU, TISSUE_HU = -860.0, 40.0
BRIGHT = 120  # grey; tissue is above, and white is not counted
WAYS = ("air", "network", "both")


class Volume(NamedTuple):
    """One volume.

    Attributes:
      name: what it is called.
      patient: whose it is.
      grey: (Z, H, W) float32 in the lung window, or equalised.
      mask: (Z, H, W) bool, the expert's lesions.
      lung: (Z, H, W) bool, the expert's lungs.
      spacing: (z, y, x) in mm.
    """

    name: str
    patient: str
    grey: np.ndarray
    mask: np.ndarray
    lung: np.ndarray
    spacing: tuple[float, float, float]


def volumes(data: Path) -> Iterator[Volume]:
    """Yields all volumes, those validated on last."""
    for split, name in itertools.product(("train", "val"), SIDES):
        pieces = sets.slice_folder(data / name / split)
        for case, members in itertools.groupby(pieces, lambda piece: piece.volume):
            found = list(members)
            person = found[0].patient if name == "medseg_volumes" else patient_id(case)
            image, mask, lung = (np.stack(part) for part in list(zip(*found, strict=True))[:3])
            spacing = min(FURTHEST, HEIGHT / len(found)), SIDES[name], SIDES[name]
            yield Volume(case, person, image, mask, lung, spacing)


def hu(volume: Volume) -> np.ndarray:
    """Returns (Z, H, W) float32 in HU, as far as grey values tell."""
    lung = float(np.median(volume.grey[volume.lung & ~volume.mask]))
    height, width = volume.grey.shape[1:]
    middle = np.s_[:, height // 4 : -height // 4, width // 4 : -width // 4]
    grey = volume.grey[middle][~volume.lung[middle]].astype(np.uint8)
    tissue = BRIGHT + int(np.bincount(grey, minlength=256)[BRIGHT:250].argmax())
    slope = (TISSUE_HU - LUNG_HU) / (tissue - lung)
    return LUNG_HU + (volume.grey - np.float32(lung)) * np.float32(slope)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the Dice of two masks."""
    return 2 * np.count_nonzero(one & other) / max(1, np.count_nonzero(one) + other.sum())


def found_by(volume: Volume, network: lung_network.LungNetwork) -> dict[str, lungs.Lungs | None]:
    """Returns the lungs by each of `WAYS`; None where nothing is told."""
    shown = network.probabilities(volume.grey, "grey8") > network.threshold
    found: dict[str, lungs.Lungs | None] = {"network": lungs.Lungs(shown.astype(np.uint8), False)}
    for way, other in (("air", None), ("both", network)):
        found[way] = None
        if volume.spacing[1] == SIDES["covid_ct_seg_slices"]:
            continue
        try:
            found[way] = lungs.find(hu(volume), volume.spacing, other)
        except LungError as error:
            print(f"{volume.name}, {way}: {error}", file=sys.stderr)
    return found


def lungs_row(volume: Volume, found: dict[str, lungs.Lungs | None]) -> list[str]:
    """Returns Dice with the expert's lungs by each way, and the share of lesions outside of them.

    Outside is what `outside_lung_ml` counts: more than `lungs.REACH` mm from the lungs. The last
    cells are what lies in slices beyond them, in parts that are nowhere near them, and in parts
    that touch no lung of the network.
    """
    cells, lesion = [], max(1, np.count_nonzero(volume.mask))
    for way in WAYS:
        lung = found[way]
        cells.append("–" if lung is None else f"{dice(lung.labels > 0, volume.lung):.3f}")
    for way in WAYS:
        lung = found[way]
        if lung is None:
            cells.append("–")
            continue
        near = lungs.reach(lung.labels, volume.spacing, lungs.REACH)
        cells.append(f"{100 * np.count_nonzero(volume.mask & ~near) / lesion:.2f}")
    lung = found["both"] or found["network"]
    assert lung is not None
    first, last = limits.reaching(lung, volume.spacing)
    beyond = np.concatenate([volume.mask[: max(0, first)], volume.mask[last + 1 :]])
    far = limits.far_parts(volume.mask, lung, volume.spacing)
    by_network = found["network"]
    assert by_network is not None
    near = np.stack([chest.touching(part) for part in by_network.labels > 0])
    beside = int(limits.parts_beside(volume.mask, near)[1].sum())
    lost = (np.count_nonzero(beyond), np.count_nonzero(far), beside)
    return [*cells, *(f"{100 * n / lesion:.2f}" for n in lost)]


def far_row(volume: Volume) -> list[str]:
    """Returns mL of an expert's lesions, and of those far from the lungs that have air alone."""
    voxel_ml = metrics.voxel_ml(volume.spacing)
    try:
        lung = lungs.find(hu(volume), volume.spacing)
    except LungError as error:
        return [volume.name, str(error), "–"]
    far = limits.far_parts(volume.mask, lung, volume.spacing)
    return [volume.name, *(f"{np.count_nonzero(m) * voxel_ml:.2f}" for m in (volume.mask, far))]


def marks_row(
    mask: np.ndarray, lung: lungs.Lungs | None, spacing: tuple[float, float, float],
    truth: np.ndarray | None,
) -> list[str]:  # fmt: skip
    """Returns mL of marks: all, outside of the lungs, beyond them, far from them; empty slices."""
    voxel_ml = metrics.voxel_ml(spacing)

    def ml(part: np.ndarray | bool) -> str:
        return f"{np.count_nonzero(part) * voxel_ml:.1f}"

    outside = beyond = far = np.zeros_like(mask)
    if lung is not None:
        outside = mask & ~lungs.reach(lung.labels, spacing, lungs.REACH)
        first, last = limits.reaching(lung, spacing)
        numbers = np.arange(len(mask))
        beyond = mask & ((numbers < first) | (numbers > last))[:, None, None]
        far = limits.far_parts(mask, lung, spacing)
    cells = [ml(mask)]
    for part in (outside, beyond, far):
        cells.append(ml(part) if truth is None else f"{ml(part)} ({ml(part & truth)})")
    if truth is None:
        return [*cells, "–"]
    empty = ~truth.any((1, 2))
    counts = [int((part[empty].any((1, 2))).sum()) for part in (mask, mask & ~(beyond | far))]
    return [*cells, f"{counts[0]}, {counts[1]} of {int(empty.sum())}"]


def table(head: Sequence[str], rows: Iterator[list[str]]) -> None:
    """Prints Markdown, each row when it is there."""
    print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print(flush=True)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets and ct_hu")
    parser.add_argument("--lungs", type=Path, help="other weights than those that ship")
    parser.add_argument("--folds", nargs="*", type=Path, default=[], help="see above")
    parser.add_argument("--no_marks", action="store_true", help="the first table alone")
    arguments = parser.parse_args()
    main_file = weights.load(arguments.lungs) if arguments.lungs else weights.load_lungs()
    files = [main_file, *map(weights.load, arguments.folds)]
    networks = [(set(w.card["trained_on"]), lung_network.LungNetwork(w)) for w in files]
    kept: list[tuple[Volume, lungs.Lungs | None]] = []

    def lung_rows() -> Iterator[list[str]]:
        for volume in volumes(arguments.data):
            of = [i for i, (people, _) in enumerate(networks) if volume.patient not in people]
            if not of:
                print(f"{volume.name}: trained on by all weights", file=sys.stderr)
                continue
            found = found_by(volume, networks[of[0]][1])
            if of[0] == 0:
                kept.append((volume, found["both"] or found["network"]))
            which = "shipped" if of[0] == 0 else f"fold {of[0]}"
            yield [volume.name, str(len(volume.mask)), which, *lungs_row(volume, found)]

    ways = ", ".join(WAYS)
    head = ["volume", "slices", "weights", *(f"Dice, {w}" for w in WAYS)]
    table(
        [
            *head,
            *(f"lesion outside, %, {w}" for w in WAYS),
            "beyond along z, %",
            "far parts, %",
            "touching no lung, %",
        ],
        lung_rows(),
    )
    print(f"Ways: {ways}; Outside: more than {lungs.REACH:g} mm from the lungs.\n")
    windowed = (v for v in volumes(arguments.data) if v.spacing[1] == SIDES["medseg_volumes"])
    table(["volume", "lesions, mL", "far parts by air alone, mL"], map(far_row, windowed))
    if arguments.no_marks:
        return
    lesions = weights.load_pretrained()
    segment = Segmenter(lesions)

    def marked(slices: Sequence[np.ndarray], intensity: str) -> np.ndarray:
        boxes = segment.boxes(slices, intensity)
        found = segment(iter(slices), intensity, len(slices), boxes)
        return np.stack(hysteresis.marked(found, lesions.threshold, lesions.peak))

    def mark_rows() -> Iterator[list[str]]:
        for volume, lung in kept:
            mask = marked(volume.grey, "grey8")
            yield [volume.name, *marks_row(mask, lung, volume.spacing, volume.mask)]
        for source in find.find_scans([arguments.data / "ct_hu"], Path())[0]:
            scan = source.read()
            slices = scan.true_slices()
            assert scan.spacing is not None
            lung = lungs.find(np.stack(slices), scan.spacing, networks[0][1])
            name = f"{source.path.name}, lungs {np.count_nonzero(lung.labels)} voxels"
            mask = marked(slices, scan.intensity)
            yield [name, *marks_row(mask, lung, scan.spacing, None)]

    head = ["volume", "marks, mL", "outside of the lungs (true)", "beyond along z (true)"]
    table([*head, "far parts (true)", "empty slices marked, before and after"], mark_rows())


if __name__ == "__main__":
    main()
