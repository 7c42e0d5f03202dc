"""What is written of a scan, in which form, and what happens where that is not possible."""

import argparse
import errno
import html
import os
import re

import nibabel as nib
import numpy as np
import pydicom
import pytest

from cosup_jax import report
from cosup_jax.commands import predict
from cosup_jax.prediction import cohort
from cosup_jax.prediction.settings import CohortError, Settings
from cosup_jax.scans import dicom_seg, find, nifti
from tests.prediction.scan_files import (
    Brightest,
    by_scan,
    dicom_folder,
    folders,
    marking,
    process,
    scan_file,
    slice_folder,
)
from tests.scans.dicom_series import SECRETS
from tests.scans.nifti_files import ct, forge

pytestmark = pytest.mark.usefixtures("fake")


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "findings.json")


FORMS = {
    "nifti": ["mask.nii.gz", "probability.nii.gz"],
    "dicom-seg": ["mask.dcm", "probability.dcm"],
    "both": ["mask.dcm", "mask.nii.gz", "probability.dcm", "probability.nii.gz"],
}


@pytest.mark.parametrize("form", FORMS)
def test_masks_of_dicom_are_written_in_the_form_that_is_wanted(tmp_path, form):
    dicom_folder(tmp_path / "ct")
    inputs = [tmp_path / "ct", scan_file(tmp_path / "a.nii"), slice_folder(tmp_path / "pictures")]
    rows = process(inputs, tmp_path / "out", format=form, probability=True)
    (ours,) = (row["scan"] for row in rows if row["scan"].startswith("scan_"))
    assert names(tmp_path / "out" / ours) == FORMS[form]
    assert names(tmp_path / "out" / "a") == FORMS["nifti"]
    assert names(tmp_path / "out" / "pictures") == ["mask", "probability"]


def test_a_lesion_of_one_voxel_is_not_nothing(tmp_path, monkeypatch):
    voxels = np.random.default_rng(0).integers(-1000, -900, (12, 24, 6), dtype=np.int16)
    path = forge(tmp_path / "ct.nii", voxels, np.diag([0.6, 0.6, 0.5, 1.0]))
    marks = np.zeros((6, 24, 12), bool)
    marks[3, 9, 5] = True
    monkeypatch.setattr(cohort, "Segmenter", marking(marks))
    process([path], tmp_path / "out", report=True, unlimited=True)
    row = by_scan(tmp_path / "out")["ct"]
    assert (row["lesion_ml"], row["largest_lesion_ml"], row["lesions"]) == ("0.00018",) * 2 + ("1",)
    page = (tmp_path / "out" / "ct" / "report.html").read_text("utf-8")
    assert "Infected volume</th><td>0.00018 <small>mL" in page


@pytest.mark.parametrize("directions", [((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (0, 0, -1))])
def test_nifti_and_segmentation_mark_the_same_places_in_the_body(tmp_path, directions):
    dicom_folder(tmp_path / "ct", directions=directions)
    (row,) = process([tmp_path / "ct"], tmp_path / "out", format="both", probability=True)
    folder = tmp_path / "out" / row["scan"]
    mask = nib.load(folder / "mask.nii.gz")
    where = np.argwhere(np.asarray(mask.dataobj) > 0)
    from_nifti = nib.affines.apply_affine(mask.affine, where) * (-1, -1, 1)  # LPS
    seg = pydicom.dcmread(folder / "mask.dcm")
    shared = seg.SharedFunctionalGroupsSequence[0]
    row_way, column_way = np.reshape(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)
    ).astype(float)
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    from_dicom = []
    for frame, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for r, c in np.argwhere(frame > 0):
            from_dicom.append(origin + c * across * row_way + r * down * column_way)
    assert len(from_nifti) > 50
    np.testing.assert_allclose(
        sorted(np.round(from_nifti, 3).tolist()),
        sorted(np.round(from_dicom, 3).tolist()),
        atol=2e-3,
    )
    probability = nib.load(folder / "probability.nii.gz").get_fdata()
    assert probability.max() == pytest.approx(0.8, abs=1 / 255)


def refuse(*given):
    raise nifti.VolumeError("the images have no identifiers that a Segmentation could refer to")


def crash(*given):
    raise AttributeError("'Doeringer' has no attribute 'PatientID'")


@pytest.mark.parametrize("fault", [refuse, crash])
@pytest.mark.parametrize("form", ["dicom-seg", "both"])
def test_where_a_segmentation_cannot_be_the_mask_is_nifti_and_it_is_noted(
    tmp_path, monkeypatch, fault, form
):
    monkeypatch.setattr(dicom_seg, "write", fault)
    dicom_folder(tmp_path / "ct")
    out = tmp_path / "out"
    (row,) = process([tmp_path / "ct"], out, format=form, probability=True, report=True)
    assert row["status"] == "done"
    assert names(out / row["scan"]) == [*FORMS["nifti"], "report.html"]
    assert row["notes"].count("NIfTI in place of a DICOM Segmentation") == 1
    assert "Doeringer" not in row["notes"]
    assert "NIfTI in place of" in (out / row["scan"] / "report.html").read_text()
    # It is not tried again at every call.
    monkeypatch.setattr(Brightest, "labelled", None)
    assert process([tmp_path / "ct"], out, format=form)[0]["status"] == "done"


def test_a_page_that_cannot_be_made_loses_nothing_else(tmp_path, monkeypatch):
    def too_small(*given, **more):
        raise ValueError("budget_bytes=15,000,000: too small")

    monkeypatch.setattr(report, "write_page", too_small)
    (row,) = process([scan_file(tmp_path / "a.nii")], tmp_path / "out", report=True)
    assert row["status"] == "done"
    assert "no page: " in row["notes"]
    assert names(tmp_path / "out" / "a") == ["mask.nii.gz"]


def without_orientation(folder):
    voxels = ct()
    voxels[..., 0] = -1000
    return forge(folder / "a.nii", voxels, sform_code=0)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: scan_file(path / "a.nii"), ""),
        (lambda path: slice_folder(path / "a"), "pictures do not say how they lie in the body"),
        (without_orientation, "the header does not say which side is right"),
    ],
)
def test_the_page_says_where_sides_are_a_guess(tmp_path, make, why):
    (row,) = process([make(tmp_path)], tmp_path / "out", report=True)
    page = (tmp_path / "out" / row["scan"] / "report.html").read_text()
    assert ("question marks: " in page) == bool(why)
    assert f"question marks: {why}" in page or not why
    assert ("<span>feet?</span>" in page) == bool(why)
    assert ("(the first is number 1):" in row["notes"]) == ("header" in why)


class Odd(Exception):
    """No kind of error that anybody foresees."""


FAULTS = {
    "TypeError": TypeError("sequence item 1: expected str instance, NoneType found"),
    "IndexError": IndexError("string index out of range"),
    "RecursionError": RecursionError("maximum recursion depth exceeded"),
    "an own kind": Odd("odd"),
    "KeyError": KeyError("PatientName"),
    "memory": MemoryError(),
    "a lost disk": OSError(errno.EIO, os.strerror(errno.EIO), "/in/Doeringer^Janette/IM1"),
    "lines": ValueError("first\nsecond\n" + "x" * 2000),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("where", ["digest", "read"])
def test_whatever_a_scan_raises_is_its_reason_and_the_others_are_done(
    tmp_path, monkeypatch, fault, where
):
    folder = tmp_path / "Doeringer^Janette 19700101"
    dicom_folder(folder)
    paths = [scan_file(tmp_path / f"{name}.nii", i) for i, name in enumerate("abc")]
    real = getattr(find.Source, where)

    def broken(source, *given):
        if source.name in ("b", ""):
            raise FAULTS[fault]
        return real(source, *given)

    monkeypatch.setattr(find.Source, where, broken)
    rows = process([folder, *paths], tmp_path / "out")
    status = {row["input"][-5:]: row["status"] for row in rows}
    assert status == {"": "failed", "a.nii": "done", "b.nii": "failed", "c.nii": "done"}
    for row in rows:
        if row["status"] == "failed":
            assert row["reason"]
            assert "\n" not in row["reason"]
            assert len(row["reason"]) <= 400
        if not row["input"]:
            assert not [secret for secret in (*SECRETS, "PatientName") if secret in str(row)]
    assert len(folders(tmp_path / "out")) == 4


def test_what_a_hidden_scan_says_names_none_of_its_files(tmp_path):
    paths = dicom_folder(tmp_path / "Mueller-Anna" / "series")
    sources, _ = find.find_scans([tmp_path / "Mueller-Anna"], tmp_path / "out")
    for text in (f"{paths[0]}: damaged", f"{sources[0].path}", f"no {paths[1].name}, Mueller-Anna"):
        told = cohort.reason(nifti.VolumeError(text), sources[0])
        assert "Mueller" not in told
        assert paths[1].name not in told
        assert cohort.reason(nifti.VolumeError(text)) == text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("what", ["mask", "page", "record"])
def test_a_disk_that_takes_nothing_ends_the_call_in_one_sentence(
    tmp_path, monkeypatch, number, what
):
    a, b = (scan_file(tmp_path / f"{name}.nii", i) for i, name in enumerate("ab"))
    out = tmp_path / "out"
    process([a], out)

    def full(*given, **more):
        raise OSError(number, os.strerror(number))

    place = {"mask": (nifti, "write_labels"), "page": (report, "write_page")}
    place["record"] = (cohort.records.files, "write_json")
    with monkeypatch.context() as patch:
        patch.setattr(*place[what], full)
        with pytest.raises(CohortError, match=os.strerror(number)):
            process([a, b], out, report=True)
    assert by_scan(out)["a"]["status"] == "done"
    assert "b" not in by_scan(out)
    process([a, b], out, report=True)
    assert folders(out) == ["a", "b"]


def test_a_table_that_is_a_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "out" / "cohort.csv").mkdir(parents=True)
    monkeypatch.setattr(Brightest, "labelled", None)
    with pytest.raises(CohortError, match=r"cohort.csv: is a folder"):
        process([scan_file(tmp_path / "a.nii")], tmp_path / "out")
    assert names(tmp_path / "out") == ["cohort.csv"]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1, float("nan")])
def test_a_threshold_that_marks_all_or_nothing_is_refused(threshold):
    with pytest.raises(CohortError, match="between 0 and 1"):
        Settings(threshold=threshold)


@pytest.mark.parametrize("offset", [float("nan"), -1e10])
def test_an_offset_that_no_scan_has_is_refused(offset):
    with pytest.raises(CohortError, match=r"--hu-offset=.*a number of HU, of 100,000 at most"):
        Settings(hu_offset=offset)


def test_an_unknown_form_is_refused():
    with pytest.raises(CohortError, match="expected one of nifti, dicom-seg, both"):
        Settings(format="nrrd")


def test_a_name_that_is_no_text_is_spelled(tmp_path, capsys):
    path = scan_file(tmp_path / "in" / "ct.nii")
    os.rename(path, os.fsencode(path.parent) + b"/c\xfft.nii")
    scan_file(tmp_path / "in" / "other.nii", seed=1)
    rows = process([tmp_path / "in"], tmp_path / "out", report=True)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert by_scan(tmp_path / "out")["c_t"]["input"].endswith("/in/c\\udcfft.nii")
    assert folders(tmp_path / "out") == ["c_t", "other"]


@pytest.mark.parametrize("name", ["DICOM", "images", "Scan12"])
def test_a_reason_keeps_words_that_name_nobody(tmp_path, name):
    dicom_folder(tmp_path / name, PixelSpacing=None)
    (row,) = process([tmp_path / name], tmp_path / "out")
    assert row["reason"] == "4 of 4 images without a usable PixelSpacing"


@pytest.mark.parametrize(
    "chosen", [{}, {"tta": True, "within_lungs": True, "unlimited": True, "hu_offset": -1024.5}]
)
def test_the_command_on_a_page_makes_it_again_where_paths_are_put_in(tmp_path, chosen):
    path = scan_file(tmp_path / "Doeringer.nii")
    (row,) = process([path], tmp_path / "out", report=True, threshold=0.3, **chosen)
    page = html.unescape((tmp_path / "out" / row["scan"] / "report.html").read_text())
    (command,) = re.findall(r"python -m cosup_jax predict ([^<]*)", page)
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    found = vars(parser.parse_args(command.split()))
    wanted = {"threshold": 0.3, "report": True, "weights": "WEIGHTS", **chosen}
    assert {name: found[name] for name in wanted} == wanted
    assert "Doeringer" not in command
