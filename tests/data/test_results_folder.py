"""Results of `predict` as a dataset: which masks somebody has corrected, and who made them."""

import hashlib
import json
import shutil
import zipfile

import numpy as np
import pytest

from cosup_jax.data import results_folder
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans import find
from tests.data.test_volume_folder import built, check_slices, everything
from tests.dummy import volume_folder as dummy
from tests.dummy import volumes


@pytest.fixture
def results(tmp_path):
    """Results of five scans, of which nobody has corrected one."""
    dummy.write_results(tmp_path / "mine", tmp_path / "scans")
    return tmp_path / "mine"


@pytest.mark.parametrize("named", [True, False])
def test_scans_are_found_by_their_record_or_their_content(tmp_path, named):
    root = tmp_path / "mine"
    dummy.write_results(root, tmp_path / "scans", named=named, digests=False)
    builder = built(root, tmp_path, "" if named else f"scans={tmp_path / 'scans'}")
    check_slices(everything(builder), dummy.LABELLED)
    about = builder.info.metadata
    assert about["layout"] == "results of predict"
    assert "left out: bad: truncated" in about["notes"]
    assert any(
        "whether somebody corrected ann, bob, cyd, … is unknown" in n for n in about["notes"]
    )
    assert {about["provenance"][case]["mask"] for case in dummy.LABELLED} == {"unknown"}


def test_scans_of_one_zip_are_told_apart(results, tmp_path):
    place = tmp_path / "all.zip"
    with zipfile.ZipFile(place, "w") as file:
        for case in dummy.LABELLED:
            file.write(tmp_path / "scans" / f"{case}.nii.gz", f"{case}.nii.gz")
    scans = find.find_scans([place], results).scans
    for case, scan in zip(sorted(dummy.LABELLED), scans, strict=True):
        dummy.correct(results, case)
        path = results / case / "findings.json"
        record = json.loads(path.read_text())
        record["made_of"]["input"], record["row"]["input"] = scan.digest(), str(place)
        path.write_text(json.dumps(record))
    for (case, i), example in everything(built(results, tmp_path)).items():
        np.testing.assert_array_equal(example["image"][..., 0], dummy.drawn(case).image[i])


def test_what_nobody_has_corrected_is_trained_on_only(results, tmp_path):
    for case in ("bob", "dan"):
        dummy.correct(results, case)
    about = built(results, tmp_path).info.metadata
    assert sorted(about["cases"]["train"]) == ["ann", "cyd", "eve"]
    assert sorted(about["cases"]["test"] + about["cases"]["validation"]) == ["bob", "dan"]


def test_corrected_ones_only(results, tmp_path):
    for case in ("ann", "bob", "dan"):
        dummy.correct(results, case)
    builder = built(results, tmp_path, "masks=corrected")
    about = builder.info.metadata
    assert sorted(case for group in about["cases"].values() for case in group) == [
        "ann",
        "bob",
        "dan",
    ]
    assert "left out: cyd: nobody has corrected its mask" in about["notes"]
    for (case, i), example in everything(builder).items():
        drawn = dummy.mask_of(case)
        drawn[:, :-1] |= drawn[:, 1:]
        np.testing.assert_array_equal(example["mask"][..., 0], drawn[i])


def test_two_corrected_ones_are_enough_where_none_are_tested_on(results, tmp_path):
    for case in ("ann", "bob"):
        dummy.correct(results, case)
    with pytest.raises(DatasetLayoutError, match="masks of 2 patients.*3 at least.*or test=no"):
        built(results, tmp_path, "masks=corrected")
    cases = built(results, tmp_path, "masks=corrected,test=no").info.metadata["cases"]
    assert {name: len(group) for name, group in cases.items()} == {"train": 1, "validation": 1}


def test_who_predicted_with_what_is_kept(results, tmp_path):
    for case in ("bob", "dan"):
        dummy.correct(results, case)
    about = built(results, tmp_path).info.metadata["provenance"]
    assert json.loads(json.dumps(about))["bob"] == {
        "mask": "corrected",
        "mask_sha256": hashlib.sha256((results / "bob/mask.nii.gz").read_bytes()).hexdigest(),
        "predicted_with": "brightest 555555555555",
        "weights_sha256": "5" * 64,
        "threshold": 0.4,
        "version": "0.1.0",
    }
    assert about["ann"]["mask"] == "as predicted"


def test_a_second_mask_in_another_form_is_the_one_that_is_meant(results, tmp_path):
    """The record knows of one that was written; the other one must be somebody's."""
    dummy.correct(results, "dan")
    path = results / "bob/findings.json"
    record = json.loads(path.read_text())
    record["digests"]["mask.dcm"] = "0" * 64
    dummy.write_json(path, record)
    (results / "bob/mask.dcm").write_bytes(b"no Segmentation")
    with pytest.raises(ValueError, match=r"bob.*mask\.dcm"):
        built(results, tmp_path)
    digest = hashlib.sha256(b"no Segmentation").hexdigest()
    record["digests"]["mask.dcm"] = digest
    dummy.write_json(path, record)
    dummy.correct(results, "bob")
    assert built(results, tmp_path).info.metadata["provenance"]["bob"]["mask"] == "corrected"


def test_of_two_results_of_one_scan_the_corrected_one_is_taken(results, tmp_path):
    for case in ("bob", "dan"):
        dummy.correct(results, case)
    shutil.copytree(results / "bob", results / "aaa")
    with pytest.raises(DatasetLayoutError, match="'bob': of the same scan as 'aaa', and both"):
        built(results, tmp_path)
    volumes.save(results / "aaa/mask.nii.gz", dummy.mask_of("bob"))
    path = results / "aaa/findings.json"
    record = json.loads(path.read_text())
    digest = hashlib.sha256((results / "aaa/mask.nii.gz").read_bytes()).hexdigest()
    dummy.write_json(path, record | {"digests": {"mask.nii.gz": digest}})
    about = built(results, tmp_path).info.metadata
    assert "left out: aaa: of the same scan as bob" in about["notes"]
    assert "aaa" not in about["provenance"]


def test_a_mask_saved_in_another_format_is_told_what_to_do(results):
    for case in ("bob", "dan"):
        dummy.correct(results, case)
    (results / "ann/mask.nii.gz").rename(results / "ann/mask.seg.nrrd")
    notes = results_folder.read(results, None).notes
    assert "left out: ann: its mask is gone (.nrrd is not read; save it as NIfTI, .nii.gz)" in notes


def test_what_is_not_read_or_gone_is_said(results, tmp_path):
    for case in ("bob", "dan"):
        dummy.correct(results, case)
    (results / "bob/Segmentation.seg.nrrd").write_bytes(b"of 3D Slicer")
    (results / "eve/mask.nii.gz").unlink()
    notes = built(results, tmp_path).info.metadata["notes"]
    assert "bob: not read: Segmentation.seg.nrrd" in notes
    assert "left out: eve: its mask is gone" in notes


def test_results_of_which_none_is_corrected_are_refused(results, tmp_path):
    with pytest.raises(DatasetLayoutError, match="no mask has been changed since predict wrote it"):
        built(results, tmp_path)


def test_other_folders_do_not_know_what_is_corrected(tmp_path):
    dummy.write(tmp_path / "mine")
    with pytest.raises(DatasetLayoutError, match="corrected is for results of predict.*plain"):
        built(tmp_path / "mine", tmp_path, "masks=corrected")


def test_a_mask_that_is_a_link_out_of_the_folder_is_refused(results, tmp_path):
    dummy.correct(results, "bob")
    mask = results / "dan/mask.nii.gz"
    mask.rename(tmp_path / "elsewhere.nii.gz")
    mask.symlink_to(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(DatasetLayoutError, match="mask.nii.gz"):
        built(results, tmp_path)
