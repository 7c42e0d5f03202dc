"""Two dates of one patient, from results whose figures are known."""

import csv
import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from cosup_jax import cli, phantom
from cosup_jax.evaluation import dates
from cosup_jax.scans.source import Source
from tests.dummy import volumes
from tests.dummy.volume_folder import write_json

MARCH = {
    "lesion_ml": 200.0,
    "lung_ml": 4000.0,
    "lung_percent": 5.0,
    "right_lesion_ml": 150.0,
    "left_lesion_ml": 50.0,
    "right_lung_percent": 7.0,
    "left_lung_percent": 2.6,
    "lesions": 3,
    "largest_lesion_ml": 120.0,
    "lesion_mean_hu": -540.0,
}
MAY = MARCH | {"lesion_ml": 50.0, "lung_ml": 4100.0, "lung_percent": 1.2, "lesions": 4}
MASK = np.ones((2, 3, 4), np.uint8)  # 24 voxels of 18 mm³


def write(folder, row, *, content="1" * 64, weights="5" * 64, mask=MASK, **settings):
    """What `predict` leaves of one scan."""
    path = volumes.save(folder / "mask.nii.gz", mask)
    made_of = {"input": content, "weights": weights, "settings": settings, "version": "0.1.0"}
    record = {
        "made_of": made_of,
        "row": {"status": "done", **row},
        "sizes": {path.name: path.stat().st_size},
        "digests": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }
    write_json(folder / "findings.json", record)
    return folder


@pytest.fixture
def two(tmp_path):
    first = write(tmp_path / "march", MARCH, threshold=0.5)
    return first, write(tmp_path / "may", MAY, content="2" * 64, threshold=0.5)


def compare(*given):
    return cli.main(["compare", *map(str, given)])


@pytest.mark.usefixtures("drawn")
def test_volumes_changes_and_shares(two, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare("--scans", f"March={two[0]}", f"May={two[1]}", "--out", out) == 0
    said = capsys.readouterr().out
    assert "| measure | March | May | change to May |" in said
    assert "| infection, mL | 200.0 | 50.0 | -150.0 (-75 %) |" in said
    assert "| infection, % of the lungs | 5.0 | 1.2 | -3.8 |" in said
    assert "| lungs, mL | 4,000 | 4,100 | +100 (+2 %) |" in said
    assert "| lesions | 3 | 4 | +1 |" in said
    assert "Note" not in said
    assert (out / "scans.md").read_text() in said
    with (out / "scans.csv").open(newline="") as file:
        rows = {row["measure"]: row for row in csv.DictReader(file)}
    assert rows.keys() == dates.MEASURES.keys()
    assert float(rows["lesion_ml"]["change to May, %"]) == -75
    assert float(rows["lung_percent"]["change to May"]) == pytest.approx(-3.8)
    assert rows["lung_percent"]["change to May, %"] == ""
    with Image.open(out / "scans.png") as figure:
        assert figure.width > 300


def test_a_folder_is_one_whatever_signs_are_in_its_path(two, tmp_path, capsys):
    place = tmp_path / "CT 1,5 mm, kernel=B70"
    place.mkdir()
    first, second = (path.rename(place / path.name) for path in two)
    assert compare("--scans", first, f"May={second}") == 0
    assert "| measure | march | May |" in capsys.readouterr().out


def test_results_are_told_from_evaluations(two, capsys):
    assert compare(*two) == 1
    assert "results of predict, of which --scans compares two dates" in capsys.readouterr().err


def test_three_dates_are_held_against_the_first(two, tmp_path):
    third = write(tmp_path / "june", MARCH | {"lesion_ml": 0.0}, content="3" * 64, threshold=0.5)
    found = [dates.read(path, path.name) for path in (*two, third)]
    row = dates.rows(found)[0]
    assert (row["change to may"], row["change to june"]) == (-150, -200)
    assert row["change to june, %"] == -100
    # From nothing there is no change in per cent.
    again = dates.rows([found[2], found[0]])[0]
    assert (again["change to march"], again["change to march, %"]) == (200, None)


def test_what_is_small_does_not_become_nothing(tmp_path, two):
    small = MARCH | {"lesion_ml": 0.03, "lung_percent": 0.002}
    speck = write(tmp_path / "speck", small, content="3" * 64, threshold=0.5)
    less = write(tmp_path / "less", small | {"lesion_ml": 0.01}, content="4" * 64, threshold=0.5)
    told = dates.table([dates.read(path, path.name) for path in (speck, less)])
    assert "| infection, mL | 0.03 | 0.01 | -0.02 (-67 %) |" in told
    assert "| infection, % of the lungs | 0.002 | 0.002 | +0.0 |" in told


def test_what_is_unknown_of_one_date_has_no_change(tmp_path, two):
    why = "no lung_ml, lung_percent: the size of the voxels is unknown"
    unknown = MAY | {"lung_ml": None, "lung_percent": None, "right_lesion_ml": None, "notes": why}
    bare = write(tmp_path / "bare", unknown, content="3" * 64, threshold=0.5)
    found = [dates.read(path, path.name) for path in (two[0], bare)]
    row = next(row for row in dates.rows(found) if row["measure"] == "lung_ml")
    assert (row["at bare"], row["change to bare"]) == (None, None)
    assert f"Note: bare: {why}." in dates.table(found)
    assert dates.figure(found).axes


def noted(*found):
    return " ".join(dates.notes([dates.read(path, path.name) for path in found]))


def test_what_stands_between_the_figures_and_the_patient_is_said(two, tmp_path):
    other = write(tmp_path / "a", MAY, weights="6" * 64, content="3" * 64, threshold=0.4)
    assert "march and a were made with other weights, threshold, so" in noted(two[0], other)
    same = write(tmp_path / "b", MAY, threshold=0.5)
    assert "march and b are the same scan" in noted(two[0], same)
    half = write(tmp_path / "c", MAY | {"lung_ml": 3000.0}, content="4" * 64, threshold=0.5)
    assert "of 4,000 and 3,000 mL: another breath" in noted(two[0], half)
    report = write(tmp_path / "d", MAY, content="5" * 64, threshold=0.5, report=True)
    assert noted(two[0], report) == ""


def test_a_corrected_mask_without_its_scan_has_its_own_volume_only(two):
    volumes.save(two[1] / "mask.nii.gz", np.pad(MASK[:1], ((0, 1), (0, 0), (0, 0))))
    date = dates.read(two[1], "may")
    assert date.corrected
    assert date.values["lesion_ml"] == pytest.approx(12 * 0.018)
    assert date.values["lung_percent"] is date.values["right_lesion_ml"] is None
    assert "does not say where the scan lies" in date.notes[0]
    assert "of march and may only the mask of may was corrected" in noted(*two)


def test_a_corrected_mask_is_measured_anew_on_its_scan(tmp_path):
    patient = phantom.draw_volume(2, size=96, slices=16)
    mask = np.zeros(patient.mask.shape, np.uint8)
    mask[4:8][patient.lung[4:8] == 1] = 1
    z, y, x = patient.spacing
    affine = np.diag([-x, -y, z, 1.0])
    scan = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(patient.image.transpose(2, 1, 0) + 1024, affine), scan)
    content = Source(scan, "nifti", (scan,)).digest()
    folder = write(tmp_path / "out" / "ct", MARCH | {"input": str(scan)}, content=content)
    nib.save(nib.Nifti1Image(mask.transpose(2, 1, 0), affine), folder / "mask.nii.gz")
    date = dates.read(tmp_path / "out", "now")  # the only scan there
    assert "1024 was taken off" in date.notes[0]
    assert "no lesion_mean_hu: the offset" in date.notes[1]
    volume = np.count_nonzero(mask) * x * y * z / 1000
    assert date.values["lesion_ml"] == pytest.approx(volume)
    assert date.values["left_lesion_ml"] == pytest.approx(volume, rel=0.05)
    lung = np.count_nonzero(patient.lung) * x * y * z / 1000
    assert date.values["lung_percent"] == pytest.approx(100 * volume / lung, rel=0.1)


def failed(folder):
    write_json(folder / "findings.json", {"made_of": {}, "row": {"status": "failed"}})


def of_text(folder):
    record = json.loads((folder / "findings.json").read_text())
    record["row"]["lung_ml"] = "much"
    write_json(folder / "findings.json", record)


BAD = {
    "a failure": (failed, "has no mask: it failed"),
    "a broken record": (lambda f: (f / "findings.json").write_text('{"made_of": 1'), "is damaged"),
    "no record": (lambda f: (f / "findings.json").unlink(), "holds the results of 0 scans"),
    "a text for a number": (of_text, "lung_ml is 'much'; expected a number"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_result_is_refused_by_name(two, capsys, kind):
    change, message = BAD[kind]
    change(two[1])
    assert compare("--scans", *two) == 1
    said = capsys.readouterr().err
    assert message in said
    assert str(two[1]) in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--scans", "{a}"], "two results of predict or more"),
        (["--scans", "{a}", "{a}"], "stands twice"),
        (["--scans", "x={a}", "x={b}"], "two methods are called 'x'"),
        (["--scans", "{a},{b}", "{b}"], "each by itself"),
        (["{a}", "--scans", "{a}", "{b}"], "not both"),
        ([], "what is to be compared?"),
        (["--scans", "{a}", "{a}/.."], "holds the results of 2 scans; expected the folder"),
    ],
)
def test_a_wrong_call_is_told_what_is_wanted(two, capsys, given, message):
    assert compare(*(part.format(a=two[0], b=two[1]) for part in given)) == 1
    assert message in capsys.readouterr().err


def segmentation(folder, patient, day):
    """The header of a DICOM Segmentation beside the results."""
    pydicom = pytest.importorskip("pydicom", reason="reads DICOM")
    from cosup_jax.scans.dicom_headers import lenient

    made = pydicom.Dataset()
    made.SOPClassUID = made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4"
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    with lenient():
        made.PatientID, made.StudyDate = patient, day
        made.save_as(folder / "mask.dcm", enforce_file_format=True)
    know(folder, "mask.dcm")


def know(folder, name):
    """Puts a file into a record as one that `predict` has written."""
    record = json.loads((folder / "findings.json").read_text())
    record["digests"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    write_json(folder / "findings.json", record)


def test_another_person_and_days_in_the_wrong_order_are_said(two, tmp_path):
    segmentation(two[0], "p1", "20200312")
    segmentation(two[1], "P1", "20200520")  # the same, as another program spells it
    assert noted(*two) == ""
    assert noted(*reversed(two)) == (
        "march was taken before may: what has changed is read backwards; give march before may"
    )
    first = write(tmp_path / "january", MARCH, content="3" * 64, threshold=0.5)
    assert "give march before may" in noted(first, *reversed(two))
    segmentation(two[1], "p2", "20200312")
    assert "the PatientIDs of march and may differ: unless" in noted(*two)
    # Who and when are unknown after de-identification, or where the file is no longer DICOM.
    segmentation(two[1], "", "")
    assert noted(*two) == ""
    segmentation(two[1], "p1", "about 2020")
    assert noted(*two) == ""
    (two[1] / "mask.dcm").write_bytes(b"\0" * 3)
    know(two[1], "mask.dcm")
    assert noted(*two) == ""


SMALL = np.pad(MASK[:1], ((0, 1), (0, 0), (0, 0)))  # 12 voxels of 18 mm³


@pytest.mark.parametrize("beside", [True, False])
def test_a_correction_in_another_format_counts(two, beside):
    folder = two[1]
    (folder / "mask.nii.gz").rename(folder / "mask.dcm")  # what predict wrote, as it is never read
    record = json.loads((folder / "findings.json").read_text())
    record["digests"] = {"mask.dcm": record["digests"].pop("mask.nii.gz")}
    write_json(folder / "findings.json", record)
    assert dates.read(folder, "may").values["lesion_ml"] == 50
    volumes.save(folder / "mask.nii.gz", SMALL)
    if not beside:
        (folder / "mask.dcm").unlink()
    date = dates.read(folder, "may")
    assert date.corrected
    assert date.values["lesion_ml"] == pytest.approx(12 * 0.018)


def test_figures_whose_mask_is_gone_or_of_which_nobody_knows_say_so(two):
    as_predicted = "the figures are those of the mask as predicted"
    mask, whole = two[1] / "mask.nii.gz", (two[1] / "mask.nii.gz").read_bytes()
    mask.write_bytes(b"")
    assert noted(*two) == f"may: of its mask mask.nii.gz is gone or empty; {as_predicted}"
    mask.unlink()
    assert noted(*two) == f"may: of its mask mask.nii.gz is gone or empty; {as_predicted}"
    (two[1] / "Segmentation.seg.nrrd").write_bytes(b"NRRD")
    assert noted(*two).endswith(f"{as_predicted} may: not read: Segmentation.seg.nrrd")
    (two[1] / "mask").mkdir()
    for name in ("mask/0.png", "mask/1.png"):
        (two[1] / name).write_bytes(whole)
        know(two[1], name)
        (two[1] / name).unlink()
    assert "of its mask mask.nii.gz is gone or empty (3 files)" in noted(*two)
    mask.write_bytes(whole)
    record = json.loads((two[1] / "findings.json").read_text())
    del record["digests"]
    write_json(two[1] / "findings.json", record)
    said = noted(*two)
    assert "of an earlier version, does not tell whether its mask was corrected" in said
    assert as_predicted in said


def test_a_corrected_segmentation_of_unknown_depth_has_no_volume(two, tmp_path):
    pytest.importorskip("pydicom", reason="reads DICOM")
    from tests.scans import dicom_series
    from tests.scans.test_masks import other_tool

    lesions = np.zeros((6, 16, 16), np.uint8)
    lesions[::2, 2:5, 3:7] = 1
    hu = np.random.default_rng(0).integers(-1000, 100, lesions.shape, np.int16)
    dicom_series.save(tmp_path / "series", dicom_series.make_images(hu, (8.0, 1.5, 1.5)))
    made = other_tool(tmp_path / "series", lesions, names=["Lesion"])
    made.save_as(two[1] / "mask.dcm")
    date = dates.read(two[1], "may")
    assert set(date.values.values()) == {None}
    assert "does not say how far its planes lie apart" in date.notes[0]
    assert "does not say where the scan lies; expected the scan there" in date.notes[0]
    assert "scans=" not in date.notes[0]
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = 8.0
    made.save_as(two[1] / "mask.dcm")
    assert dates.read(two[1], "may").values["lesion_ml"] == pytest.approx(36 * 0.018)
