"""Kernels and voltages in one series: between one another's slices, or one behind another."""

import numpy as np
import pytest

from tests.scans.dicom_series import make_images, save
from tests.scans.test_find_discs import WIDE, scans_of, voxels


@pytest.mark.parametrize("offset", [2.5, 2.4, 1.0])
@pytest.mark.parametrize("by", ["ConvolutionKernel", "KVP", "SeriesDescription"])
def test_a_stack_between_the_slices_of_another_is_a_scan_of_its_own(tmp_path, by, offset):
    first = make_images(WIDE, **{by: "40"})
    second = make_images(WIDE[::-1], origin=(-100.0, -120.0, -300.0 + offset), **{by: "80"})
    for image in second:
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, name, first[0][name].value)
        image.InstanceNumber += 100
    save(tmp_path / "d", first + second)
    found, _ = scans_of(tmp_path / "d")
    read = [source.read() for source in found]
    assert [scan.spacing[0] for scan in read] == pytest.approx([5, 5])
    assert all("one of 2 stacks of its series" in scan.notes for scan in read)
    stacks = sorted((np.stack(scan.slices) for scan in read), key=lambda s: (s != WIDE).any())
    np.testing.assert_array_equal(stacks[0], WIDE)
    np.testing.assert_array_equal(stacks[1], WIDE[::-1])


def test_slices_that_follow_one_another_are_one_scan_whatever_their_kernel(tmp_path):
    images = make_images(WIDE, ConvolutionKernel="soft")
    for image in images[4:]:
        image.ConvolutionKernel = "sharp"
    save(tmp_path / "d", images)
    (source,), _ = scans_of(tmp_path / "d")
    np.testing.assert_array_equal(voxels(source), WIDE)


def test_thin_and_thick_slices_at_the_same_places_are_two_scans(tmp_path):
    thin, thick = make_images(WIDE), make_images(WIDE[::2], (10.0, 0.75, 0.5))
    for image in thick:
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(image, name, thin[0][name].value)
        image.InstanceNumber += len(thin)
    save(tmp_path / "d", thin + thick)
    scans = [source.read() for source in scans_of(tmp_path / "d")[0]]
    assert sorted((len(scan.slices), scan.spacing[0]) for scan in scans) == [(4, 10), (8, 5)]
    assert all("one of 2 stacks of its series" in scan.notes for scan in scans)
