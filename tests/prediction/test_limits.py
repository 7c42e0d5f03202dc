"""Marks that are removed because they cannot lie in the lungs, and those that may."""

import hypothesis
import nibabel as nib
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import ndimage

from cosup_jax.prediction import cohort, limits, lungs, segment
from cosup_jax.prediction.lung_tissue import LungError
from tests.prediction.scan_files import NETWORK, marking, process

SPACING = (5.0, 2.0, 1.0)  # 0.01 mL a voxel


def finder(labels):
    return lambda volume, spacing: lungs.Lungs(labels, apart=False)


def test_marks_outside_are_removed_only_where_they_are_few():
    labels, mask = np.zeros((6, 40, 40), np.uint8), np.zeros((6, 40, 40), bool)
    labels[1:3, 5:35, 5:15] = lungs.EITHER
    mask[1, 10:20, 5:15] = True
    mask[5, 30, 30:35] = True
    image = list(np.zeros(mask.shape))
    given = {"intensity": "hu", "spacing": SPACING, "find": finder(labels)}
    masks, note = limits.within_lungs(image, list(mask), **given)
    assert note == "0.050 mL of marks outside of the lungs were removed"
    np.testing.assert_array_equal(np.stack(masks), mask & (labels > 0))
    mask[5, 31, 25:35] = True
    for spacing in (SPACING, None):
        kept, note = limits.within_lungs(image, list(mask), **given | {"spacing": spacing})
        assert note.startswith("marks outside of the lungs were kept")
        np.testing.assert_array_equal(np.stack(kept), mask)


def test_marks_above_and_below_all_lung_are_removed():
    labels, mask = np.zeros((12, 40, 40), np.uint8), np.zeros((12, 40, 40), bool)
    labels[4:6, 5:35, 5:15] = lungs.EITHER
    mask[:, 30, 30:35] = True
    mask[4:6, 10:30, 5:15] = True
    image = list(np.zeros(mask.shape))
    given = {"intensity": "hu", "spacing": (4.0, 1.0, 1.0)}
    find = finder(labels)
    masks, note = limits.along_z(image, list(mask), **given, find=find)
    assert [m.any() for m in masks] == [False] * 2 + [True] * 6 + [False] * 4
    assert note.startswith("0.120 mL of marks in slices more than 10 mm above or below all lung")
    np.testing.assert_array_equal(np.stack(masks)[2:8], mask[2:8])

    # Both bases may be dense: much is kept, and said.
    more = mask.copy()
    more[11, 5:35, 5:35] = True
    masks, note = limits.along_z(image, list(more), **given, find=find)
    np.testing.assert_array_equal(np.stack(masks), more)
    assert note == (
        "marks in slices more than 10 mm above or below all lung were kept: "
        "3.7 of 5.4 mL are too many to be errors"
    )

    def seen_further(volume, spacing):
        return find(volume, spacing)._replace(extent=(2, 9))

    masks, note = limits.along_z(image, list(mask), **given, find=seen_further)
    assert all(m.any() for m in masks)
    assert note == ""


@pytest.mark.parametrize("change", [{"intensity": "grey8"}, {"spacing": None}, {}])
def test_where_lungs_are_not_known_no_mark_is_removed(change):
    def unclear(volume, spacing):
        raise LungError("unclear")

    mask = np.ones((9, 8, 8), bool)
    given = {"intensity": "hu", "spacing": (9.0, 1.0, 1.0), "find": unclear} | change
    for limit in (limits.along_z, limits.apart):
        masks, note = limit(list(mask * 1.0), list(mask), **given)
        assert np.stack(masks).all()
        assert note == ""


@pytest.fixture
def beside():
    """Labels of a lung; marks in it, by a corner near it, and far from it."""
    labels, mask = np.zeros((6, 40, 40), np.uint8), np.zeros((6, 40, 40), bool)
    labels[1:4, 5:35, 5:15] = lungs.EITHER
    mask[2, 10:20, 12:30] = True  # begins in the lung and leaves it: dense lung looks like that
    mask[3, 36, 12:20] = True  # within 5 mm of the lung at one end
    mask[2, 37:39, 35:39] = True
    mask[3, 36, 34] = True  # touches the last by a corner
    return labels, mask


def test_parts_that_are_nowhere_near_the_lungs_are_removed(beside):
    labels, mask = beside
    given = {"intensity": "hu", "spacing": SPACING, "find": finder(labels)}
    image = list(np.zeros(mask.shape))
    masks, note = limits.apart(image, list(mask), **given)
    assert note == (
        "0.090 mL of marks in parts that are nowhere within 5 mm of the lungs were removed "
        "(--unlimited keeps them)"
    )
    wanted = mask.copy()
    wanted[2, 37:39, 35:39] = wanted[3, 36, 34] = False
    np.testing.assert_array_equal(np.stack(masks), wanted)
    again, note = limits.apart(image, masks, **given)
    np.testing.assert_array_equal(np.stack(again), wanted)
    assert note == ""


def of_slabs(rows, slabs):
    """Labels of a lung, and slabs of marks far from it, of 0.4 mL a row each."""
    labels, mask = np.zeros((13, 40, 80), np.uint8), np.zeros((13, 40, 80), bool)
    labels[1:3, 5:35, 5:15] = lungs.EITHER
    mask[1 : 1 + 2 * slabs : 2, :rows, 40:80] = True
    return labels, mask


@pytest.mark.parametrize(
    ("rows", "slabs", "kept"), [(25, 1, 0), (26, 1, 10.4), (25, 5, 0), (25, 6, 60), (26, 5, 52)]
)
def test_much_that_is_apart_may_be_lung_that_was_not_found(rows, slabs, kept):
    labels, mask = of_slabs(rows, slabs)
    image = list(np.zeros(mask.shape))
    masks, note = limits.apart(
        image, list(mask), intensity="hu", spacing=SPACING, find=finder(labels)
    )
    assert np.stack(masks).sum() / 100 == kept
    # Parts that are too large by themselves are told by `outside_lung_ml`.
    assert ("were kept: 60.0 of 60.0 mL are too many to be errors" in note) == (kept == 60)


def test_a_large_part_that_is_apart_stays_where_small_ones_go():
    labels, mask = of_slabs(26, 1)
    mask[6, 30:32, 40:45] = True
    given = {"intensity": "hu", "spacing": SPACING, "find": finder(labels)}
    masks, note = limits.apart(list(np.zeros(mask.shape)), list(mask), **given)
    assert [int(m.sum()) for m in masks] == [0, 1040, *[0] * 11]
    assert note.startswith("0.100 mL of marks in parts")


@hypothesis.given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.1, 0.3]))
def test_far_parts_are_those_that_share_no_voxel_with_the_reach_of_the_lungs(seed, share):
    random = np.random.default_rng(seed)
    labels = np.zeros((5, 12, 14), np.uint8)
    labels[tuple(slice(*sorted(random.integers(0, n + 1, 2))) for n in labels.shape)] = 1
    mask = random.random(labels.shape) < share
    found = limits.far_parts(mask, lungs.Lungs(labels, apart=False), SPACING, 0.03)
    near = lungs.reach(labels, SPACING, lungs.REACH)
    wanted = np.zeros_like(mask)
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    for number in range(1, count + 1):
        part = parts == number
        wanted |= part & (not (part & near).any() and part.sum() <= 3)
    np.testing.assert_array_equal(found, wanted)


def test_an_empty_mask_stays_empty(beside):
    labels, mask = beside
    nothing = list(np.zeros_like(mask))
    given = {"intensity": "hu", "spacing": SPACING, "find": finder(labels)}
    for limit in (limits.apart, limits.along_z):
        masks, note = limit(list(np.zeros(mask.shape)), nothing, **given)
        assert not np.stack(masks).any()
        assert note == ""


def test_a_scan_keeps_what_is_in_its_lungs_and_loses_a_speck_beside_them(
    tmp_path, monkeypatch, chest
):
    patient, kept, marks = chest
    monkeypatch.setattr(cohort, "Segmenter", marking(marks))
    # Columns of the axial view run to the patient's left, rows to the back; NIfTI has R, A, S.
    dz, dy, dx = patient.spacing
    ct = nib.Nifti1Image(patient.image.astype(np.int16).T, np.diag([-dx, -dy, dz, 1]))
    nib.save(ct, tmp_path / "chest.nii")
    each = np.prod(patient.spacing) / 1000
    for unlimited, wanted in ((False, kept), (True, marks)):
        out = tmp_path / str(unlimited)
        (row,) = process([tmp_path / "chest.nii"], out, unlimited=unlimited)
        assert float(row["lesion_ml"]) == pytest.approx(wanted.sum() * each, abs=1e-3)
        assert ("nowhere within 5 mm of the lungs were removed" in row["notes"]) != unlimited
        saved = np.asarray(nib.load(out / "chest" / "mask.nii.gz").dataobj)
        np.testing.assert_array_equal(saved, wanted.T)


def test_from_python_the_same_marks_are_removed(monkeypatch, chest):
    patient, kept, marks = chest
    monkeypatch.setattr(segment, "Segmenter", marking(marks))
    given = {"spacing": patient.spacing, "network": NETWORK}
    with pytest.warns(UserWarning, match="nowhere within 5 mm of the lungs were removed"):
        found = segment.segment(patient.image, **given)
    np.testing.assert_array_equal(found, kept)
    for more in ({"unlimited": True}, {"spacing": None}, {"intensity": "unknown"}):
        np.testing.assert_array_equal(segment.segment(patient.image, **given | more), marks)
