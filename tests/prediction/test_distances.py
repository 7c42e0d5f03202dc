"""Distances in a part's box against those of the whole picture."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import ndimage

from cosup_jax.prediction import distances

SIDES = (2.5, 0.7, 1.3)


@pytest.mark.parametrize("most", [1000, 0], ids=["moved", "measured"])
@hypothesis.given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9), st.integers(2, 3))
def test_the_box_changes_no_distance(most, seed, share, axes):
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "_MOST_STEPS", most)
        for distance in (0.0, 0.5, 1.3, 4.0):
            np.testing.assert_array_equal(distances.near(part, sides, distance), beyond <= distance)
            np.testing.assert_array_equal(distances.deeper(part, sides, distance), whole > distance)


def test_a_box_around_two_holds_both():
    one, other = (slice(1, 3), slice(4, 6)), (slice(2, 9), slice(0, 5))
    nothing = (slice(0, 0),) * 2
    assert distances.around(one, other) == (slice(1, 9), slice(0, 6))
    assert distances.around(one, nothing) == distances.around(nothing, one) == one
    assert distances.around(nothing, nothing) == nothing


@pytest.mark.parametrize("axes", [2, 3])
def test_of_nothing_nothing_is_near(axes):
    nothing = np.zeros((4,) * axes, bool)
    assert not distances.depth(nothing, SIDES[:axes]).any()
    assert not distances.near(nothing, SIDES[:axes], 9.0).any()
    assert not distances.deeper(nothing, SIDES[:axes], 1.0).any()
    assert all(side == slice(0, 0) for side in distances.box(nothing))
