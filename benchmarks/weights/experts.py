"""How far two experts agree on the same slices, and the network with each of them.

    python benchmarks/weights/experts.py --data FOLDER --weights c2f-base

The patients of medseg_volumes are in covid_ct_seg_slices too, where others have drawn the
infection. Slices of the two are told to be the same by their pictures, and are checked by the lungs
in both, whose Dice is printed. That set has the slices with infection alone, and not all of these,
so that nothing is known where it has none. Dice is the mean over slices that both experts call
infected.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import score
import sets
from sets import Piece

from cosup_jax import load_pretrained, metrics, weights
from cosup_jax.data.preprocess import resize_image
from cosup_jax.prediction import hysteresis
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.weights import Pretrained

VOLUMES = {
    "medseg1": "radiopaedia_7_85703_0",
    "medseg2": "radiopaedia_10_85902_1",
    "medseg7": "radiopaedia_29_86491_1",
    "medseg4": "radiopaedia_4_85506_1",
    "medseg8": "radiopaedia_36_86526_0",
}
THUMBNAIL = (64, 64)
HEAD = (
    "volume",
    "infected slices",
    "infected in both",
    "Dice of the lungs",
    "of the two experts",
    "of network and MedSeg's expert",
    "of network and the other expert",
)


class Pair(NamedTuple):
    """A slice of MedSeg, and what the other expert has drawn in it, at its size.

    Attributes:
      piece: the slice.
      mask: (H, W) bool, infection; None where the other has no such slice.
      lung: (H, W) bool, or None.
    """

    piece: Piece
    mask: np.ndarray | None
    lung: np.ndarray | None


def volumes(folder: Path, split: str) -> dict[str, list[Piece]]:
    """Reads the slices of a split, by volume."""
    grouped = itertools.groupby(sets.slice_folder(folder / split), lambda piece: piece.volume)
    return {name: list(members) for name, members in grouped}


def paired(ours: Sequence[Piece], others: Sequence[Piece]) -> list[Pair]:
    """Finds what others have drawn in each slice: each of theirs is of the slice most like it.

    Raises:
      ValueError: two of theirs are most like the same slice.
    """
    first, second = (thumbnails(pieces) for pieces in (ours, others))
    which = np.argmax(second @ first.T, axis=1)
    if len(np.unique(which)) < len(which):
        raise ValueError(f"{ours[0].volume}: two slices of {others[0].volume} are like one of it")
    theirs = dict(zip(which.tolist(), others, strict=True))
    pairs = []
    for number, piece in enumerate(ours):
        other, shape = theirs.get(number), piece.mask.shape
        parts = (None, None) if other is None else (other.mask, other.lung)
        mask, lung = (
            p if p is None else resize_image(p.astype(np.float32), shape) > 0.5 for p in parts
        )
        pairs.append(Pair(piece, mask, lung))
    return pairs


def thumbnails(pieces: Sequence[Piece]) -> np.ndarray:
    """Returns small pictures of mean 0 and deviation 1, (slices, pixels) float64."""
    small = np.stack([resize_image(p.image, THUMBNAIL).ravel() for p in pieces]).astype(np.float64)
    small -= small.mean(axis=1, keepdims=True)
    return small / small.std(axis=1, keepdims=True)


def mean_dice(masks: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Returns the mean Dice of pairs of masks (H, W) bool."""
    return float(
        np.mean([float(metrics.dice(metrics.confusion(a[None], b[None]))[0]) for a, b in masks])
    )


def row(pairs: Sequence[Pair], marks: Sequence[np.ndarray] | None) -> list[str]:
    """Returns the cells of a volume; `marks` are the network's, None where it was trained on it."""
    truth = [pair.piece.mask for pair in pairs]
    other = [pair.mask for pair in pairs]
    both = [i for i, mask in enumerate(other) if truth[i].any() and mask is not None and mask.any()]
    seen = [
        (p.piece.lung, p.lung) for p in pairs if p.piece.lung is not None and p.lung is not None
    ]
    cells = [str(sum(mask.any() for mask in truth)), str(len(both)), f"{mean_dice(seen):.3f}"]
    for one, against in ((other, truth), (marks, truth), (marks, other)):
        of = None if one is None else mean_dice([(one[i], against[i]) for i in both])
        cells.append("–" if of is None else f"{of:.3f}")
    return cells


def rows(data: Path, segment: Segmenter, network: Pretrained) -> Iterator[list[str]]:
    """Yields a row for each volume, those validated on last."""
    for split in ("train", "val"):
        ours = volumes(data / "medseg_volumes", split)
        others = volumes(data / "covid_ct_seg_slices", split)
        for name in (name for name in VOLUMES if name in ours):
            pairs = paired(ours[name], others[VOLUMES[name]])
            marks = None
            if split == "val":
                found = score.predict(segment, ours[name])
                marks = hysteresis.marked(found, network.threshold, network.peak)
            yield [name, *row(pairs, marks)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the two sets")
    parser.add_argument("--weights", default=weights.DEFAULT, help="a name or a file")
    arguments = parser.parse_args()
    network = load_pretrained(arguments.weights)
    print(f"| {' | '.join(HEAD)} |\n{'| --- ' * len(HEAD)}|")
    for cells in rows(arguments.data, Segmenter(network), network):
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
