"""Masks of any tool: DICOM Segmentations and NIfTI volumes on the voxels of a scan."""

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from cosup_jax.scans import dicom, dicom_seg, masks
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.nifti import VolumeError
from tests.scans import dicom_series
from tests.scans.nifti_files import ORIENTATIONS, affine_of

HU = np.random.default_rng(0).integers(-1000, 200, (6, 12, 10)).astype(np.int16)
WAYS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "face down": ((-1, 0, 0), (0, -1, 0)),
    "columns first": ((0, 1, 0), (1, 0, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
}


@pytest.fixture(params=WAYS)
def series(request, tmp_path):
    images = dicom_series.make_images(HU, directions=WAYS[request.param])
    return dicom.read_series(dicom_series.save(tmp_path / "series", images))


def drawing(series):
    """Axial labels with empty planes at both ends and in between."""
    shape = series.grid.axial().shape[::-1]
    axial = np.zeros(shape, np.uint8)
    axial[1, 2:4, 1:3] = axial[3, 1, 2] = axial[4, 3:5, 2:4] = 1
    return axial


def write(path, axial, series, result="mask"):
    frames = series.grid.from_axial(axial).transpose(2, 1, 0)
    dicom_seg.write(path, np.ascontiguousarray(frames), series, result)
    return path


@pytest.mark.parametrize(
    ("result", "value"), [("mask", 1), ("probability", 200), ("probability", 100), ("classes", 2)]
)
def test_segmentations_are_read_back_onto_their_images(tmp_path, series, result, value):
    axial = drawing(series)
    path = write(tmp_path / "s.dcm", axial * np.uint8(value), series, result)
    found, done = masks.read(path).on(series.grid)
    expected = 0 if value == 100 else 2 if result == "classes" else 1
    np.testing.assert_array_equal(found, axial * expected)
    assert done == ""


@pytest.mark.parametrize("shape", [(4, 6, 5), (3, 7, 3), (5, 2, 5), (2, 4, 4)])
def test_frames_need_not_begin_at_a_byte(tmp_path, shape):
    drawn = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    images = dicom_series.make_images(np.zeros(shape, np.int16))
    series = dicom.read_series(dicom_series.save(tmp_path / "series", images))
    found, _ = masks.read(write(tmp_path / "s.dcm", drawn, series)).on(series.grid)
    np.testing.assert_array_equal(found, drawn)


def test_an_empty_segmentation_is_an_empty_mask(tmp_path, series):
    path = write(tmp_path / "s.dcm", drawing(series) * np.uint8(0), series)
    found, _ = masks.read(path).on(series.grid)
    assert not found.any()


STEP = (0, 1.5, 5)  # of a tilted gantry, whose slices are 2 mm thick


@pytest.mark.parametrize(
    ("slices", "given", "drawn", "apart"),
    [
        (6, {}, [1, 4], 5),
        (1, {}, [0], 5),
        (6, {"step": STEP, "SliceThickness": 2}, [2], 5),
        (6, {"step": STEP, "SliceThickness": 2}, [0, 3, 5], 5),
        (6, {"directions": WAYS["coronal"], "SliceThickness": 2}, [2], 5),
        (2, {"step": (0, 0, 2.5)}, [1], 2.5),
    ],
)
def test_a_segmentation_says_how_far_its_planes_lie_apart(tmp_path, slices, given, drawn, apart):
    images = dicom_series.make_images(HU[:slices], **given)
    series = dicom.read_series(dicom_series.save(tmp_path / "series", images))
    frames = np.zeros((slices, 12, 10), np.uint8)
    frames[drawn, 2:5, 3:7] = 1
    dicom_seg.write(tmp_path / "s.dcm", frames, series, "mask")
    found = masks.read(tmp_path / "s.dcm")
    assert found.depth_known
    volume = np.count_nonzero(found.classes) * np.prod(found.grid.spacing)
    assert volume == pytest.approx(12 * len(drawn) * 0.75 * 0.5 * apart)
    on_scan, done = found.on(series.grid)
    np.testing.assert_array_equal(on_scan, series.grid.to_axial(frames.transpose(2, 1, 0)))
    assert done == ""


def other_tool(series_path, segments, kind="BINARY", **fields):
    """A Segmentation as another program would write it, of (planes, rows, columns) labels."""
    sources = sorted(
        (pydicom.dcmread(p) for p in series_path.iterdir()),
        key=lambda i: float(i.ImagePositionPatient[2]),
    )
    made = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=segments,
        segmentation_type=kind,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=i + 1,
                segment_label=label,
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Lesion,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            )
            for i, label in enumerate(fields.pop("names"))
        ],
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="another",
        manufacturer_model_name="tool",
        software_versions="1",
        device_serial_number="1",
        **fields,
    )
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices
    return made


LABELS = np.zeros((6, 12, 10), np.uint8)
LABELS[0, 2, 3] = 1
LABELS[2, 4:6, 5] = 2
LABELS[4, 1, 1] = 1


@pytest.mark.parametrize(
    "syntax",
    [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.RLELossless, pydicom.uid.JPEGLSLossless],
)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_those_of_another_tool_without_the_distance_of_planes(tmp_path, kind, syntax):
    if kind == "BINARY" and syntax.is_compressed:
        pytest.skip("a bit a pixel is not compressed")
    files = dicom_series.save(tmp_path / "series", dicom_series.make_images(HU))
    named = {"names": ["GGO", "consolidation"], "transfer_syntax_uid": syntax}
    other_tool(tmp_path / "series", LABELS, kind, **named).save_as(tmp_path / "s.dcm")
    found, _ = masks.read(tmp_path / "s.dcm").on(dicom.read_series(files).grid)
    np.testing.assert_array_equal(found, LABELS)
    declared, _ = masks.read(tmp_path / "s.dcm", {0: 0, 1: 0, 2: 3}).on(
        dicom.read_series(files).grid
    )
    np.testing.assert_array_equal(declared, 3 * (LABELS == 2))
    with pytest.raises(VolumeError, match="holds the segments 2; expected only"):
        masks.read(tmp_path / "s.dcm", {0: 0, 1: 1})


def test_numbers_of_a_fractional_one_need_their_largest(tmp_path):
    """Without it 26 of 255 were all of a voxel, and 1 of a binary one was nothing beside 255."""
    dicom_series.save(tmp_path / "series", dicom_series.make_images(HU))
    shares = np.where(LABELS, 0.8, 0.1).astype(np.float32)
    named = {"names": ["infection"], "max_fractional_value": 255}
    made = other_tool(tmp_path / "series", shares, "FRACTIONAL", **named)
    made.save_as(tmp_path / "s.dcm")
    assert np.count_nonzero(masks.read(tmp_path / "s.dcm").classes) == np.count_nonzero(LABELS)
    for wrong in (None, 0):
        made.MaximumFractionalValue = wrong
        made.save_as(tmp_path / "s.dcm")
        with pytest.raises(VolumeError, match=r"s\.dcm: FRACTIONAL, but without MaximumFract"):
            masks.read(tmp_path / "s.dcm")
    binary = other_tool(tmp_path / "series", np.minimum(LABELS, 1), names=["infection"])
    binary.MaximumFractionalValue = 255
    binary.save_as(tmp_path / "s.dcm")
    assert np.count_nonzero(masks.read(tmp_path / "s.dcm").classes) == np.count_nonzero(LABELS)


@pytest.mark.parametrize(
    ("names", "values", "said"),
    [
        (["Left lung", "Right lung"], None, True),
        (["Lung", "Lesion"], None, False),
        (["Lung", "Lesion"], {1: 0, 2: 0, 3: 1}, True),
    ],
)
def test_one_without_a_segment_of_infection_says_so(tmp_path, names, values, said):
    dicom_series.save(tmp_path / "series", dicom_series.make_images(HU))
    other_tool(tmp_path / "series", LABELS, names=names).save_as(tmp_path / "s.dcm")
    found = masks.read_infection(tmp_path / "s.dcm", values)
    assert any("none of its segments is infection" in note for note in found.notes) == said
    assert bool(found.classes.any()) != said


def change(name, value):
    return lambda file: setattr(file, name, value)


def twist(file):
    place = file.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    place.ImagePositionPatient = [0, 0, -293.3]


DAMAGE = {
    "more frames than places": (change("NumberOfFrames", 2), "2 frames, but places of 3"),
    "more pixels than there are": (change("Rows", 2000), "truncated"),
    "absurd": (change("Columns", 60000), "its header claims 3 frames of 60000"),
    "planes that are none": (twist, "no planes of one volume"),
    "another kind": (change("SegmentationType", "POLYGON"), "of a kind that is not one of"),
    "no segments": (lambda f: delattr(f, "SegmentSequence"), "unreadable or damaged"),
    "no places": (lambda f: delattr(f, "PerFrameFunctionalGroupsSequence"), "unreadable"),
    "no Segmentation": (change("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "no DICOM Segment"),
    "names that say nothing": (
        lambda f: [setattr(s, "SegmentLabel", f"a{s.SegmentNumber}") for s in f.SegmentSequence],
        "the labels 'a1', 'a2' say no class",
    ),
}


@pytest.mark.parametrize("kind", sorted(DAMAGE))
def test_damaged_ones_are_refused_by_name(tmp_path, kind):
    dicom_series.save(tmp_path / "series", dicom_series.make_images(HU))
    made = other_tool(tmp_path / "series", LABELS, names=["GGO", "consolidation"])
    damage, message = DAMAGE[kind]
    damage(made)
    made.save_as(tmp_path / "s.dcm")
    with pytest.raises(VolumeError) as caught:
        masks.read(tmp_path / "s.dcm")
    assert str(caught.value).startswith(f"{tmp_path / 's.dcm'}: ")
    assert message in str(caught.value)


def test_labels_outside_of_the_scan_are_refused(tmp_path):
    files = dicom_series.save(tmp_path / "series", dicom_series.make_images(HU))
    series = dicom.read_series(files)
    path = write(tmp_path / "s.dcm", drawing(series), series)
    cut = Grid((10, 12, 4), series.grid.affine)
    with pytest.raises(VolumeError, match="voxels are drawn outside its image"):
        masks.read(path).on(cut)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SLP", "AIR"])
def test_the_order_in_which_voxels_are_stored_does_not_matter(tmp_path, orientation):
    axial = np.random.default_rng(1).integers(0, 2, (4, 6, 5), np.uint8)
    affine = affine_of("LPS", (0.7, 0.8, 5), (4, -3, 2), (10, 20, 30))
    image = nib.Nifti1Image(axial.transpose(2, 1, 0), affine)
    way = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(orientation)
    )
    nib.save(image.as_reoriented(way), tmp_path / "m.nii")
    found, done = masks.read(tmp_path / "m.nii").on(Grid((5, 6, 4), affine))
    np.testing.assert_array_equal(found, axial)
    assert done == ""


@pytest.mark.parametrize("seed", range(6))
def test_nearest_neighbours_are_found_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 4, (6, 5, 4)).astype(np.uint8)
    orientation = ORIENTATIONS[rng.integers(len(ORIENTATIONS))]
    turned = affine_of(orientation, rng.uniform(0.5, 3, 3), rng.uniform(-20, 20, 3))
    grid = Grid(labels.shape, turned)
    to = Grid(
        (7, 8, 5), affine_of("LPS", (1.1, 0.9, 1.3), (3, 0, 0), grid.affine[:3] @ (2, 2, 1, 1))
    )
    drawn = masks.Drawing("m", grid.axial(), grid.to_axial(labels))
    found, done = drawn.on(to, nearest=True)
    expected = np.zeros(to.shape, np.uint8)
    for place in np.ndindex(to.shape):
        at = np.linalg.solve(grid.affine, to.affine @ [*place, 1])[:3]
        apart = np.abs(np.moveaxis(np.indices(labels.shape), 0, -1) - at).max(-1)
        nearest = np.unravel_index(apart.argmin(), apart.shape)
        expected[place] = labels[nearest] if apart[nearest] <= 0.5 else 0
    np.testing.assert_array_equal(found, to.to_axial(expected))
    assert 0 < np.count_nonzero(found) < found.size
    assert done.endswith("by nearest neighbours")
