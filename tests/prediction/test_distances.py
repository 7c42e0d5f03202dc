"""Distances in a part's box against those of the whole picture."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import ndimage

from cosup_jax.prediction import distances

SIDES = (2.5, 0.7, 1.3)


@hypothesis.given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9), st.integers(2, 3))
def test_the_box_changes_no_distance(seed, share, axes):
    random = np.random.default_rng(seed)
    shape = random.integers(2, 9, axes)
    inside = tuple(slice(*sorted(random.integers(0, n + 1, 2))) for n in shape)
    part = np.zeros(shape, bool)
    part[inside] = random.random(part[inside].shape) < share
    hypothesis.assume(part.any() and not part.all())
    sides = SIDES[:axes]
    whole = ndimage.distance_transform_edt(part, sampling=sides)
    np.testing.assert_array_equal(distances.depth(part, sides), whole)
    beyond = ndimage.distance_transform_edt(~part, sampling=sides)
    for distance in (0.5, 1.3, 4.0):
        np.testing.assert_array_equal(distances.near(part, sides, distance), beyond <= distance)


@pytest.mark.parametrize("axes", [2, 3])
def test_of_nothing_nothing_is_near(axes):
    nothing = np.zeros((4,) * axes, bool)
    assert not distances.depth(nothing, SIDES[:axes]).any()
    assert not distances.near(nothing, SIDES[:axes], 9.0).any()
    assert all(side == slice(0, 0) for side in distances.box(nothing))
