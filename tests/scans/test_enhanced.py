"""Enhanced CT: many slices in one file, each with its place and its scale."""

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, LegacyConvertedEnhancedCTImageStorage, RLELossless

from cosup_jax.scans import dicom, dicom_files, dicom_headers, dicom_seg, find
from tests.scans.dicom_series import make_images, save
from tests.scans.enhanced import make_enhanced, shuffled
from tests.scans.test_dicom import HU, axial

MASK = (HU > 0).astype(np.uint8)
ALL = (
    *("PlaneOrientationSequence", "PixelMeasuresSequence"),
    "PixelValueTransformationSequence",
)


def read(folder, *objects):
    return dicom.read_series(save(folder, objects))


@pytest.mark.parametrize("shared", [(), ("PlaneOrientationSequence",), ALL])
def test_frames_are_sorted_by_place_wherever_their_attributes_stand(tmp_path, shared):
    images = shuffled(make_images(HU))
    series = read(tmp_path, make_enhanced(images, shared=shared))
    np.testing.assert_array_equal(axial(series), HU)
    assert series.spacing == (5.0, 0.75, 0.5)
    assert series.grid.orientation == "LPS"


def test_compressed_frames_are_read_one_by_one(tmp_path):
    made = make_enhanced(shuffled(make_images(HU)))
    made.compress(RLELossless)
    np.testing.assert_array_equal(axial(read(tmp_path, made)), HU)


def test_the_other_class_is_read_too(tmp_path):
    made = make_enhanced(make_images(HU), SOPClassUID=LegacyConvertedEnhancedCTImageStorage)
    np.testing.assert_array_equal(axial(read(tmp_path, made)), HU)


def test_each_frame_has_its_own_scale(tmp_path):
    images = make_images(HU[:2] * 2, slope=2) + make_images(HU[2:], intercept=0.0)
    for i, image in enumerate(images):
        image.ImagePositionPatient = [0, 0, 5 * i]
    series = read(tmp_path, make_enhanced(images, shared=ALL[:2]))
    np.testing.assert_array_equal(axial(series), np.concatenate([HU[:2] * 2, HU[2:]]))


def test_a_gantry_tilt_and_the_patients_position_are_those_of_the_frames(tmp_path):
    turned = make_images(HU[:, ::-1, ::-1], directions=((-1, 0, 0), (0, -1, 0)), step=(0, 1, 5))
    series = read(tmp_path, make_enhanced(turned))
    np.testing.assert_array_equal(axial(series), HU)
    assert "gantry tilt" in series.notes[0]


@pytest.mark.parametrize("index", ["TemporalPositionIndex", "StackID", "DimensionIndexValues"])
def test_each_temporal_position_or_stack_is_a_scan(tmp_path, index):
    images = shuffled(make_images(HU) + make_images(HU[::-1]))
    phase = {id(image): int(image.InstanceNumber) for image in images}
    first = {
        id(image) for image in images if image.SeriesInstanceUID == images[0].SeriesInstanceUID
    }

    def content(image):
        number = 1 if id(image) in first else 2
        value = {"StackID": str(number), "DimensionIndexValues": [number, phase[id(image)]]}
        return {index: value.get(index, number)}

    save(tmp_path / "in", [make_enhanced(images, content=[content(image) for image in images])])
    found, others = find.find_scans([tmp_path / "in"], tmp_path / "out")
    assert not others
    assert len({source.part for source in found}) == len({s.digest() for s in found}) == 2
    slices = [np.stack(source.read().slices).tolist() for source in found]
    assert sorted(slices) == sorted([HU.tolist(), HU[::-1].tolist()])


def test_frames_at_one_place_that_nothing_parts_are_refused(tmp_path):
    images = make_images(HU) + make_images(HU[::-1])
    made = make_enhanced([images[i] for i in (0, 5, 6, 1, 2, 7, 3, 8, 9, 4)])
    with pytest.raises(dicom.VolumeError, match="lie where another one lies"):
        read(tmp_path, made)


@pytest.mark.parametrize("gap", [1, 3])
def test_frames_that_are_missing_are_noticed(tmp_path, gap):
    images = make_images(HU)
    del images[gap]
    with pytest.raises(dicom.VolumeError, match="images are missing or unevenly spaced"):
        read(tmp_path, make_enhanced(images))


def test_the_segmentation_refers_to_the_frames(tmp_path):
    order = np.random.default_rng(3).permutation(len(HU))
    images = make_images(HU)
    made = make_enhanced([images[i] for i in order])
    series = read(tmp_path / "in", made)
    dicom_seg.write(tmp_path / "mask.dcm", MASK, series, "mask")
    mask = hd.seg.segread(tmp_path / "mask.dcm")
    numbers = [int(np.flatnonzero(order == i)[0]) + 1 for i in range(len(HU))]
    found = mask.get_pixels_by_source_frame(made.SOPInstanceUID, numbers)
    np.testing.assert_array_equal(found[..., 0], MASK)
    (referenced,) = mask.ReferencedSeriesSequence
    (instance,) = referenced.ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == made.SOPInstanceUID
    assert instance.ReferencedSOPClassUID == made.SOPClassUID
    assert referenced.SeriesInstanceUID == made.SeriesInstanceUID


def test_a_series_in_several_enhanced_files_is_one(tmp_path):
    images = make_images(HU)
    series = read(tmp_path / "in", make_enhanced(images[:2]), make_enhanced(images[2:]))
    np.testing.assert_array_equal(axial(series), HU)
    dicom_seg.write(tmp_path / "mask.dcm", MASK, series, "mask")
    (referenced,) = hd.seg.segread(tmp_path / "mask.dcm").ReferencedSeriesSequence
    assert len(referenced.ReferencedInstanceSequence) == 2


def test_a_localizer_among_the_frames_is_none(tmp_path):
    made = make_enhanced(make_images(HU))
    made.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    with pytest.raises(dicom.VolumeError, match="no CT images; found 1 localizer"):
        read(tmp_path, made)


def test_frames_that_are_left_out_are_said(tmp_path):
    made = make_enhanced(make_images(HU))
    for i, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        kind = Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME" if i else "LOCALIZER", "NONE"]
        frame.CTImageFrameTypeSequence = [kind]
    series = read(tmp_path, made)
    np.testing.assert_array_equal(series.grid.to_axial(series.stored), HU[1:])
    assert "set aside: 1 frame that is a localizer" in series.notes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"NumberOfFrames": 9}, "9 frames, of which its functional groups describe 5"),
        ({"NumberOfFrames": 4}, "4 frames, of which its functional groups describe 5"),
        ({"Rows": 65_000, "Columns": 65_000}, "at most 1,073,741,824 voxels"),
        ({"PixelData": bytes(1000)}, "truncated: 1,000 bytes of pixels"),
    ],
)
def test_claims_that_cannot_be_are_refused(tmp_path, change, reason):
    with pytest.raises(dicom.VolumeError, match=reason):
        read(tmp_path, make_enhanced(make_images(HU), **change))


@pytest.mark.parametrize("claimed", [5, 10**6])
def test_functional_groups_of_millions_of_elements_are_refused(tmp_path, claimed):
    made = make_enhanced(make_images(HU), NumberOfFrames=claimed)
    paths = save(tmp_path, [made])
    content = paths[0].read_bytes()
    at = content.index(b"\x00\x52\x30\x92SQ\0\0")
    empty = b"".join(b"\x19\x00" + i.to_bytes(2, "little") + b"LO\0\0" for i in range(60_000)) * 20
    item = b"\xfe\xff\x00\xe0" + len(empty).to_bytes(4, "little") + empty
    length = len(item).to_bytes(4, "little")
    end = content.index(b"\xe0\x7f\x10\x00")
    paths[0].write_bytes(content[: at + 8] + length + item + content[end:])
    with pytest.raises(dicom.VolumeError, match="more elements than any image has"):
        dicom.read_series(paths)


def test_a_header_of_many_elements_is_read_if_it_has_as_many_frames(tmp_path):
    """As much is said of each frame as the standard asks for; pixels are compressed to 10 kB."""
    made = make_enhanced(make_images(np.zeros((700, 4, 4), np.int16)))
    for frame in made.PerFrameFunctionalGroupsSequence:
        frame.CTExposureSequence = [Dataset() for _ in range(70)]
        for sequence in frame:
            sequence.is_undefined_length = True
            for item in sequence.value:
                item.is_undefined_length_sequence_item = True
    made.PixelData = encapsulate([b"\xff\x4f" + bytes(9998)] * 700)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    made.file_meta.TransferSyntaxUID = JPEG2000
    (part,) = dicom_files.list_parts(save(tmp_path, [made]))
    with dicom_files.Reader() as reader:
        assert len(dicom_headers.read(part, reader)) == 700
