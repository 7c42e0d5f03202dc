"""Masks that Python gets of volumes in any array, and arguments that are refused."""

import numpy as np
import pytest

from cosup_jax import phantom
from cosup_jax.prediction import segment

CHEST = phantom.draw_volume(5, size=32, slices=6)
AFFINE = np.diag([-CHEST.spacing[2], -CHEST.spacing[1], CHEST.spacing[0], 1.0])
STORED = CHEST.image.transpose(2, 1, 0)


@pytest.fixture(scope="module")
def expected(bright):
    return segment.segment(STORED, affine=AFFINE, network=bright)


@pytest.mark.parametrize(
    ("volume", "affine"),
    [
        (STORED, AFFINE.tolist()),
        (STORED.astype(float), AFFINE),
        (STORED.astype(">i2"), AFFINE),
        (np.ma.array(STORED), AFFINE),
    ],
)
def test_the_same_values_give_the_same_mask_whatever_holds_them(bright, expected, volume, affine):
    found = segment.segment(volume, affine=affine, network=bright)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < found.size


def test_an_offset_that_is_sure_is_taken_off_with_a_warning(bright, expected):
    with pytest.warns(UserWarning, match=r"Hounsfield units \+ 1024"):
        found = segment.segment(STORED + 1024, affine=AFFINE, network=bright)
    np.testing.assert_array_equal(found, expected)
    with pytest.warns(UserWarning, match="--hu-offset -1500"):
        found = segment.segment(STORED + 1500, affine=AFFINE, network=bright, hu_offset=-1500)
    np.testing.assert_array_equal(found, expected)


METRES = AFFINE * np.array([[0.0001], [0.0001], [0.0001], [1]])  # those of a large matrix


@pytest.mark.parametrize(
    ("affine", "why"), [(np.eye(4), "as programs write"), (METRES, "no scan has such")]
)
def test_an_affine_that_tells_no_size_is_said_and_not_measured_by(bright, affine, why):
    """As `predict` takes such headers: by lungs of 1 mm voxels marks would be kept or removed."""
    way = [int(np.sign(affine[i, i])) * (-1 if i < 2 else 1) for i in range(3)]
    axial = STORED[:: way[0], :: way[1], :: way[2]].transpose(2, 1, 0)
    plain = segment.segment(axial, network=bright).transpose(2, 1, 0)
    with pytest.warns(UserWarning, match=f"no size of a voxel is known: .*{why}"):
        found = segment.segment(STORED, affine=affine, network=bright)
    np.testing.assert_array_equal(found, plain[:: way[0], :: way[1], :: way[2]])
    with pytest.raises(ValueError, match=f"min_lesion_ml: .*{why}"):
        segment.segment(STORED, affine=affine, network=bright, min_lesion_ml=1)


def test_slices_that_are_lost_are_warned_of(bright):
    volume = CHEST.image.copy()
    volume[2], volume[4] = volume[1], -1000
    with pytest.warns(UserWarning, match="slices hold") as warned:
        segment.segment(volume, network=bright)
    one, other = (str(warning.message) for warning in warned)
    assert "one value alone (the first is number 5 from the feet)" in one
    assert "same values as the next (the first is number 2 from the feet)" in other


NAN = float("nan")
WRONG = {
    "intensity in capitals": (STORED, {"intensity": "HU"}, "intensity='HU'"),
    "another word": (STORED, {"intensity": "ct"}, "expected one of hu"),
    "intensity and offset": (STORED, {"intensity": "hu", "hu_offset": 1}, "give one of them"),
    "no offset": (STORED, {"hu_offset": NAN}, "expected a number of HU"),
    "an offset of no CT": (STORED, {"hu_offset": -1e10}, "a number of HU, of 100,000 at most"),
    "threshold in per cent": (STORED, {"threshold": 50}, "between 0 and 1"),
    "negative threshold": (STORED, {"threshold": -1}, "between 0 and 1"),
    "no threshold": (STORED, {"threshold": NAN}, "between 0 and 1"),
    "affine of zeros": (STORED, {"affine": np.zeros((4, 4))}, "affine"),
    "affine of NaN": (STORED, {"affine": np.full((4, 4), NAN)}, "finite"),
    "affine of three rows": (STORED, {"affine": AFFINE[:3, :3]}, "expected 4 × 4"),
    "affine of words": (STORED, {"affine": [["a"] * 4] * 4}, "affine=.*expected numbers"),
    "affine and spacing": (STORED, {"affine": AFFINE, "spacing": (1, 1, 1)}, "give one of them"),
    "complex": (STORED.astype(complex), {}, "complex128"),
    "words": (np.full((4, 4, 4), "a"), {}, "expected real numbers"),
    "objects": (np.array([[[None, 1]]], object), {}, "expected real numbers"),
    "a mask": (STORED > 0, {}, "bool"),
    "masked": (np.ma.masked_less(STORED, -900), {}, "a masked array"),
    "NaN": (np.where(STORED > 0, NAN, STORED), {}, "holds NaN at .* voxels within"),
    "infinite": (np.where(STORED > 0, np.inf, STORED), {}, "finite numbers only"),
    "negative spacing": (STORED, {"spacing": (-1, 1, 1)}, "above 0 mm"),
    "no spacing": (STORED, {"spacing": (0, 1, 1)}, "above 0 mm"),
    "two spacings": (STORED, {"spacing": (1, 1)}, "expected 3 finite numbers"),
    "least lesion of NaN": (STORED, {"min_lesion_ml": NAN, "spacing": (1, 1, 1)}, "expected mL"),
    "least lesion unmeasured": (STORED, {"min_lesion_ml": 1}, "give the spacing"),
    "rescaled twice": (STORED - 1024, {}, "--hu-offset 1024"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_before_anything_is_computed(name):
    volume, arguments, reason = WRONG[name]
    with pytest.raises(ValueError, match=reason):
        segment.segment(volume, network="no such weights", **arguments)


@pytest.mark.filterwarnings("ignore:.*slices hold")
def test_least_lesions_are_measured_by_the_voxels_own_volume(bright):
    """Of a sheared grid a voxel is smaller than the product of its sides."""
    sheared = AFFINE.copy()
    sheared[1, 2] = -3 * CHEST.spacing[0]
    alone = np.full((8, 8, 4), -1000, np.int16)
    alone[3, 3, 2] = 1000
    voxel = np.prod(CHEST.spacing) / 1000
    for least, kept in ((0.99 * voxel, 1), (1.01 * voxel, 0)):
        found = segment.segment(
            alone, affine=sheared, network=bright, threshold=0.99, min_lesion_ml=least
        )
        assert bool(found.any()) == bool(kept)
