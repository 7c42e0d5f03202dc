"""Findings of masks whose volumes, lesions and sides are known beforehand."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cosup_jax import phantom
from cosup_jax.prediction import findings, lungs
from cosup_jax.prediction.lung_tissue import LungError, NoLungsError

SPACING = (5.0, 2.0, 1.0)  # 0.01 mL a voxel


def describe(image, mask, intensity="hu", spacing=SPACING):
    return findings.describe(list(image), list(mask), intensity=intensity, spacing=spacing)


@pytest.fixture
def two_lesions():
    mask = np.zeros((4, 10, 12), bool)
    mask[0, :2, :2] = True
    mask[1, 2, 2] = True  # touches the first by a corner
    mask[3, 5, 5:8] = True
    return np.where(mask, -300, 0).astype(np.int16), mask


def test_volumes_lesions_and_density(two_lesions):
    found = describe(*two_lesions).values
    assert found["lesion_ml"] == pytest.approx(0.08)
    assert found["largest_lesion_ml"] == pytest.approx(0.05)
    assert (found["lesions"], found["infected_slices"], found["slices"]) == (2, 3, 4)
    assert found["lesion_mean_hu"] == -300


def test_every_field_has_a_value_or_a_reason(two_lesions):
    image, mask = two_lesions
    for intensity in ("hu", "grey8", "grey16", "unknown"):
        for spacing in (SPACING, None):
            for marked in (mask, np.zeros_like(mask)):
                found = describe(image, marked, intensity, spacing)
                assert tuple(found.values) == findings.FIELDS
                missing = {name for name, value in found.values.items() if value is None}
                assert missing == found.reasons.keys()


def test_without_hu_or_spacing_it_is_said_what_is_unknown_and_why(two_lesions):
    grey = describe(*two_lesions, intensity="grey8")
    assert grey.values["lesion_ml"] == pytest.approx(0.08)
    assert grey.reasons["lung_percent"] == grey.reasons["lesion_mean_hu"]
    assert "without Hounsfield units" in grey.reasons["lung_percent"]
    unknown = describe(*two_lesions, spacing=None)
    assert unknown.reasons["lesion_ml"] == "the size of the voxels is unknown"
    assert unknown.values["lesions"] == 2
    assert describe(*two_lesions).reasons["lung_ml"].startswith("no lungs told")


def test_slices_of_different_sizes_have_no_volume():
    masks = [np.ones((4, 4), bool), np.zeros((5, 4), bool)]
    found = findings.describe(masks, masks, intensity="grey8", spacing=None)
    assert (found.values["slices"], found.values["infected_slices"]) == (2, 1)
    assert found.values["lesions"] is None
    assert "different sizes" in found.reasons["lesions"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_lesion_is_on_its_side_and_has_its_share_of_the_lung(side):
    patient = phantom.draw_volume(2, size=96, slices=16, infected=False)
    voxel = np.prod(patient.spacing) / 1000
    label = {"left": 1, "right": 2}[side]
    mask = patient.lung == label
    mask[8:] = False
    found = describe(patient.image, mask, spacing=patient.spacing).values
    other = {"left": "right", "right": "left"}[side]
    total = np.count_nonzero(patient.lung) * voxel
    lesion = np.count_nonzero(mask) * voxel
    own = np.count_nonzero(patient.lung == label) * voxel
    assert found["lesion_ml"] == pytest.approx(lesion)
    assert found[f"{side}_lesion_ml"] == pytest.approx(lesion, rel=0.05)
    assert found[f"{other}_lesion_ml"] < 0.02 * lesion
    assert found["lung_ml"] == pytest.approx(total, rel=0.05)
    assert found["lung_percent"] == pytest.approx(100 * lesion / total, rel=0.05)
    assert found[f"{side}_lung_percent"] == pytest.approx(100 * lesion / own, rel=0.08)
    parts = found["right_lesion_ml"] + found["left_lesion_ml"]
    assert parts == pytest.approx(found["lesion_ml"])


def test_lungs_that_are_not_told_apart_have_no_sides():
    patient = phantom.draw_volume(0, size=96, slices=16, infected=False)
    rows, columns = np.nonzero((patient.lung > 0).any(0))
    patient.image[:, rows.min() + 8 : rows.max() - 8, columns.min() + 5 : columns.max() - 5] = -850
    mask = np.zeros(patient.image.shape, bool)
    mask[8, 40:50, 40:50] = True
    found = describe(patient.image, mask, spacing=patient.spacing)
    assert found.values["lung_percent"] > 0
    assert found.reasons == dict.fromkeys(
        ("right_lesion_ml", "left_lesion_ml", "right_lung_percent", "left_lung_percent"),
        "right and left lung were not told apart",
    )


def test_small_lesions_are_dropped(two_lesions):
    _, mask = two_lesions
    kept = findings.drop_small(mask, 0.05, SPACING)
    assert np.count_nonzero(kept) == 5
    assert not kept[3].any()
    np.testing.assert_array_equal(findings.drop_small(mask, 0.0, SPACING), mask)


def test_what_a_scan_leaves_open_stays_empty_with_its_reason(two_lesions):
    image, mask = two_lesions
    why = {"density": "no density", "size": "no size", "sides": "no sides"}
    found = findings.describe(list(image), list(mask), intensity="hu", spacing=None, unknown=why)
    assert found.reasons["lesion_mean_hu"] == "no density"
    assert found.reasons["lesion_ml"] == found.reasons["lung_ml"] == "no size"
    findings.add_classes(found, list(mask.astype(np.uint8)), ["ground-glass"], None, why)
    assert found.reasons["ground_glass_ml"] == "no size"


def test_where_the_header_leaves_open_which_side_is_right_only_the_sides_are_empty():
    patient = phantom.draw_volume(5, size=64, slices=12)
    mask = patient.mask > 0
    given = {"intensity": "hu", "spacing": patient.spacing}
    plain = findings.describe(list(patient.image), list(mask), **given)
    found = findings.describe(
        list(patient.image), list(mask), **given, unknown={"sides": "a guess"}
    )
    empty = [name for name in findings.FIELDS if name.startswith(("right", "left"))]
    assert found.reasons == plain.reasons | dict.fromkeys(empty, "a guess")
    assert found.values == plain.values | dict.fromkeys(empty)


def test_a_sheared_grid_has_both_volumes_in_the_notes(two_lesions):
    image, mask = two_lesions
    given = {"intensity": "hu", "spacing": SPACING}
    assert findings.describe(list(image), list(mask), **given, shear=1.009).notes == []
    found = findings.describe(list(image), list(mask), **given, shear=1.05)
    assert found.values["lesion_ml"] == pytest.approx(0.08)
    (note,) = found.notes
    assert note.endswith("lesion_ml 0.080 (0.084)")


def finder(labels):
    return lambda volume, spacing: lungs.Lungs(labels, apart=False)


def test_marks_outside_of_the_lungs_are_counted_apart():
    """0.01 mL a voxel; 5 mm are one slice, two rows, five columns."""
    labels, mask = np.zeros((6, 40, 40), np.uint8), np.zeros((6, 40, 40), bool)
    labels[1:3, 5:35, 5:15] = lungs.EITHER
    mask[1, 10, 5:20] = True  # inside, and up to 5 mm beside
    mask[1, 10, 30:34] = True
    given = {"intensity": "hu", "spacing": SPACING, "find": finder(labels)}
    found = findings.describe(list(np.zeros(mask.shape)), list(mask), **given)
    assert found.values["outside_lung_ml"] == pytest.approx(0.04)
    assert found.values["lesion_ml"] == pytest.approx(0.19)
    assert found.values["lung_ml"] == pytest.approx(6.05)
    assert found.values["lung_percent"] == pytest.approx(100 * 0.15 / 6.05)
    assert found.notes == []
    mask[4, 30:, 30:] = True
    found = findings.describe(list(np.zeros(mask.shape)), list(mask), **given)
    assert found.values["outside_lung_ml"] == pytest.approx(1.04)
    assert found.notes[0].startswith("1.0 mL of the marks lie more than 5 mm outside")


@pytest.mark.parametrize("marked", [90, 110])
def test_marks_that_lie_mostly_outside_are_noted_however_large_the_lungs(marked):
    labels, mask = np.zeros((6, 40, 40), np.uint8), np.zeros((6, 40, 40), bool)
    labels[:4, :, :38] = lungs.EITHER  # 60.8 mL, of which 2 % are 1.2
    mask[2, 10, 5:20] = True
    mask[5].flat[:marked] = True
    given = {"intensity": "hu", "spacing": SPACING, "find": finder(labels)}
    found = findings.describe(list(np.zeros(mask.shape)), list(mask), **given)
    assert found.values["outside_lung_ml"] == pytest.approx(marked / 100)
    assert len(found.notes) == (marked > 100)


def test_where_there_are_no_lungs_marks_are_no_lesions(two_lesions):
    image, mask = two_lesions

    def none(volume, spacing):
        raise NoLungsError("no lungs found: legs")

    found = findings.describe(list(image), list(mask), intensity="hu", spacing=SPACING, find=none)
    findings.add_classes(found, list(mask.astype(np.uint8)), ["ground-glass"], SPACING)
    given = {name for name, value in found.values.items() if value is not None}
    assert given == {"outside_lung_ml", "slices"}
    assert found.values["outside_lung_ml"] == pytest.approx(0.08)
    assert set(found.reasons.values()) == {"no lungs found: legs"}
    assert found.reasons.keys() == found.values.keys() - given


def test_where_lungs_cannot_be_told_marks_are_what_they_were(two_lesions):
    def unclear(volume, spacing):
        raise LungError("one is dense")

    image, mask = two_lesions
    found = findings.describe(
        list(image), list(mask), intensity="hu", spacing=SPACING, find=unclear
    )
    assert found.values["lesion_ml"] == pytest.approx(0.08)
    assert found.reasons["outside_lung_ml"] == found.reasons["lung_ml"] == "one is dense"


def test_much_lung_without_air_is_noted(two_lesions):
    image, mask = two_lesions
    lung = np.ones(mask.shape, np.uint8)

    whole = lung.size * np.prod(SPACING) / 1000
    for share, notes in ((0.06, 1), (0.04, 0)):
        told = lungs.Lungs(lung, apart=False, dense_ml=share * whole)
        given = {"intensity": "hu", "spacing": SPACING, "find": lambda *_, told=told: told}
        found = findings.describe(list(image), list(mask), **given)
        assert len([note for note in found.notes if "have no air" in note]) == notes


def test_lungs_are_looked_for_once():
    asked = []

    def find(volume, spacing):
        asked.append(spacing)
        raise LungError("unclear")

    with ThreadPoolExecutor(1) as pool:
        again = lungs.begun(find, np.zeros((1, 1, 1)), SPACING, pool)
    for _ in range(3):
        with pytest.raises(LungError, match="unclear"):
            again(np.zeros((1, 1, 1)), SPACING)
    assert asked == [SPACING]
