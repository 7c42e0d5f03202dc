"""A second slice's histogram, and parts of a second slice: what is taken, and from whom."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax.data import augment, mixing
from cosup_jax.data.augment import Augmentation
from cosup_jax.data.equalise import BINS

SIDE = 32
match = jax.jit(mixing.match)
boxes = jax.jit(jax.vmap(functools.partial(mixing.box, size=(SIDE, 2 * SIDE))))


@functools.cache
def compiled(changes):
    return jax.jit(functools.partial(augment.augment, settings=changes, scaling="unit"))


def slices(n, seed=0):
    """Slices whose grey values say whose they are, and masks likewise."""
    rng = np.random.default_rng(seed)
    image = (np.arange(n)[:, None, None, None] + rng.random((n, SIDE, SIDE, 1))) / n
    return image.astype(np.float32), rng.integers(0, 2, (n, SIDE, SIDE, 1)).astype(np.uint8)


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@given(shapes=st.tuples(*(st.floats(1.5, 6) for _ in range(4))), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_a_matched_slice_has_the_quantiles_of_the_other(shapes, seed):
    rng = np.random.default_rng(seed)
    x = rng.beta(*shapes[:2], (64, 64)).astype(np.float32)
    other = rng.beta(*shapes[2:], (48, 80)).astype(np.float32)
    found = np.asarray(match(x, other))
    shares = np.linspace(0.05, 0.95, 19)
    wanted = np.quantile(other, shares)
    np.testing.assert_allclose(np.quantile(found, shares), wanted, atol=2 / BINS)
    order = np.argsort(x, axis=None)
    assert (np.diff(found.ravel()[order]) >= -1e-6).all()


def test_a_share_of_a_match_is_that_share_of_the_way():
    rng = np.random.default_rng(0)
    x, other = (rng.beta(*shape, (SIDE, SIDE)).astype(np.float32) for shape in ((2, 5), (5, 2)))
    whole = match(x, other)
    np.testing.assert_allclose(match(x, other, 0.0), x, atol=1e-6)
    np.testing.assert_allclose(match(x, other, 0.25), 0.75 * x + 0.25 * whole, atol=1e-6)
    np.testing.assert_allclose(match(x, x), x, atol=1e-5)
    flat = match(jnp.full((SIDE, SIDE), 0.5), other)
    assert np.isfinite(flat).all()


def test_boxes_are_whole_rectangles_of_every_size_anywhere():
    found = np.asarray(boxes(keys(512)))
    for one in found:
        rows, columns = one.any(1), one.any(0)
        np.testing.assert_array_equal(one, rows[:, None] & columns[None, :])
        for side in (rows, columns):
            assert np.count_nonzero(np.diff(np.pad(side.astype(int), 1))) in (0, 2)
    areas = found.mean((1, 2))
    # A square of side s with its centre anywhere has (s - s²/4)² of it inside, s² being uniform.
    s = np.sqrt((np.arange(10_000) + 0.5) / 10_000)
    assert areas.mean() == pytest.approx(((s - s**2 / 4) ** 2).mean(), abs=0.03)
    assert areas.min() < 0.02
    assert areas.max() > 0.75
    covered = found.mean(0)
    assert covered.min() > 0.1


def test_cutmix_takes_image_and_mask_of_a_box_from_the_partner():
    image, mask = slices(5)
    out = jax.device_get(compiled(Augmentation(cutmix=1.0))(keys(5), image, mask))
    for i, partner in enumerate((1, 0, 3, 2, 4)):
        taken = np.floor(out["image"][i, ..., 0] * 5) == partner
        assert taken.any()
        for name, before in (("image", image), ("mask", mask)):
            wanted = np.where(taken, before[partner, ..., 0], before[i, ..., 0])
            np.testing.assert_array_equal(out[name][i, ..., 0], wanted)
    np.testing.assert_array_equal(out["edge"], augment.edges(jnp.asarray(out["mask"])))
    assert not np.array_equal(out["mask"][0], mask[0])


def test_a_share_of_the_slices_is_mixed():
    image, mask = slices(64)
    changed = {}
    for name in ("cutmix", "match"):
        out = compiled(Augmentation(**{name: 0.5}))(keys(64), image, mask)
        changed[name] = (np.abs(out["image"] - image) > 1e-4).any((1, 2, 3))
        assert 16 <= changed[name].sum() <= 48
    assert (changed["cutmix"] != changed["match"]).any()


def test_nobody_but_the_partner_matters():
    image, mask = slices(6)
    run = compiled(Augmentation(rotation=20, cutmix=0.5, match=0.5, probability=1.0))
    whole = run(keys(6), image, mask)
    pair = run(keys(6)[2:4], image[2:4], mask[2:4])
    for name, found in whole.items():
        np.testing.assert_allclose(found[2:4], pair[name], atol=1e-5)
    changed = run(keys(6), np.roll(image, 4, axis=0), mask)
    assert np.abs(np.asarray(changed["image"]) - np.asarray(whole["image"])).max() > 0.1
