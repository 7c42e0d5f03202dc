"""DICOM Segmentations of other tools: how far their planes lie apart, how they are written."""

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from cosup_jax import metrics
from cosup_jax.evaluation.saved_volumes import SavedMapError, on_one_grid
from cosup_jax.scans import dicom, masks
from cosup_jax.scans.nifti import VolumeError
from tests.scans.dicom_series import make_images, save
from tests.scans.nifti_files import affine_of, forge

DISTANCE, PIXELS = 2.0, (1.5, 1.0)  # mm
DRAWN = np.zeros((5, 8, 6), bool)
DRAWN[:, 2:5, 1:4] = True
ML = DRAWN.sum() * DISTANCE * np.prod(PIXELS) / 1000
TILTED = (1, 0, 0, 0, np.cos(0.3), np.sin(0.3))


def item(**fields):
    made = Dataset()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def write(path, planes, *, directions=(1, 0, 0, 0, 1, 0), step=(0, 0, 2), drawn=DRAWN, **measures):
    """A Segmentation of planes at some of the places 0, 1, 2, …, each `step` from the next."""
    made = item(Modality="SEG", SegmentationType="BINARY", SOPInstanceUID=uid.generate_uid())
    made.SOPClassUID = uid.SegmentationStorage
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = measures.pop("syntax", uid.ExplicitVRLittleEndian)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.SegmentSequence = [item(SegmentNumber=1, SegmentLabel="infection")]
    shared = item(PlaneOrientationSequence=[item(ImageOrientationPatient=[*directions])])
    shared.PixelMeasuresSequence = [item(PixelSpacing=[*PIXELS], **measures)]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[*(place * np.array(step, float))])],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
        )
        for place in planes
    ]
    made.NumberOfFrames, made.Rows, made.Columns = drawn.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 1, 0, 0
    packed = np.packbits(drawn.ravel(), bitorder="little").tobytes()
    made.PixelData = packed + bytes(len(packed) % 2)
    made["PixelData"].VR = "OB"
    made.save_as(path, enforce_file_format=True)
    return path


def volume(drawing):
    return np.count_nonzero(drawing.classes) * np.prod(drawing.grid.spacing) / 1000


@pytest.mark.parametrize(
    ("thickness", "between", "known", "share"),
    [
        (2, 2, True, 1),
        (1, 2, True, 1),
        (4, 2, True, 1),
        (2, 0, True, 1),
        (2, 4, True, 1),  # planes that are there lie nearer than the file says
        (2, 2.6, True, 1),
        (1, 4, False, 1),
        (1, 0, False, 1),
        (2, 1, False, 1),  # or every second one of overlapping slices is drawn on
        (0, 1, False, 1),
        (4, 0.5, False, 1),
        (1, 1, True, 0.5),  # slices no thicker than that, of which every second one is drawn on
        (0.5, 1, True, 0.5),
    ],
)
def test_the_distance_of_planes_that_a_file_says_is_held_against_their_places(
    tmp_path, thickness, between, known, share
):
    said = {"SliceThickness": thickness, "SpacingBetweenSlices": between}
    given = {name: value for name, value in said.items() if value}
    drawing = masks.read(write(tmp_path / "s.dcm", range(5), **given))
    assert drawing.depth_known == known
    assert volume(drawing) == pytest.approx(ML * share)


@pytest.mark.parametrize("planes", [(0, 2, 3, 6, 7), (0, 3, 5, 8, 10), (1, 2, 3, 4, 7)])
def test_planes_without_labels_may_be_missing(tmp_path, planes):
    said = {"SliceThickness": 4, "SpacingBetweenSlices": 2}
    drawing = masks.read(write(tmp_path / "s.dcm", planes, **said))
    assert drawing.depth_known
    assert volume(drawing) == pytest.approx(ML)


@pytest.mark.parametrize(
    ("planes", "known"), [((0, 2, 6, 12, 20), True), ((0, 2, 4, 12, 20), False)]
)
def test_specks_on_every_second_plane_may_be_chance(tmp_path, planes, known):
    """Overlapping slices, twice as thick as they are apart."""
    said = {"SliceThickness": 4, "SpacingBetweenSlices": 2}
    drawing = masks.read(write(tmp_path / "s.dcm", planes, **said))
    assert drawing.depth_known == known
    assert volume(drawing) == pytest.approx(ML * (1 if known else 2))


@pytest.mark.parametrize("thickness", [2, 1])
def test_across_tilted_planes_less_is_left_of_the_distance_along_the_table(tmp_path, thickness):
    said = {"SliceThickness": thickness, "SpacingBetweenSlices": 2, "directions": TILTED}
    planes = range(40)
    drawn = np.repeat(DRAWN, 8, axis=0)
    drawing = masks.read(write(tmp_path / "s.dcm", planes, drawn=drawn, **said))
    assert drawing.depth_known
    assert volume(drawing) == pytest.approx(8 * ML * np.cos(0.3))


def test_frames_of_one_plane_may_differ_by_rounding(tmp_path):
    """Segments of one plane whose positions differ in their last digit."""
    places = (0, 1, 1 + 1e-7, 2, 2 - 1e-7)
    path = write(tmp_path / "s.dcm", places, step=(0, 0, 1.0005), SliceThickness=1.0005)
    drawing = masks.read(path)
    assert drawing.depth_known
    assert drawing.grid.shape[2] == 3
    assert volume(drawing) == pytest.approx(ML / DISTANCE * 1.0005 * 3 / 5)


def test_planes_at_uneven_distances_are_no_volume(tmp_path):
    write(tmp_path / "s.dcm", (0, 1, 2.5, 3.7, 5), SliceThickness=2, SpacingBetweenSlices=2)
    with pytest.raises(VolumeError, match="no planes of one volume, evenly apart"):
        masks.read(tmp_path / "s.dcm")


def test_a_distance_that_planes_contradict_is_no_volume_unless_another_mask_tells(tmp_path):
    wrong = write(tmp_path / "a.dcm", range(5), SliceThickness=2, SpacingBetweenSlices=1)
    right = write(tmp_path / "b.dcm", range(5), SliceThickness=2, SpacingBetweenSlices=2)
    affine = affine_of("LPS", (*PIXELS[::-1], DISTANCE))
    whole = forge(
        tmp_path / "c.nii", np.ascontiguousarray(DRAWN.transpose(2, 1, 0), np.uint8), affine
    )
    for one, other in ((wrong, right), (right, wrong), (wrong, whole), (whole, wrong)):
        found, actual, grid, _ = on_one_grid(masks.read(one), masks.read(other))
        assert np.count_nonzero(found & actual) == np.count_nonzero(found | actual)
        assert metrics.lesion_volume(found, grid.spacing) == pytest.approx(ML)
    with pytest.raises(SavedMapError, match="or both contradict themselves in it"):
        on_one_grid(masks.read(wrong), masks.read(wrong))


@pytest.mark.parametrize("digits", [2, 3, 4])
def test_directions_as_rounded_place_a_mask_on_its_scan(tmp_path, digits):
    """A row of 512 pixels would end some pixels beside that of the scan."""
    along, across = (float(n) for n in np.round([np.cos(0.17), np.sin(0.17)], digits))
    hu = np.zeros((5, 512, 4), np.int16)
    ways, step = ((1, 0, 0), (0, along, across)), (0, -0.34, 1.97)
    images = make_images(hu, (2, *PIXELS), directions=ways, step=step, origin=(0, 0, 0))
    grid = dicom.read_series(save(tmp_path / "series", images)).grid
    said = {"SliceThickness": 2, "SpacingBetweenSlices": 2, "directions": (*ways[0], *ways[1])}
    drawn = hu == 0
    path = write(tmp_path / "s.dcm", range(5), drawn=drawn, step=step, **said)
    found, done = masks.read(path).on(grid)
    assert found.all()
    assert not done


def test_a_thickness_that_is_none_is_not_there(tmp_path):
    path = write(tmp_path / "s.dcm", range(5), SliceThickness=22.5, SpacingBetweenSlices=2)
    path.write_bytes(path.read_bytes().replace(b"22.5", b"2,25"))
    assert volume(masks.read(path)) == pytest.approx(ML)


def test_a_deflated_one_is_read_as_any(tmp_path):
    said = {"SliceThickness": 2, "SpacingBetweenSlices": 2}
    path = write(tmp_path / "s.dcm", range(5), syntax=uid.DeflatedExplicitVRLittleEndian, **said)
    assert volume(masks.read(path)) == pytest.approx(ML)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(VolumeError, match="deflated, and cut off"):
        masks.read(path)


def test_thousands_of_small_frames_are_read(tmp_path):
    """Sequences without a length, as DCMTK writes them, are read element by element."""
    drawn = np.repeat(DRAWN, 400, axis=0)
    path = write(tmp_path / "s.dcm", range(2000), drawn=drawn, SliceThickness=2)
    made = pydicom.dcmread(path)
    for frame in made.PerFrameFunctionalGroupsSequence:
        code = item(CodeValue="113076", CodingSchemeDesignator="DCM", CodeMeaning="Segmentation")
        source = item(
            ReferencedSOPInstanceUID=uid.generate_uid(), PurposeOfReferenceCodeSequence=[code]
        )
        frame.DerivationImageSequence = [
            item(SourceImageSequence=[source], DerivationCodeSequence=[code])
        ]
    lengthless(made)
    made.save_as(path)
    assert volume(masks.read(path)) == pytest.approx(400 * ML)


def lengthless(dataset):
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for one in element.value:
                one.is_undefined_length_sequence_item = True
                lengthless(one)
