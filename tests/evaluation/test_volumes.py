"""Volumes put together of slices, by hand."""

import numpy as np
import pytest

from cosup_jax.evaluation import tables, volumes

SPACING = (5.0, 1.0, 1.0)


def example(index, case="a", spacing=SPACING):
    return {"case_id": case, "patient_id": "p", "slice_index": index, "spacing": spacing}


def row(indices, spacing=SPACING, shapes=((8, 8),), slices=0):
    """The row of a case: a block of 4 × 4 × n voxels, found one column too far right."""
    found = volumes.Volumes(slices={"a": slices})
    for i, index in enumerate(indices):
        truth = np.zeros(shapes[i % len(shapes)], bool)
        truth[2:6, 2:6] = True
        found.add(example(index, spacing=spacing), np.roll(truth, 1, axis=1) * 0.9, truth)
    (only,) = found.rows()
    return only


@pytest.mark.parametrize("slices", [0, 3])
def test_slices_in_any_order_make_a_volume(slices):
    found = row([3, 1, 2], slices=slices)
    assert found["slices"] == 3
    assert found["dice"] == 0.75
    assert found["volume_ml"] == found["true_volume_ml"] == pytest.approx(4 * 4 * 3 * 5 / 1000)
    assert found["volume_error_ml"] == 0
    assert found["hd95_mm"] == 1.0
    assert found["surface_dice"] == 1.0
    assert found["note"] == ""


@pytest.mark.parametrize(
    ("case", "note", "known"),
    [
        ({"indices": [1, 2], "spacing": (np.nan,) * 3}, volumes.UNKNOWN_SPACING, False),
        ({"indices": [0, 1], "slices": 4}, "only 2 of 4 slices are in this split", False),
        ({"indices": [1, 3]}, "slices missing", True),
        ({"indices": [1, 2], "shapes": ((8, 8), (8, 9))}, "several sizes", True),
    ],
)
def test_where_there_is_no_whole_volume_the_row_says_why(case, note, known):
    found = row(**case)
    assert note in found["note"]
    assert found["dice"] == 0.75
    assert np.isnan(found["hd95_mm"])
    assert np.isnan(found["surface_dice"])
    assert found["true_volume_ml"] == pytest.approx(0.16) if known else np.isnan(found["volume_ml"])
    summary = tables.summarise_volumes([found])
    assert summary["notes"] == [found["note"]]
    assert summary["hd95_mm"] == {"median": None, "infinite": 0, "n": 0}
    assert summary["volume_error_ml"]["n"] == known


def test_a_missed_volume_is_infinitely_far_and_counted():
    found = volumes.Volumes()
    for case, prob in (("hit", 1.0), ("missed", 0.0)):
        truth = np.zeros((4, 4), bool)
        truth[1, 1] = True
        found.add(example(0, case), truth * prob, truth)
    assert tables.summarise_volumes(list(found.rows()))["hd95_mm"] == {
        "median": None,
        "infinite": 1,
        "n": 2,
    }
