"""Marks that touch no lung, in pictures and grey values."""

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.data import preprocess
from cosup_jax.prediction import cohort, limits, segment
from cosup_jax.weights import lung_network
from tests.prediction.scan_files import NETWORK, marking, process

SPACING = (5.0, 2.0, 1.0)


@pytest.fixture
def pictures():
    """Lungs of 4 × 2,000 pixels, marks that touch them, and a part of 20 that does not."""
    lung, mask = np.zeros((5, 100, 100), bool), np.zeros((5, 100, 100), bool)
    lung[:4, 20:70, 10:50] = True
    mask[1, 30:50, 45:60] = True  # begins in the lung
    mask[2, 50:53, 60:90] = True  # touches that in the slice before by a corner
    mask[0, 30:32, 50:53] = True  # lies next to the lung
    mask[3:, 80:82, 60:65] = True
    return lung, mask


@pytest.fixture
def lung_is(monkeypatch):
    """Says which lung is found in slices."""
    return lambda lung: monkeypatch.setattr(lung_network, "find_each", lambda *_: iter(lung))


def of_pictures(mask, **changes):
    given = {"intensity": "grey8", "spacing": None} | changes
    return limits.in_pictures(list(mask * 1.0), list(mask), **given)


@pytest.mark.parametrize("change", [{}, {"spacing": SPACING}, {"intensity": "hu"}])
def test_of_pictures_parts_are_removed_that_touch_no_lung(pictures, lung_is, change):
    lung, mask = pictures
    lung_is(lung)
    masks, note = of_pictures(mask, **change)
    assert note == (
        "20 pixels of marks in parts that touch no lung were removed (--unlimited keeps them)"
    )
    np.testing.assert_array_equal(masks, mask & (np.arange(5) < 3)[:, None, None])
    lung_is(lung)
    again, note = of_pictures(np.stack(masks))
    np.testing.assert_array_equal(again, masks)
    assert note == ""


def test_pictures_of_different_sizes_are_each_for_itself(pictures, lung_is):
    lung, mask = ([part[: 90 - z] for z, part in enumerate(p)] for p in pictures)
    lung_is(lung)
    masks, note = limits.in_pictures(mask, mask, intensity="grey8", spacing=None)
    assert [m.shape for m in masks] == [m.shape for m in mask]
    # The marks of the third touch lung in no slice of their own, but are more than a speck.
    assert [int(m.sum()) for m in masks] == [6, 300, 90, 0, 0]
    assert note.startswith("20 pixels")


def test_a_small_picture_among_large_ones_keeps_what_is_large_in_it(lung_is):
    lung = [np.ones((400, 400), bool)] * 8 + [np.zeros((100, 100), bool)]
    mask = [np.zeros_like(part) for part in lung]
    mask[8][:15, :15] = True  # 0.25 % of all lung are 2 % of a picture
    for rows, left in ((15, 225), (13, 0)):
        mask[8][rows:] = False
        lung_is(lung)
        masks, _ = limits.in_pictures(mask, mask, intensity="grey8", spacing=None)
        assert int(masks[8].sum()) == left


@pytest.mark.parametrize(
    ("columns", "parts", "left", "told"),
    [(4, 5, 0, "removed"), (5, 5, 125, ""), (4, 6, 120, "kept: they are too many"), (1, 3, 0, "")],
)
def test_much_beside_the_lungs_of_pictures_may_be_lung(
    pictures, lung_is, columns, parts, left, told
):
    """0.25 % of the lungs are 20 pixels, and 1.25 % are 100."""
    mask = np.zeros((5, 100, 100), bool)
    mask.reshape(5, 10, 10, 100)[4, :parts, :5, 80 : 80 + columns] = True
    lung_is(pictures[0])
    masks, note = of_pictures(mask)
    assert np.stack(masks).sum() == left
    assert told in note
    assert bool(note) == (columns != 5)


def test_pictures_without_any_lung_keep_their_marks(pictures, lung_is):
    lung_is(np.zeros_like(pictures[0]))
    masks, note = of_pictures(pictures[1])
    np.testing.assert_array_equal(masks, pictures[1])
    assert note == ""  # the network may not know such pictures


def test_the_lungs_of_pictures_are_not_looked_for_in_vain(pictures, lung_is):
    lung_is(None)
    for mask, change in (
        (pictures[1], {"intensity": "hu", "spacing": SPACING}),
        (np.zeros((5, 9, 9), bool), {}),
    ):
        masks, note = of_pictures(mask, **change)
        np.testing.assert_array_equal(masks, mask)
        assert note == ""


def test_of_grey_values_a_speck_beside_the_lungs_is_removed(tmp_path, monkeypatch, chest, lung_is):
    patient, kept, marks = chest
    for module in (cohort, segment):
        monkeypatch.setattr(module, "Segmenter", marking(marks))
    grey = np.rint(255 * preprocess.apply_window(patient.image, preprocess.LUNG_WINDOW))
    dz, dy, dx = patient.spacing
    ct = nib.Nifti1Image(grey.astype(np.uint8).T, np.diag([-dx, -dy, dz, 1]))
    nib.save(ct, tmp_path / "chest.nii")
    told = "1 pixel of marks in parts that touch no lung was removed"
    for unlimited, wanted in ((False, kept), (True, marks)):
        lung_is((patient.lung > 0) | kept)
        out = tmp_path / str(unlimited)
        (row,) = process([tmp_path / "chest.nii"], out, unlimited=unlimited)
        assert (told in row["notes"]) != unlimited
        saved = np.asarray(nib.load(out / "chest" / "mask.nii.gz").dataobj)
        np.testing.assert_array_equal(saved, wanted.T)
    lung_is((patient.lung > 0) | kept)
    with pytest.warns(UserWarning, match=told):
        found = segment.segment(grey, intensity="grey8", network=NETWORK)
    np.testing.assert_array_equal(found, kept)
