"""What weights reach on real CT that they were not trained on, and on which kinds of input.

    python benchmarks/weights/table.py --data FOLDER --weights c2f-base

Prints Markdown; the card of the weights has it. `--data` holds covid_ct_seg_slices, medseg_volumes,
covid_semiseg, normal_slices and ct_hu. Everything is scored at the slice's own size, with the
threshold and the peak that the weights bring along unless options say others, and the network sees
slices of the size it was trained at unless `--size` says another. `--test` scores COVID-SemiSeg's
48 test slices too: once for each file that ships, and never to choose anything.
"""

import argparse
import csv
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import score
import sets
from scipy import stats

from cosup_jax import load_pretrained, metrics, weights
from cosup_jax.evaluation.calibration import calibration
from cosup_jax.metrics import Counts
from cosup_jax.prediction import cohort, hysteresis
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.prediction.settings import Settings
from cosup_jax.scans import find
from cosup_jax.weights import Pretrained

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the five sets")
    parser.add_argument(
        "--weights", default=weights.DEFAULT, help="a name, a file or a run's folder"
    )
    parser.add_argument("--threshold", type=float, help="default: that of the weights")
    parser.add_argument("--peak", type=float, help="likewise; 0 for none")
    parser.add_argument(
        "--size", nargs=2, type=int, metavar=("HEIGHT", "WIDTH"), help="default: of the weights"
    )
    parser.add_argument("--tta", action="store_true", help="average over mirror images")
    parser.add_argument("--test", action="store_true", help="score the 48 test slices too")
    parser.add_argument("--only_sets", action="store_true", help="the validation sets alone")
    arguments = parser.parse_args()
    network = load_pretrained(arguments.weights)
    if arguments.size:
        prepared = dataclasses.replace(network.preprocessing, size=tuple(arguments.size))
        network = dataclasses.replace(network, preprocessing=prepared)
    threshold = arguments.threshold or network.threshold
    peak = network.peak if arguments.peak is None else arguments.peak
    print(
        f"{network.name}, threshold {threshold}, peak {peak}{', mirrored' * arguments.tta}\n",
        flush=True,
    )
    segment = Segmenter(network, tta=arguments.tta)
    pieces = sets.validation(arguments.data)
    found = {name: score.score(segment, part, peak) for name, part in pieces.items()}
    print(sets_table(found, threshold), flush=True)
    macro = score.macro_mean(found, threshold)
    print(f"Macro mean {macro:.3f}; the best threshold is {score.choose_threshold(found)}.\n")
    print(thresholds_table(found), flush=True)
    print(calibration_table(found), flush=True)
    if arguments.only_sets:
        return
    settings = Settings(threshold=threshold, peak=peak, tta=arguments.tta)
    print(scans_table(arguments.data, network, segment, settings), flush=True)
    equalised, medseg, *_ = pieces.values()
    others = {**sets.kinds_of_input(medseg, equalised), "phantoms in HU": sets.phantoms()}
    if arguments.test:
        others["COVID-SemiSeg, the 48 for testing"] = sets.semiseg_test(arguments.data)
    scored = {name: score.score(segment, part, peak) for name, part in others.items()}
    print(sets_table(scored, threshold))


def sets_table(found: dict[str, score.Scored], threshold: float) -> str:
    """Returns a row for each kind of input."""
    lines = [
        "| input | patients | infected slices | Dice (95 % by patient) | all pixels "
        "| protocol semiseg | empty slices marked | all slices, empty on empty 1 |",
        "| --- " * 8 + "|",
    ]
    for name, part in found.items():
        ill, (wrong, empty) = part.infected, score.marked(part, threshold)
        cells = [name, str(len(set(part.patients))), str(ill.sum()), "–", "–", "–"]
        if ill.any():
            low, high = score.interval(part, threshold)
            cells[3] = f"{score.mean_dice(part, threshold):.3f} ({low:.3f} to {high:.3f})"
            cells[4] = f"{score.pooled(part, threshold)[0]:.3f}"
            cells[5] = f"{part.semiseg[ill].mean():.3f}"
        cells.append(f"{wrong} of {empty}" if empty else "–")
        cells.append(f"{metrics.dice(part.at(threshold), empty='one').mean():.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def thresholds_table(found: dict[str, score.Scored]) -> str:
    """Returns sensitivity, Dice and false marks by threshold, all validation sets together."""
    lines = [
        "| threshold | macro mean | sensitivity, all pixels | Dice, all pixels "
        "| empty slices marked |",
        "| --- " * 5 + "|",
    ]
    together = score.Scored(
        Counts(*(np.concatenate(n) for n in zip(*(f.levels for f in found.values()), strict=True))),
        [name for part in found.values() for name in part.patients],
        np.concatenate([part.semiseg for part in found.values()]),
    )
    for threshold in THRESHOLDS:
        dice, sensitivity = score.pooled(together, threshold)
        wrong, empty = score.marked(together, threshold)
        macro = score.macro_mean(found, threshold)
        lines.append(
            f"| {threshold} | {macro:.3f} | {sensitivity:.3f} | {dice:.3f} | {wrong} of {empty} |"
        )
    return "\n".join(lines) + "\n"


def calibration_table(found: dict[str, score.Scored]) -> str:
    """Returns how often pixels are infected by the probability predicted for them."""
    lines = ["| probability | " + " | ".join(found) + " |", "| --- " * (1 + len(found)) + "|"]
    each = [calibration(part.levels) for part in found.values()]
    bins = len(each[0].frequency)
    for i in range(bins):
        shares = ["–" if np.isnan(c.frequency[i]) else f"{c.frequency[i]:.2f}" for c in each]
        lines.append(f"| {i / bins:.1f} to {(i + 1) / bins:.1f} | {' | '.join(shares)} |")
    lines.append(f"| calibration error | {' | '.join(f'{c.ece:.4f}' for c in each)} |")
    return "\n".join(lines) + "\n"


def scans_table(data: Path, network: Pretrained, segment: Segmenter, settings: Settings) -> str:
    """Returns what `predict` marks on the two scans in HU, and how well slices are told apart."""
    lines = [
        "| scan in HU | marked by `predict`, mL | slice-wise AUC by marked area |",
        "| --- " * 3 + "|",
    ]
    for name in ("normal_a", "covid_a"):
        with tempfile.TemporaryDirectory() as out:
            sources, _ = find.find_scans([data / "ct_hu" / name], Path(out))
            (row,) = cohort.process(sources, Path(out), network, settings)
        truth, area = data / "ct_hu" / f"{name}.csv", "–"
        if truth.is_file():
            scan = sources[0].read()
            slices = [scan.values(i) for i in range(len(scan.slices))]
            boxes = segment.boxes(slices, scan.intensity)
            maps = segment(iter(slices), scan.intensity, len(slices), boxes)
            masks = hysteresis.marked(maps, settings.threshold, settings.peak)
            areas = [np.count_nonzero(mask) for mask in masks]
            area = f"{auc(np.array(areas), read_truth(truth)):.3f}"
        # Nothing marked is 0 mL, which is a figure too; without one the row says why.
        marked = row.get("lesion_ml")
        if marked in ("", None):
            marked = row.get("reason") or row["notes"]
        lines.append(f"| {name} | {marked} | {area} |")
    return "\n".join(lines) + "\n"


def read_truth(path: Path) -> np.ndarray:
    """Reads whether each slice has infection, from the feet to the head, (slices,) bool."""
    with path.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["z_mm"]))
    return np.array([row["infection"] == "1" for row in rows])


def auc(values: np.ndarray, truth: np.ndarray) -> float:
    """Returns the area under the curve: how often an infected slice has more, ties by half."""
    found = stats.mannwhitneyu(values[truth], values[~truth]).statistic
    return float(found / (truth.sum() * (~truth).sum()))


if __name__ == "__main__":
    main()
