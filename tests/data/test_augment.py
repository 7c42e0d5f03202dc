"""Augmentation: labels move with images, and a slice's result depends on its key alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cosup_jax.data import augment, preprocess
from cosup_jax.data.augment import Augmentation

SIDE = 24
GEOMETRY = Augmentation(
    **{"flip_horizontal": 0.5, "flip_vertical": 0.5, "rotation": 30, "scale": 0.3, "shift": 0.1},
    **{"stretch": 0.3, "elastic": 0.02},
)
INTENSITY = Augmentation(
    **{"contrast": 0.3, "brightness": 0.2, "gamma": 0.4, "curve": 0.5, "noise": 0.05, "blur": 1.0},
    **{"equalise": 0.5, "window": 0.4, "probability": 0.9},
)
EVERYTHING = Augmentation(**{**vars(INTENSITY), **vars(GEOMETRY), "probability": 0.9})


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@functools.cache
def compiled(changes, scaling="z_score", size=None):
    return jax.jit(functools.partial(augment.augment, settings=changes, scaling=scaling, size=size))


def slices(n=4, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(n, SIDE, SIDE, 1)).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    radius = rng.uniform(3, 9, (n, 1, 1))
    centre = rng.uniform(8, 16, (2, n, 1, 1))
    mask = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.uint8)
    image = np.stack([preprocess.z_score(i) for i in image])
    return image.astype(np.float32), mask[..., None]


def test_nothing_changes_when_all_is_off():
    image, mask = slices()
    out = compiled(Augmentation())(keys(4), image, mask)
    np.testing.assert_allclose(out["image"], image, atol=2e-6)
    np.testing.assert_array_equal(out["mask"], mask)
    image = np.clip(image, 0, 1)
    out = compiled(Augmentation(), "unit")(keys(4), image, mask)
    np.testing.assert_array_equal(out["image"], image)
    never = Augmentation(**{**vars(INTENSITY), "rotation": 30, "probability": 0})
    out = compiled(never, "unit")(keys(4), image, mask)
    np.testing.assert_allclose(out["image"], image, atol=1e-5)
    np.testing.assert_array_equal(out["mask"], mask)


def test_a_sure_flip_is_a_flip():
    image, mask = slices()
    for name, axis in (("flip_vertical", 1), ("flip_horizontal", 2)):
        out = compiled(Augmentation(**{name: 1.0}))(keys(4), image, mask)
        np.testing.assert_allclose(out["image"], np.flip(image, axis), atol=1e-5)
        np.testing.assert_array_equal(out["mask"], np.flip(mask, axis))


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=25, deadline=None)
def test_labels_are_read_where_the_image_is_read(seed):
    """Images of their own coordinates tell where each pixel comes from: the oracle for the mask."""
    run, key = compiled(GEOMETRY, "unit"), keys(2, seed)
    _, mask = slices(2, seed)
    ramp = np.broadcast_to(np.arange(SIDE, dtype=np.float32)[:, None, None], (2, SIDE, SIDE, 1))

    def read(image):
        out = run(key, image, mask)
        return np.asarray(out["image"])[..., 0], np.asarray(out["mask"])[..., 0]

    places, sure = [], True
    for image in (ramp, np.swapaxes(ramp, 1, 2)):
        place, found = read(image)
        # Both ways agree where nothing from outside is mixed in; ties of nearest are left out.
        sure &= np.abs(place + read(SIDE - 1 - image)[0] - (SIDE - 1)) < 1e-3
        sure &= np.abs(place % 1 - 0.5) > 1e-3
        places.append(np.rint(place).astype(int))
    assert sure.mean() > 0.3
    index = np.arange(2)[:, None, None]
    expected = mask[..., 0][index, places[0], places[1]]
    np.testing.assert_array_equal(found[sure], expected[sure])


@given(hnp.arrays(np.uint8, (2, 7, 9, 1), elements=st.integers(0, 1)))
@settings(max_examples=50, deadline=None)
def test_edges_are_those_of_the_preprocessing(mask):
    expected = np.stack([preprocess.edges(m[..., 0]) for m in mask])[..., None]
    found = np.asarray(augment.edges(jnp.asarray(mask)))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


def test_the_edge_truth_is_that_of_the_moved_mask():
    image, mask = slices()
    out = jax.device_get(compiled(EVERYTHING)(keys(4), image, mask))
    assert (out["mask"] != mask).any()
    expected = [preprocess.edges(m[..., 0]) for m in out["mask"]]
    np.testing.assert_array_equal(out["edge"][..., 0], expected)
    assert set(np.unique(out["mask"])) == {0, 1}


@given(
    hnp.arrays(np.float32, (16, 16), elements=st.floats(-3e4, 3e4, width=32)),
    st.sampled_from([1.0, 1e-3]),
)
@settings(max_examples=50, deadline=None)
def test_z_score_is_that_of_the_preprocessing(image, factor):
    image = image * np.float32(factor)
    expected = preprocess.z_score(image.astype(np.float64))
    np.testing.assert_allclose(augment.z_score(jnp.asarray(image)), expected, atol=2e-3)


def test_results_are_prepared_like_any_slice():
    image, mask = slices()
    out = np.asarray(compiled(EVERYTHING)(keys(4), image, mask)["image"])
    np.testing.assert_allclose(out.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((1, 2, 3)), 1, atol=1e-4)
    unit = np.asarray(compiled(INTENSITY, "unit")(keys(4), np.clip(image, 0, 1), mask)["image"])
    assert unit.min() >= 0
    assert unit.max() <= 1
    constant = compiled(EVERYTHING)(keys(4), np.zeros_like(image), mask)["image"]
    assert np.isfinite(constant).all()


def test_a_slice_depends_on_its_key_alone():
    image, mask = slices()
    run = compiled(EVERYTHING)
    whole = run(keys(4), image, mask)
    again = run(keys(4), image, mask)
    turned = run(keys(4)[::-1], image[::-1], mask[::-1])
    alone = run(keys(4)[2:3], image[2:3], mask[2:3])
    other = run(keys(4, seed=1), image, mask)
    for name, found in whole.items():
        np.testing.assert_array_equal(again[name], found)
        np.testing.assert_allclose(turned[name], found[::-1], atol=1e-5)
        np.testing.assert_allclose(alone[name], found[2:3], atol=1e-5)
        assert (np.asarray(other[name]) != np.asarray(found)).any()


def test_intensity_keeps_the_order_of_grey_values_and_moves_nothing():
    """Without noise and blur every change is a monotone curve."""
    changes = Augmentation(contrast=0.3, brightness=0.2, gamma=0.4, curve=0.5, window=0.4)
    image = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(1, SIDE, SIDE, 1)
    _, mask = slices(4)
    out = compiled(changes, "unit")(keys(4), np.repeat(image, 4, axis=0), mask)
    np.testing.assert_array_equal(out["mask"], mask)
    rows = np.asarray(out["image"]).reshape(4, -1)
    assert (np.diff(rows, axis=1) >= -1e-6).all()
    assert np.abs(rows - image.reshape(1, -1)).max() > 0.1


def test_blur_is_the_gaussian_of_its_deviation():
    point = np.zeros((9, 9), np.float32)
    point[4, 4] = 1
    blurred = np.asarray(augment._blurred(jnp.asarray(point), jnp.float32(0.8), 2))
    row = np.exp(-0.5 * (np.arange(-2, 3) / 0.8) ** 2)
    row /= row.sum()
    np.testing.assert_allclose(blurred[2:7, 2:7], np.outer(row, row), atol=1e-6)
    assert blurred.sum() == pytest.approx(1, abs=1e-5)


def test_another_size_is_the_same_slice_at_half_pixel_centres():
    image = np.linspace(0, 1, SIDE, dtype=np.float32)[None, :, None, None]
    image = np.broadcast_to(image, (1, SIDE, SIDE, 1))
    mask = (image > 0.5).astype(np.uint8)
    out = compiled(Augmentation(), "unit", (SIDE // 2, 2 * SIDE))(keys(1), image, mask)
    assert out["image"].shape == out["mask"].shape == out["edge"].shape == (1, 12, 48, 1)
    inner = np.asarray(out["image"])[0, 1:-1, 24, 0]
    np.testing.assert_allclose(inner, image[0, :, 0, 0].reshape(12, 2).mean(1)[1:-1], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(out["mask"])[0, :, 24, 0], np.arange(12) >= 6)


def test_a_larger_slice_repeats_its_border_as_pillow_does():
    image, mask = slices(1)
    image = np.asarray(image - image.min() + 1)  # so that anything dark beside it would be seen
    out = compiled(Augmentation(), "unit", (2 * SIDE, 2 * SIDE))(keys(1), image, mask)
    wanted = preprocess.resize_image(image[0, ..., 0], (2 * SIDE, 2 * SIDE))
    np.testing.assert_allclose(out["image"][0, ..., 0], wanted, atol=1e-5)


def test_a_narrower_window_is_cut_off_at_both_ends_and_stretched():
    image = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(1, SIDE, SIDE, 1)
    many = np.repeat(image, 16, axis=0)
    changes = Augmentation(window=0.4)
    out = compiled(changes, "unit")(keys(16), many, np.zeros_like(many, np.uint8))["image"]
    ends = []
    for row in np.asarray(out).reshape(16, -1):
        black, white = (row <= 0).mean(), (row >= 1).mean()
        inside = (row > 0) & (row < 1)
        expected = (image.ravel() - black) / (1 - white - black)
        np.testing.assert_allclose(row[inside], expected[inside], atol=0.01)
        ends.append((black, white))
    black, white = np.transpose(ends)
    assert black.max() <= 0.1 + 0.01
    assert 0.2 < white.max() <= 0.4 + 0.01


def test_stretching_changes_height_to_width_and_keeps_the_area():
    side = 96
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    disc = (np.hypot(y, x) < 20).astype(np.uint8)[None, ..., None].repeat(16, 0)
    changes = Augmentation(stretch=0.5)
    found = np.asarray(compiled(changes)(keys(16), disc.astype(np.float32), disc)["mask"])
    ratios = []
    for mask in found[..., 0]:
        height, width = mask.any(1).sum(), mask.any(0).sum()
        ratios.append(np.log(float(height) / float(width)))
        assert float(mask.sum()) == pytest.approx(float(disc[0].sum()), rel=0.05)
    assert 0.25 < max(ratios) < 0.55
    assert -0.55 < min(ratios) < -0.25


def test_some_slices_are_equalised():
    image = np.clip(np.random.default_rng(0).beta(2, 9, (1, 64, 64, 1)), 0, 1).astype(np.float32)
    many = np.repeat(image, 32, axis=0)
    changes = Augmentation(equalise=0.5)
    out = compiled(changes, "unit")(keys(32), many, np.zeros_like(many, np.uint8))["image"]
    changed = np.abs(np.asarray(out) - many).max(axis=(1, 2, 3))
    assert 8 <= (changed > 1e-4).sum() <= 24
    assert np.asarray(out).std(axis=(1, 2, 3)).max() > 1.5 * image.std()


def test_what_is_drawn_for_one_change_tells_nothing_of_another():
    rows = np.zeros((200, SIDE, SIDE, 1), np.uint8)
    rows[:, 3:9, 8:16] = 1  # in the upper half: 6 rows of 8 columns
    image = rows.astype(np.float32)
    found = compiled(Augmentation(flip_vertical=0.5, stretch=0.8), "unit")(keys(200), image, rows)
    moved = np.asarray(found["mask"])[..., 0]
    flipped = moved[:, SIDE // 2 :].sum((1, 2)) > moved[:, : SIDE // 2].sum((1, 2))
    taller = moved.any(2).sum(1) > moved.any(1).sum(1) * 6 / 8
    for turned in (False, True):
        assert 0.3 < taller[flipped == turned].mean() < 0.7

    masks = np.zeros((200, SIDE, SIDE, 1), np.uint8)
    masks[1::2] = 1
    changes = Augmentation(cutmix=0.5, brightness=0.2, probability=0.5)
    found = compiled(changes, "unit")(keys(200), np.full(masks.shape, 0.5, np.float32), masks)
    own = np.asarray(found["mask"]) == masks
    brighter = ((np.abs(np.asarray(found["image"]) - 0.5) > 1e-3) & own).any((1, 2, 3))
    for mixed in (False, True):
        assert 0.3 < brighter[own.all((1, 2, 3)) != mixed].mean() < 0.7

    ramp = np.linspace(0, 1, 401, dtype=np.float32).reshape(1, 1, -1, 1).repeat(200, 0)
    changes = Augmentation(window=0.4, contrast=0.3)
    found = compiled(changes, "unit")(keys(200), ramp, np.zeros(ramp.shape, np.uint8))["image"]
    grey = np.asarray(found)[:, 0, :, 0]
    middle = np.argmax(grey >= 0.5, axis=1)  # where 0.5 lies tells of the window
    slope = (grey[np.arange(200), middle + 20] - grey[np.arange(200), middle - 20]) * 10
    assert abs(np.corrcoef(middle, np.log(slope * middle / 200))[0, 1]) < 0.25


def test_settings_that_mean_nothing_are_named():
    with pytest.raises(ValueError, match=r"augment\.rotation is -1, expected a number"):
        Augmentation(rotation=-1)
    with pytest.raises(ValueError, match=r"augment\.flip_vertical is 1\.5, expected a share"):
        Augmentation(flip_vertical=1.5)
