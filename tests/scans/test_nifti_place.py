"""Headers that say where their voxels lie in other ways, not at all, or against themselves."""

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.scans import nifti
from cosup_jax.scans.geometry import Grid, GridError
from cosup_jax.scans.nifti_place import place
from cosup_jax.scans.source import Source
from tests.scans.nifti_files import affine_of, ct, forge

SIDES = (0.75, 0.75, 5)
AFFINE = affine_of("LPS", SIDES)


def header(sform=AFFINE, qform=None, *, sides=SIDES, **fields):
    made = nib.Nifti1Header()
    made.set_data_shape((6, 5, 4))
    if qform is not None:
        made.set_qform(qform, code=1)
    if sform is not None:
        made.set_sform(sform, code=1)
    made["pixdim"][1:4] = sides
    for field, value in fields.items():
        made[field] = value
    return made


def sheared(degrees, keeps_volume):
    """A tilted gantry's grid as two converters write it.

    The distance of planes is the third column's part along the normal, or its length.
    """
    affine, slope = AFFINE.copy(), np.tan(np.radians(degrees))
    affine[:3, 2] = (0, -5 * slope, 5)
    if not keeps_volume:
        affine[:3, 2] *= np.cos(np.radians(degrees))
    return affine


@pytest.mark.parametrize("degrees", [10, 20, 30])
def test_a_voxel_of_a_sheared_grid_has_its_determinant_for_volume(degrees):
    for keeps_volume in (True, False):
        grid = Grid((6, 5, 4), sheared(degrees, keeps_volume))
        volume = abs(np.linalg.det(grid.affine[:3, :3]))
        assert np.prod(grid.spacing) == pytest.approx(volume)
        assert grid.shear == pytest.approx(1 / np.cos(np.radians(degrees)))
        other = np.prod(grid.spacing) * grid.shear
        # One of the two is the 2.8125 mm³ of the scan, whichever converter wrote the header.
        assert (volume if keeps_volume else other) == pytest.approx(2.8125)


@pytest.mark.parametrize("orientation", ["LPS", "SLA", "PIR"])
def test_distances_between_rows_and_planes_are_perpendicular(orientation):
    straight = Grid((6, 5, 4), affine_of(orientation, (1, 2, 4), (10, 5, 8)))
    assert straight.shear == pytest.approx(1)
    np.testing.assert_allclose(sorted(straight.spacing), (1, 2, 4))


@pytest.mark.parametrize(("code", "factor"), [(1, 1000), (3, 0.001), (2, 1), (0, 1), (26, 1)])
def test_units_are_obeyed(code, factor):
    affine = AFFINE @ np.diag([1 / factor] * 3 + [1])
    found = place(header(affine, sides=np.array(SIDES) / factor, xyzt_units=code))
    np.testing.assert_allclose(found.grid.spacing, SIDES[::-1])
    assert (found.no_size, found.notes) == ("", ())


@pytest.mark.parametrize(
    ("code", "sides"), [(1, SIDES), (3, SIDES), (1, (1e-6, 1e-6, 5e-6)), (2, (8e-4, 8e-4, 5e-3))]
)
def test_units_that_make_no_scan_leave_the_size_unknown(code, sides):
    """Millimetres called metres or microns; metres called millimetres."""
    found = place(header(affine_of("LPS", sides), sides=sides, xyzt_units=code))
    assert "no scan has such" in found.no_size
    assert found.grid.orientation == "LPS"


def test_a_header_without_codes_leaves_right_and_left_open():
    found = place(header(None))
    assert found.no_sides == "the header does not say which side is right"
    assert "no orientation" in found.notes[0]


@pytest.mark.parametrize("codes", [0, 1])
def test_a_header_without_sides_leaves_the_size_unknown_unless_its_sform_has_it(tmp_path, codes):
    path = forge(tmp_path / "a.nii", ct(), sform_code=codes, qform_code=0, pixdim=[1, 0, 0, 0] * 2)
    found = nifti.read_volume(path).place
    assert bool(found.no_size) == (not codes)
    assert any("0 × 0 × 0 mm (pixdim)" in note for note in found.notes) == bool(codes)
    nifti.write_labels(tmp_path / "b.nii", np.ones(ct().shape[::-1], np.uint8), path)


BARE = np.diag([1.0, 1.0, 1.0, 1.0])  # what np.eye(4) writes; others give two signs
MOVED = BARE + np.array([[0, 0, 0, 7]] + [[0] * 4] * 3)


@pytest.mark.parametrize(
    ("affine", "codes", "known"),
    [
        (BARE, 1, False),
        (np.diag([-1.0, -1, 1, 1]), 1, False),
        (AFFINE, 0, True),
        (BARE, 0, False),
        (MOVED, 1, True),
        (np.diag([-1.0, -1, 1.25, 1]), 1, True),
    ],
)
def test_a_header_as_programs_write_it_by_default_tells_nothing(tmp_path, affine, codes, known):
    path = forge(tmp_path / "a.nii", ct(), affine, sform_code=codes)
    scan = Source(path, "nifti", (path,)).read()
    assert (scan.spacing is not None) == known
    assert bool(scan.no_sides) == (not known or not codes)
    assert ("as programs write where nobody" in scan.unknown.get("size", "")) != known


@pytest.mark.parametrize(
    ("other", "open_sides"), [("RPS", True), ("LPI", False), ("LAS", False), ("PLS", True)]
)
def test_forms_that_mirror_each_other_are_noted(other, open_sides):
    found = place(header(AFFINE, affine_of(other, SIDES)))
    assert f"sform (LPS) and qform ({other}) disagree" in found.notes[0]
    assert bool(found.no_sides) == open_sides


def test_sides_that_the_sform_contradicts_are_noted():
    found = place(header(sides=(0.75, 0.75, 2.5)))
    assert found.notes == (
        "voxel sides of 0.75 × 0.75 × 2.5 mm (pixdim), but 0.75 × 0.75 × 5 mm by the sform, which "
        "is used",
    )
    assert place(header()).notes == ()


@pytest.mark.parametrize("norm", [1.00001, 1.0001, 1.009])
def test_a_quaternion_rounded_above_one_is_read(norm):
    turned = affine_of("LPS", SIDES)
    both = place(header(AFFINE, turned, quatern_b=0, quatern_c=0, quatern_d=norm))
    alone = place(header(None, turned, quatern_b=0, quatern_c=0, quatern_d=norm))
    for found in (both, alone):
        assert found.notes == ()
        np.testing.assert_allclose(found.grid.affine[:3, :3], AFFINE[:3, :3], atol=0.01)


def test_of_two_forms_the_usable_one_is_used_and_the_other_noted():
    broken = header(AFFINE, AFFINE, quatern_b=3)
    assert "the qform is unusable" in place(broken).notes[0]
    flat = header(np.diag([1.0, 1, 0, 1]), AFFINE)
    found = place(flat)
    assert "the sform is unusable" in found.notes[0]
    assert found.grid.orientation == "LPS"
    assert found.no_sides == ""


def test_a_negative_side_is_read_as_nibabel_reads_the_sform_beside_it():
    found = place(header(AFFINE, AFFINE, sides=(-0.75, 0.75, 5)))
    np.testing.assert_array_equal(found.grid.affine, AFFINE)
    assert "negative voxel sides" in found.notes[0]


NOWHERE = {
    "a shear of 3e38": [[-1, 3e38, 0], [0, 2, 0], [0, 0, 3]],
    "sides of 6e23 mm": np.diag([6e23, 1, 1]),
    "flat": np.diag([1, 1, 0]),
    "nearly flat": [[1, 1, 0], [0, 1e-9, 0], [0, 0, 1]],
    "NaN": np.diag([1, 1, np.nan]),
    "two axes along one": [[1, 1, 0], [1e-7, 0, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("name", NOWHERE)
def test_what_cannot_be_placed_is_that_files_fault(tmp_path, name):
    affine = np.eye(4)
    affine[:3, :3] = NOWHERE[name]
    with pytest.raises(GridError):
        Grid((6, 5, 4), affine)
    with np.errstate(over="ignore"):
        path = forge(tmp_path / "a.nii", ct(), affine)
    with pytest.raises(nifti.VolumeError, match="a.nii: its header has no usable orientation"):
        nifti.read_volume(path)


def test_an_origin_beyond_the_earth_is_refused():
    affine = np.eye(4)
    affine[0, 3] = 1e30
    with pytest.raises(GridError, match="too far"):
        Grid((1, 1, 1), affine)
