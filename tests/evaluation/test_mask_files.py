"""What lies in folders of masks: what is read, what is named as not read, what is refused."""

import numpy as np
import pytest
from PIL import Image

from cosup_jax import cli
from cosup_jax.evaluation import evaluate_saved, mask_files
from tests.evaluation.test_saved_volumes import box, save, segmentations

pytestmark = pytest.mark.usefixtures("no_figure")
NO_MASK = "which has no mask.nii.gz or mask.dcm in it"


def note_of(folders):
    summary = evaluate_saved(*folders, protocol="cosup")
    assert summary["pooled_dice"] == 0.75
    return summary["note"]


def test_what_is_not_read_is_named_by_side(pair):
    for side in pair:
        (side / "b.mha").write_bytes(b"of a tool")
        save(side / "c", "seg", box())
        for name in ("plans.json", "summary.json", "a.npz", "dataset_fingerprint.json"):
            (side / name).write_text("{}")
        (side / "report").mkdir()
        (side / "report/page.html").write_text("<html>")
    names = f"b.mha (.mha is not read; save it as NIfTI, .nii.gz); c/, {NO_MASK}"
    assert f"not read of the predictions: {names}" in note_of(pair)
    assert f"not read of the truths: {names}" in note_of(pair)
    (pair[1] / "b.mha").unlink()
    (pair[1] / "c/seg.nii.gz").unlink()
    assert "truths" not in note_of(pair)


def test_of_many_the_first_are_named_and_all_counted(pair):
    for i in range(7):
        (pair[1] / f"x{i}.nrrd").write_bytes(b"of a tool")
    note = note_of(pair)
    assert "x4.nrrd" in note
    assert "x5.nrrd" not in note
    assert "; … (7)" in note


def test_results_without_a_mask_are_named(pair):
    for side in pair:
        (side / "f").mkdir()
        (side / "f/findings.json").write_text('{"made_of": {}, "row": {"status": "failed"}}')
    assert f"not read of the truths: f/, {NO_MASK}" in note_of(pair)


def test_nothing_is_said_where_all_is_read(pair):
    for side in pair:
        save(side / "d", "mask", box() * 0)
    assert "not read" not in note_of(pair)


def test_segmentations_without_a_suffix_are_volumes(tmp_path):
    segmentations(tmp_path, {"pred": box(shift=1), "truth": box()})
    folders = tmp_path / "pred", tmp_path / "truth"
    for folder in folders:
        (folder / "a.dcm").rename(folder / "a")
    assert evaluate_saved(*folders, protocol="cosup")["pooled_dice"] == 0.75
    files = [folder / "a" for folder in folders]
    assert evaluate_saved(*files, protocol="cosup")["pooled_dice"] == 0.75


def test_folders_of_pictures_are_none(tmp_path):
    Image.fromarray(box()[1]).save(tmp_path / "a_1.png")
    np.save(tmp_path / "a_2.npy", box()[1])
    (tmp_path / "notes.txt").write_text("read me")
    assert not mask_files.holds_volumes(tmp_path)


@pytest.mark.parametrize(
    ("pred", "truth", "message"),
    [
        ("pred/x.nii.gz", "truth/a.nii.gz", "pred/x.nii.gz: no such file"),
        ("pred/x.nii.gz", "truth/x.nii.gz", "pred/x.nii.gz: no such file"),
        ("pred/a.nii.gz", "truth/x.dcm", "truth/x.dcm: no such file"),
        ("pred/a.nii.gz", "none", "none: no such folder"),
        ("pred/a.nii.gz", "m.mha", "m.mha: is no mask of a volume (.mha is not read; save it"),
        ("m.mha", "m.mha", "m.mha: is no mask of a volume (.mha is not read; save it"),
        ("pred", "m.txt", "m.txt: is no mask of a volume; expected a NIfTI file"),
        ("m.png", "m.png", "m.png: a file; expected a folder full of PNG or TIFF"),
        ("none", "none", "none: no such folder; expected a folder full of PNG or TIFF"),
    ],
)
def test_a_wrong_place_is_told_as_what_it_is(pair, tmp_path, capsys, pred, truth, message):
    Image.fromarray(box()[1]).save(tmp_path / "m.png")
    for name in ("m.mha", "m.txt"):
        (tmp_path / name).write_bytes(b"of a tool")
    command = [f"--predictions={tmp_path / pred}", f"--truth={tmp_path / truth}"]
    assert cli.main(["evaluate", *command]) == 1
    assert message in capsys.readouterr().err
