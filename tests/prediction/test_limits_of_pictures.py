"""Marks that touch no lung, in pictures and grey values."""

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.data import preprocess
from cosup_jax.prediction import cohort, limits, lung_network, segment
from tests.prediction.scan_files import NETWORK, marking, process

SPACING = (5.0, 2.0, 1.0)


@pytest.fixture
def pictures():
    """Lungs of 4 × 2,000 pixels, marks in them, and one part of 20 pixels beside them a slice."""
    lung, mask = np.zeros((5, 100, 100), bool), np.zeros((5, 100, 100), bool)
    lung[:4, 20:70, 10:50] = True
    mask[1, 30:50, 45:60] = True  # begins in the lung
    mask[1, 50, 60] = True  # touches that by a corner
    mask[2:, 80:84, 60:65] = True
    return lung, mask


@pytest.fixture
def lung_is(monkeypatch):
    """Says which lung is found in slices."""
    return lambda lung: monkeypatch.setattr(lung_network, "find_each", lambda *_: iter(lung))


def of_pictures(mask, **changes):
    given = {"intensity": "grey8", "spacing": None} | changes
    return limits.by_slice(list(mask * 1.0), list(mask), **given)


@pytest.mark.parametrize("change", [{}, {"spacing": SPACING}, {"intensity": "hu"}])
def test_of_pictures_parts_are_removed_that_touch_no_lung_in_their_slice(pictures, lung_is, change):
    lung, mask = pictures
    lung_is(lung)
    masks, note = of_pictures(mask, **change)
    assert note == (
        "60 pixels of marks in parts that touch no lung in their slice were removed "
        "(--unlimited keeps them)"
    )
    np.testing.assert_array_equal(masks, mask & (np.arange(5) < 2)[:, None, None])
    lung_is(lung)
    again, note = of_pictures(np.stack(masks))
    np.testing.assert_array_equal(again, masks)
    assert note == ""


def test_pictures_may_differ_in_size(pictures, lung_is):
    lung, mask = ([part[:90] if z % 2 else part for z, part in enumerate(p)] for p in pictures)
    lung_is(lung)
    masks, note = limits.by_slice(mask, mask, intensity="grey8", spacing=None)
    assert [m.shape for m in masks] == [m.shape for m in mask]
    assert [bool(m.any()) for m in masks] == [False, True, False, False, False]
    assert note.startswith("60 pixels")


@pytest.mark.parametrize(
    ("rows", "parts", "left", "told"),
    [(4, 5, 0, "removed"), (5, 5, 125, ""), (4, 6, 120, "kept: they are too many"), (1, 3, 0, "")],
)
def test_much_beside_the_lungs_of_pictures_may_be_lung(pictures, lung_is, rows, parts, left, told):
    """0.25 % of the lungs are 20 pixels, and 1.25 % are 100."""
    mask = np.zeros((5, 100, 100), bool)
    mask.reshape(5, 10, 10, 100)[4, :parts, :rows, 80:85] = True
    lung_is(pictures[0])
    masks, note = of_pictures(mask)
    assert np.stack(masks).sum() == left
    assert told in note
    assert bool(note) == (rows != 5)


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
    told = "1 pixel of marks in parts that touch no lung in their slice was removed"
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
