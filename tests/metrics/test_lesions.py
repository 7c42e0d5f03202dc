"""Lesions found, missed and false: a table made by hand."""

import numpy as np
import pytest

from cosup_jax.metrics import LesionScores, lesion_scores

SHAPE = (3, 8, 12)
VOXEL = (5.0, 2.0, 2.0)  # 0.02 mL, so that three voxels are 0.06 and two are 0.04


def drawn(*boxes):
    """A mask of boxes, each ((z, z), (y, y), (x, x)), ends included."""
    mask = np.zeros(SHAPE, bool)
    for box in boxes:
        mask[tuple(slice(low, high + 1) for low, high in box)] = True
    return mask


def row(y, x, length, z=0, height=1):
    return (z, z), (y, y + height - 1), (x, x + length - 1)


NOTHING = drawn()
# Name: truth, prediction, lesions, hits, hits by IoU, false positives, false ones by IoU.
TABLE = {
    "nothing at all": (NOTHING, NOTHING, (0, 0, 0, 0, 0)),
    "as it is": (drawn(row(1, 1, 4)), drawn(row(1, 1, 4)), (1, 1, 1, 0, 0)),
    "missed": (drawn(row(1, 1, 4)), NOTHING, (1, 0, 0, 0, 0)),
    "false": (NOTHING, drawn(row(1, 1, 4)), (0, 0, 0, 1, 1)),
    "a speck of 0.04 mL is no lesion": (drawn(row(1, 1, 2)), NOTHING, (0, 0, 0, 0, 0)),
    "nor a false one": (NOTHING, drawn(row(1, 1, 2)), (0, 0, 0, 0, 0)),
    "0.06 mL is one": (drawn(row(1, 1, 3)), NOTHING, (1, 0, 0, 0, 0)),
    "one voxel of ten, IoU 0.1": (drawn(row(1, 1, 10)), drawn(row(1, 1, 1)), (1, 1, 1, 0, 0)),
    "one voxel of eleven": (drawn(row(1, 1, 11)), drawn(row(1, 1, 1)), (1, 1, 0, 0, 0)),
    "a large part that touches it": (
        drawn(row(1, 0, 3)),
        drawn(row(1, 2, 10, height=4)),  # IoU 1 of 42
        (1, 1, 0, 0, 1),
    ),
    "a part of truth's speck is not false": (
        drawn(row(1, 1, 2)),
        drawn(row(1, 2, 4)),
        (0, 0, 0, 0, 0),
    ),
    "corners hang together": (
        drawn(row(0, 0, 2, z=0), row(1, 2, 1, z=1)),
        drawn(row(0, 0, 1)),
        (1, 1, 1, 0, 0),
    ),
    "one part over two lesions": (
        drawn(row(1, 0, 4), row(1, 6, 4)),
        drawn(row(1, 0, 10)),
        (2, 2, 2, 0, 0),
    ),
    "two parts in one lesion": (
        drawn(row(1, 0, 9)),
        drawn(row(1, 0, 3), row(1, 6, 3)),
        (1, 1, 1, 0, 0),
    ),
    "one found, one missed, one false": (
        drawn(row(0, 0, 4), row(4, 0, 4)),
        drawn(row(0, 1, 4), row(7, 7, 4, z=2)),
        (2, 1, 1, 1, 1),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_lesions_of_the_table(name):
    truth, pred, expected = TABLE[name]
    assert lesion_scores(pred, truth, VOXEL) == LesionScores(*expected)
    whole = lesion_scores(pred.astype(np.uint8) * 3, truth.astype(np.int16) * 2, VOXEL)
    assert whole == LesionScores(*expected)


def test_exactly_the_smallest_size_counts():
    mask = drawn(row(0, 0, 5))
    assert lesion_scores(mask, mask, (1.0, 2.0, 5.0)).lesions == 1  # 5 times 0.01 mL
    assert lesion_scores(mask, mask, (1.0, 2.0, 4.99)).lesions == 0


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="both must be the same"):
        lesion_scores(NOTHING, NOTHING[1:], VOXEL)
