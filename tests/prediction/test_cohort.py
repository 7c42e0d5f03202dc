"""Cohorts: one row a scan, bad scans among good ones, interruptions, names that stay private."""

import json

import numpy as np
import pytest
from PIL import Image

from cosup_jax import phantom
from cosup_jax.prediction.settings import CohortError, Settings
from cosup_jax.prediction.table import COLUMNS
from cosup_jax.scans import find, images, nifti, nifti_labels
from tests.prediction.scan_files import dicom_folder, process, scan_file, slice_folder, table
from tests.scans.dicom_series import SECRETS, make_images, save
from tests.scans.nifti_files import affine_of, forge


@pytest.fixture
def mixed(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    scan_file(folder / "a.nii.gz")
    (folder / "bad.nii").write_bytes(b"nothing")
    slice_folder(folder / "slices")
    dicom_folder(folder / "Doeringer^Janette 19700101")
    return folder


def test_every_kind_gets_its_mask_and_its_row(mixed, tmp_path, bright):
    out = tmp_path / "out"
    rows = process([mixed], out, bright, probability=True, report=True)
    assert [row["status"] for row in rows] == ["done", "failed", "done", "done"]
    assert [list(row) for row in table(out)] == [list(COLUMNS)] * 4
    by_name = {row["scan"]: row for row in table(out)}
    assert float(by_name["a"]["lesion_ml"]) > 0
    assert by_name["slices"]["lesion_ml"] == ""
    assert "no lesion_ml" in by_name["slices"]["notes"]
    assert "different sizes" in by_name["slices"]["notes"]
    assert "does not begin with a NIfTI header" in by_name["bad"]["reason"]
    (private,) = (name for name in by_name if name.startswith("scan_"))
    wanted = {
        "a": ["mask.nii.gz", "probability.nii.gz"],
        "slices": ["mask", "probability"],
        private: ["mask.dcm", "probability.dcm"],
    }
    for name, files in wanted.items():
        found = sorted(path.name for path in (out / name).iterdir())
        assert found == sorted([*files, "findings.json", "report.html"])
    assert [path.name for path in (out / "bad").iterdir()] == ["findings.json"]
    assert sorted(p.name for p in out.iterdir()) == sorted([*wanted, "bad", "cohort.csv"])


def test_masks_mark_the_right_place(mixed, tmp_path, bright):
    out = tmp_path / "out"
    process([mixed], out, bright)
    image = nifti.read_volume(mixed / "a.nii.gz")
    mask = nifti_labels.read_labels(out / "a" / "mask.nii.gz", {0: 0, 1: 1}, image)
    marked = image.grid.from_axial(mask) > 0
    assert marked[9:, :7, 3:].all()
    assert not marked[:7, :, 3:].any()
    assert not marked[:, 9:, 3:].any()
    grey = images.read_grey(out / "slices" / "mask" / "s2.png")
    assert grey.shape == (22, 30)
    assert (grey[:4, 11:19] == 255).all()
    assert not grey[7:].any()


def test_no_identifier_of_a_header_or_a_folder_is_written(tmp_path, bright):
    dicom_folder(tmp_path / "in" / "Doeringer^Janette 19700101")
    (tmp_path / "in" / "Doeringer^Janette 2").mkdir()
    for path in dicom_folder(tmp_path / "in" / "Doeringer^Janette 2", seed=1):
        path.write_bytes(path.read_bytes()[:-9])
    out = tmp_path / "out"
    rows = process([tmp_path / "in"], out, bright, report=True)
    assert [row["status"] for row in rows] == ["done", "failed"]
    for path in out.rglob("*"):
        assert not [secret for secret in SECRETS if secret in str(path.relative_to(out))]
        if path.is_file() and path.suffix != ".dcm":
            text = path.read_text()
            assert not [secret for secret in (*SECRETS, "/in/") if secret in text], path


def test_names_are_kept_where_they_are_asked_for(tmp_path, bright):
    dicom_folder(tmp_path / "in" / "Doeringer^Janette")
    (row,) = process([tmp_path / "in"], tmp_path / "out", bright, identify=True)
    assert row["scan"] == "Doeringer_Janette"
    assert row["input"] == str(tmp_path / "in" / "Doeringer^Janette")
    assert (tmp_path / "out" / "Doeringer_Janette" / "mask.dcm").exists()


def test_a_cohort_goes_on_where_it_was(tmp_path, bright, monkeypatch):
    inputs = [scan_file(tmp_path / f"{name}.nii", seed) for seed, name in enumerate("abc")]
    out = tmp_path / "out"
    real, calls = find.Source.read, []

    def read(source, *given):
        calls.append(source.name)
        if source.name == "c" and calls.count("c") == 1:
            raise KeyboardInterrupt
        return real(source, *given)

    monkeypatch.setattr(find.Source, "read", read)
    with pytest.raises(KeyboardInterrupt):
        process(inputs, out, bright)
    assert [row["scan"] for row in table(out)] == ["a", "b"]
    before = table(out)
    process(inputs, out, bright)
    assert calls == ["a", "b", "c", "c"]
    assert table(out)[:2] == before
    assert [row["status"] for row in table(out)] == ["done"] * 3
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


CHANGES = {
    "nothing": (lambda folder: {}, 1),
    "the threshold": (lambda folder: {"threshold": 0.9}, 2),
    "flips": (lambda folder: {"tta": True}, 2),
    "a damaged record": (lambda folder: spoil(folder), 2),
}


def spoil(folder):
    record = json.loads((folder / "out" / "a" / "findings.json").read_text())
    record["made_of"]["weights"] = "others"
    (folder / "out" / "a" / "findings.json").write_text(json.dumps(record))
    return {}


@pytest.mark.parametrize("change", CHANGES)
def test_a_scan_is_computed_again_only_if_something_changed(tmp_path, bright, monkeypatch, change):
    alter, times = CHANGES[change]
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    real, calls = find.Source.read, []
    monkeypatch.setattr(find.Source, "read", lambda *a: calls.append(a) or real(*a))
    process([path], out, bright)
    process([path], out, bright, **alter(tmp_path))
    assert len(calls) == times
    assert len(table(out)) == 1


def test_a_failed_scan_is_tried_again(tmp_path, bright):
    path, out = tmp_path / "a.nii", tmp_path / "out"
    path.write_bytes(b"nothing")
    assert process([path], out, bright)[0]["status"] == "failed"
    scan_file(path)
    assert process([path], out, bright)[0]["status"] == "done"


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1, float("nan")])
def test_a_threshold_that_marks_all_or_nothing_is_refused(threshold):
    with pytest.raises(CohortError, match="between 0 and 1"):
        Settings(threshold=threshold)


def test_a_hostile_name_stays_a_name(tmp_path, bright):
    path = scan_file(tmp_path / "=HYPERLINK(..) <script>alert(1)<.nii")
    (row,) = process([path], tmp_path / "out", bright, report=True)
    assert row["scan"] == "HYPERLINK_.._script_alert_1"
    page = (tmp_path / "out" / row["scan"] / "report.html").read_text()
    assert "<script>alert" not in page


def test_the_same_phantom_in_every_format_has_the_same_mask(tmp_path, bright):
    """HU whose window is a whole grey value, so that slices of 8 bits lose nothing."""
    patient = phantom.draw_volume(1, size=48, slices=6, infected=True)
    grey = np.clip(np.rint((patient.image + 1350) / 1500 * 255), 0, 255).astype(np.uint8)
    hu = np.rint(grey / 255 * 1500 - 1350).astype(np.int16)
    z, y, x = patient.spacing
    forge(
        tmp_path / "nifti.nii",
        np.ascontiguousarray(hu.transpose(2, 1, 0)),
        affine_of("LPS", (x, y, z)),
    )
    dicom = tmp_path / "dicom"
    save(dicom, make_images(hu, patient.spacing))
    for i, pixels in enumerate(grey):
        (tmp_path / "slices").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "slices" / f"{i}.png")
    out = tmp_path / "out"
    rows = process([tmp_path / "nifti.nii", dicom, tmp_path / "slices"], out, bright)
    volume = nifti.read_volume(tmp_path / "nifti.nii")
    mask = nifti_labels.read_labels(out / "nifti" / "mask.nii.gz", {0: 0, 1: 1}, volume)
    seg = scans_mask(out / rows[1]["scan"] / "mask.dcm", dicom)
    png = np.stack([images.read_grey(out / "slices" / "mask" / f"{i}.png") for i in range(6)]) > 0
    np.testing.assert_array_equal(seg, mask > 0)
    assert np.mean(png == seg) > 0.999
    for name in ("lesion_ml", "lesions", "lesion_mean_hu", "lung_ml", "lung_percent"):
        assert rows[1][name] == pytest.approx(rows[0][name], rel=1e-3), name


def scans_mask(path, folder):
    """The mask of a Segmentation in the order of the slices' places, as (Z, H, W) bool."""
    import highdicom as hd
    import pydicom

    originals = [pydicom.dcmread(file) for file in folder.iterdir()]
    originals.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    seg = hd.seg.segread(path)
    names = [image.SOPInstanceUID for image in originals]
    found = seg.get_pixels_by_source_instance(names, assert_missing_frames_are_empty=True)
    return found[..., 0] > 0
