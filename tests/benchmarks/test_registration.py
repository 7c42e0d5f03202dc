"""Crops are found again in a volume whose slices were made smaller and equalised."""

import cv2
import numpy as np
import pytest
import scipy.stats

from benchmarks.evaluation import registration
from cosup_jax import phantom
from cosup_jax.data import preprocess

SIZE = (301, 470)  # of the volume as its crops were cut: neither square nor that of the slices
CANDIDATES = ((512, 512), SIZE, (470, 301))
DROPPED = (0, 5, 6)  # slices that were not kept
CUTS = {2: (60, 90, 170, 260), 4: (55, 81, 180, 270), 5: (50, 80, 184, 280), 9: (71, 95, 170, 251)}


@pytest.fixture(scope="module")
def volume():
    """Grey slices in the lung window and their lesions, both (Z, *SIZE) uint8."""
    drawn = phantom.draw_volume(3, infected=True)
    grey = (255 * preprocess.apply_window(drawn.image, preprocess.LUNG_WINDOW)).astype(np.uint8)
    resized = [
        np.stack([registration.enlarge(plane, SIZE) for plane in planes])
        for planes in (grey, (drawn.mask > 0).astype(np.uint8) * 255)
    ]
    return resized[0], (resized[1] >= 128)


@pytest.fixture(scope="module")
def crops(volume):
    return [volume[0][z, y : y + h, x : x + w] for z, (y, x, h, w) in CUTS.items()]


@pytest.fixture(scope="module")
def kept():
    return [z for z in range(16) if z not in DROPPED]


@pytest.fixture(scope="module")
def slices(volume, kept):
    """The slices that were kept, 200×200, each equalised by the ranks of its own grey values."""

    def shrunk(plane):
        small = cv2.resize(plane, (200, 200), interpolation=cv2.INTER_AREA)
        return (255 * scipy.stats.rankdata(small) / small.size).reshape(small.shape)

    return [shrunk(volume[0][z]).astype(np.uint8) for z in kept]


def test_crops_are_found_in_their_slices_and_one_without_its_slice_is_not(crops, slices, kept):
    found = registration.find_cuts(crops, slices, SIZE)
    assert [list(CUTS)[cut.picture] for cut in found] == [2, 4, 9]
    for cut in found:
        z = kept[cut.slice]
        assert z == list(CUTS)[cut.picture]
        top, left, *_ = CUTS[z]
        assert max(abs(cut.top - top), abs(cut.left - left)) <= 2
        assert cut.correlation > cut.elsewhere + registration.LEAST_LEAD


def test_the_size_of_the_volume_is_told_among_others(crops, slices):
    assert registration.find_size(crops, slices, CANDIDATES) == SIZE


def test_crops_fit_less_well_where_they_are_turned(crops, slices):
    fits = registration.correlate(crops, slices, SIZE).max(axis=1)
    for turn in (np.fliplr, np.flipud):
        turned = [np.ascontiguousarray(turn(crop)) for crop in crops]
        assert (registration.correlate(turned, slices, SIZE).max(axis=1) < fits - 0.1).all()


def test_a_crop_larger_than_the_volume_fits_nowhere(crops, slices):
    assert (registration.correlate(crops, slices, (160, 470)) == -1).all()


def test_a_mask_of_whole_slices_is_cut_as_the_crop_was(volume, crops, slices, kept):
    (cut, *_) = registration.find_cuts(crops[:1], slices, SIZE)
    z = kept[cut.slice]
    top, left, height, width = CUTS[z]
    small = cv2.resize(
        volume[1][z].astype(np.uint8) * 255, (200, 200), interpolation=cv2.INTER_AREA
    )
    mask = registration.cut_out(small >= 128, cut, (height, width), SIZE)
    truth = volume[1][z, top : top + height, left : left + width]
    assert truth.any()
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.95
