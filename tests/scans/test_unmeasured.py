"""Volumes with NaN: around what the slices show it is air, and within it nobody knows."""

import numpy as np
import pytest

import cosup_jax
from cosup_jax.scans import nifti, unmeasured
from tests.scans.nifti_files import affine_of, forge

AROUND = "have no value (NaN), all around what the scan shows: taken for air"


def chest(dtype=np.float32):
    """(24, 20, 6) values from −1000 to 400, stored as (x, y, z)."""
    return np.random.default_rng(0).integers(-1000, 400, (24, 20, 6)).astype(dtype)


def around(values):
    """The same with NaN in a corner, along a side, and in all of the last slice."""
    values = values.copy()
    values[:3, :2] = values[:, -1] = values[..., -1] = np.nan
    return values


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SLP"])
def test_around_what_is_shown_it_is_air(tmp_path, orientation):
    given = around(chest())
    # What lies around is so in the axial slices, however these are stored.
    stored = given.transpose(2, 0, 1) if orientation == "SLP" else given
    path = forge(tmp_path / "a.nii.gz", stored, affine_of(orientation, (1, 1, 5)))
    volume = nifti.read_volume(path)
    lowest = np.nanmin(given)
    np.testing.assert_array_equal(volume.stored, np.where(np.isnan(stored), lowest, stored))
    assert (volume.slope, volume.intercept) == (1, 0)
    (note,) = (note for note in volume.judgement.notes if "NaN" in note)
    assert note == f"{np.isnan(given).sum():,} voxels {AROUND}"


@pytest.mark.parametrize("change", [lambda v: v + 0.25, lambda v: v * 12 + 30000])
def test_fractions_and_large_values_are_kept_as_without_it(tmp_path, change):
    whole, given = change(chest(np.float64)), around(change(chest(np.float64)))
    volume = nifti.read_volume(forge(tmp_path / "a.nii", given), hu_offset=None)
    values = volume.stored * volume.slope + volume.intercept
    wanted = np.where(np.isnan(given), np.nanmin(given), whole)
    np.testing.assert_allclose(values, wanted, atol=np.ptp(whole) / 65535)


def test_one_voxel_is_one(tmp_path):
    values = chest()
    values[0, 0, 0] = np.nan
    notes = nifti.read_volume(forge(tmp_path / "a.nii", values)).judgement.notes
    assert "1 voxel has no value (NaN), all around what the scan shows: taken for air" in notes


@pytest.mark.parametrize("with_more", [False, True])
def test_within_what_is_shown_it_is_refused(tmp_path, with_more):
    values = around(chest()) if with_more else chest()
    values[10:12, 8:11, 2] = np.nan
    values[10, 8, 3:] = np.nan  # reaches the last slice, which is all NaN, but no border in its own
    count = 6 + (2 if with_more else 3)
    path = forge(tmp_path / "a.nii", values)
    with pytest.raises(nifti.VolumeError, match=f"a.nii: holds NaN at {count} voxels within what"):
        nifti.read_volume(path)
    with pytest.raises(ValueError, match=f"the volume holds NaN at {count} voxels within"):
        cosup_jax.segment(values.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "holds NaN alone"), (np.inf, "holds NaN or infinite values")]
)
def test_nothing_and_what_is_infinite_are_refused(tmp_path, value, reason):
    with pytest.raises(nifti.VolumeError, match=reason):
        nifti.read_volume(forge(tmp_path / "a.nii", np.full((6, 5, 4), value, np.float32)))


def test_diagonal_neighbours_do_not_let_it_out():
    missing = np.zeros((1, 5, 5), bool)
    missing[0, 0, 0] = missing[0, 1, 1] = True
    assert unmeasured.enclosed(missing) == 1
    missing[0, 0, 1] = True
    assert unmeasured.enclosed(missing) == 0
