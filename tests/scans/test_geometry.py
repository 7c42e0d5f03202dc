"""The axial view, checked in millimetres of the body and not by nibabel's notion of axes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from cosup_jax.scans.geometry import Grid
from tests.scans.nifti_files import ORIENTATIONS, affine_of, oblique_affines

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)
# Of the axial axes: the axis of (right, front, head) along which the body is passed, and which way.
AXIAL_AXES = ((2, 1), (1, -1), (0, -1))
FEW = settings(max_examples=8, deadline=None)


def body_of(grid):
    """Where the voxels of the axial view lie, (Z, H, W, 3) in mm, and their stored numbers."""
    numbers = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    index = np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3)
    places = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    axial = grid.to_axial(numbers)
    return places[axial], axial


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_view_is_axial_from_feet_to_head_front_to_back_right_to_left(orientation):
    @FEW
    @given(SHAPES, oblique_affines(orientation))
    def check(shape, affine):
        grid = Grid(shape, affine)
        places, numbers = body_of(grid)
        assert sorted(numbers.flat) == list(range(np.prod(shape)))
        for i, (axis, sign) in enumerate(AXIAL_AXES):
            steps = np.diff(places, axis=i).reshape(-1, 3)
            assert (np.abs(steps).argmax(axis=1) == axis).all()
            assert (np.sign(steps[:, axis]) == sign).all()
            np.testing.assert_allclose(np.linalg.norm(steps, axis=1), grid.spacing[i], rtol=1e-6)
        assert grid.orientation == orientation

    check()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_way_back_is_exact_and_copies_nothing(orientation):
    @FEW
    @given(SHAPES, oblique_affines(orientation))
    def check(shape, affine):
        stored = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)  # no two are equal
        grid = Grid(shape, affine)
        axial = grid.to_axial(stored)
        back = grid.from_axial(axial)
        np.testing.assert_array_equal(back, stored)
        assert np.shares_memory(axial, stored)
        assert np.shares_memory(back, stored)

    check()


def test_a_marked_voxel_of_a_known_scan_stands_where_it_should():
    """Stored first axis to the head, second to the left, third to the front."""
    stored = np.zeros((4, 5, 6))
    stored[3, 1, 0] = 1
    grid = Grid(stored.shape, affine_of("SLA", (5, 0.5, 0.75)))
    axial = grid.to_axial(stored)
    assert axial.shape == (4, 6, 5)
    assert np.argwhere(axial).tolist() == [[3, 5, 1]]
    assert grid.spacing == (5, 0.75, 0.5)
    assert grid.orientation == "SLA"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_grid_whose_header_is_wrong_is_told_how_it_is_stored(orientation):
    wrong = Grid((2, 3, 4), affine_of("PIR", (0.5, 2, 3), (5, 10, -5), (7, 8, 9)))
    right = wrong.stored_as(orientation)
    assert right.shape == wrong.shape
    np.testing.assert_allclose(right.affine, affine_of(orientation, (0.5, 2, 3)))


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        (affine_of("LPS", (2, 2, 5)), 0),
        (affine_of("LPS", (2, 2, 5), origin=(3, 4, 0)), 2.5),
        (affine_of("LPS", (2, 2, 4)), 5),
        (affine_of("RPS", (2, 2, 5)), 20),
        (affine_of("LPS", (2, 2, 5), angles=(0, 0, 90)), np.sqrt(2 * (20**2 + 40**2)) / 2),
    ],
)
def test_the_distance_is_that_of_the_furthest_corners_in_smallest_sides(other, apart):
    shape = (11, 21, 11)
    here = affine_of("LPS", (2, 2, 5))
    assert Grid(shape, here).distance(Grid(shape, other)) == pytest.approx(apart)
