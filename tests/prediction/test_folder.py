"""A folder of results: nothing in it is lost or mixed because of a name, and its table is whole."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from cosup_jax.prediction import cohort
from tests.prediction.scan_files import (
    Brightest,
    by_scan,
    dicom_folder,
    folders,
    process,
    scan_file,
    slice_folder,
    table,
)

pytestmark = pytest.mark.usefixtures("fake")


def test_scans_of_one_name_from_several_calls_are_all_kept(tmp_path):
    paths = [scan_file(tmp_path / p / "ct.nii.gz", i) for i, p in enumerate(("p1", "p2", "p3"))]
    out = tmp_path / "out"
    for path in paths:
        process([path], out)
    first = folders(out)
    assert first[0] == "ct"
    assert len(first) == 3
    inputs = {row["input"]: row["scan"] for row in table(out)}
    assert inputs.keys() == set(map(str, paths))
    # Each finds its folder again, in any company and order.
    process(paths[::-1], out)
    process([tmp_path / "p2"], out)
    assert {row["input"]: row["scan"] for row in table(out)} == inputs


def test_scans_of_one_name_in_one_call_are_all_kept(tmp_path):
    out = tmp_path / "out"
    for case in ("x", "y"):
        slice_folder(tmp_path / case / "scan")
    scan_file(tmp_path / "z" / "scan.nii")
    scan_file(tmp_path / "z" / "SCAN.nii.gz", 1)
    process([tmp_path / case for case in "xyz"], out)
    assert len(folders(out)) == 4
    assert len({name.casefold() for name in folders(out)}) == 4


def test_the_table_is_that_of_the_folder_and_never_shrinks(tmp_path):
    a, b = scan_file(tmp_path / "a.nii"), scan_file(tmp_path / "b.nii", 1)
    bad = tmp_path / "bad.nii"
    bad.write_bytes(b"nothing")
    out = tmp_path / "out"
    process([a, bad], out)
    process([b], out)
    rows = by_scan(out)
    assert [rows[name]["status"] for name in ("a", "b", "bad")] == ["done", "done", "failed"]
    (out / "cohort.csv").unlink()
    process([b], out)
    assert by_scan(out) == rows
    scan_file(bad, 2)
    process([bad], out)
    assert by_scan(out)["bad"]["status"] == "done"
    assert folders(out) == ["a", "b", "bad"]


def test_a_file_given_twice_is_one_scan(tmp_path):
    path = scan_file(tmp_path / "in" / "ct.nii")
    (tmp_path / "in" / "same.nii").symlink_to(path)
    assert len(process([path, path, tmp_path / "in"], tmp_path / "out")) == 1
    assert folders(tmp_path / "out") == ["ct"]


def test_rows_made_by_other_settings_are_marked(tmp_path):
    a, b = scan_file(tmp_path / "a.nii"), scan_file(tmp_path / "b.nii", 1)
    out = tmp_path / "out"
    process([a], out, threshold=0.4)
    process([b], out, threshold=0.5)
    rows = by_scan(out)
    assert (rows["a"]["threshold"], rows["b"]["threshold"]) == ("0.4", "0.5")
    assert rows["a"]["settings"] != rows["b"]["settings"]
    assert "other settings" in rows["a"]["notes"]
    assert "other settings" not in rows["b"]["notes"]
    assert rows["a"]["weights"] == rows["b"]["weights"] == "brightest 555555555555"
    process([b], out, threshold=0.4)
    assert by_scan(out)["a"]["settings"] == by_scan(out)["b"]["settings"]
    assert not any("other" in row["notes"] for row in table(out))


def test_other_settings_replace_the_results_of_a_scan(tmp_path):
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    process([path], out, threshold=0.4)
    process([path], out, threshold=0.9)
    assert folders(out) == ["a"]
    assert by_scan(out)["a"]["lesion_ml"] == "0.0"


def test_who_asks_for_more_loses_nothing_of_what_was_written(tmp_path, monkeypatch):
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    process([path], out, probability=True)
    process([path], out, report=True)
    wanted = ["findings.json", "mask.nii.gz", "probability.nii.gz", "report.html"]
    assert sorted(p.name for p in (out / "a").iterdir()) == wanted
    monkeypatch.setattr(Brightest, "labelled", None)  # nothing is computed for who asks for less
    assert process([path], out)[0]["status"] == "done"
    assert sorted(p.name for p in (out / "a").iterdir()) == wanted


def test_what_became_unreadable_has_no_mask_under_its_name(tmp_path):
    path, out = scan_file(tmp_path / "ct.nii"), tmp_path / "out"
    kept = path.read_bytes()
    (good,) = process([path], out)
    path.write_bytes(kept[:400])
    assert process([path], out)[0]["status"] == "failed"
    assert [p.name for p in (out / "ct").iterdir()] == ["findings.json"]
    (earlier,) = (row for row in table(out) if row["status"] == "earlier")
    assert earlier["scan"] == f"ct-{good['sha256'][:6]}"
    assert earlier["lesion_ml"] == str(good["lesion_ml"])
    assert "earlier result" in earlier["notes"]
    # It comes back, and so do its results.
    path.write_bytes(kept)
    (row,) = process([path], out)
    assert (row["scan"], row["status"]) == ("ct", "done")
    assert folders(out) == ["ct"]


def test_results_of_what_lay_there_before_are_kept_beside_the_present_ones(tmp_path):
    path, out = scan_file(tmp_path / "ct.nii"), tmp_path / "out"
    (first,) = process([path], out)
    (second,) = process([scan_file(path, 5)], out)
    rows = by_scan(out)
    assert rows["ct"]["sha256"] == second["sha256"]
    assert rows[f"ct-{first['sha256'][:6]}"]["status"] == "earlier"
    scan_file(path)
    process([path], out)
    rows = by_scan(out)
    assert rows["ct"]["sha256"] == first["sha256"]
    assert rows[f"ct-{second['sha256'][:6]}"]["status"] == "earlier"
    assert len(folders(out)) == 2


def test_a_scan_that_has_moved_finds_its_results(tmp_path, monkeypatch):
    path, out = scan_file(tmp_path / "old" / "ct.nii"), tmp_path / "out"
    process([path], out)
    (tmp_path / "old").rename(tmp_path / "new")
    monkeypatch.setattr(Brightest, "labelled", None)
    (row,) = process([tmp_path / "new"], out)
    assert row["input"] == str(tmp_path / "new" / "ct.nii")
    assert folders(out) == ["ct"]
    # A copy is a scan of its own.
    monkeypatch.undo()
    monkeypatch.setattr(cohort, "Segmenter", Brightest)
    shutil.copytree(tmp_path / "new", tmp_path / "copy")
    process([tmp_path / "new", tmp_path / "copy"], out)
    assert len(folders(out)) == 2


def test_the_same_series_in_two_places_has_one_folder(tmp_path):
    first, second = tmp_path / "in" / "first", tmp_path / "in" / "second"
    dicom_folder(first)
    shutil.copytree(first, second)
    (row,) = process([tmp_path / "in"], tmp_path / "out")
    assert "4 exact copies of its images count once" in row["notes"]
    rows = process([first, second], tmp_path / "out")
    assert row["scan"] == rows[0]["scan"] == rows[1]["scan"]
    assert len(folders(tmp_path / "out")) == 1


def test_failures_of_dicom_vanish_when_the_folder_is_mended(tmp_path):
    paths = dicom_folder(tmp_path / "in")
    out = tmp_path / "out"
    cut = paths[2].read_bytes()
    paths[2].write_bytes(cut[:-9])
    assert process([tmp_path / "in"], out)[0]["status"] == "failed"
    paths[2].write_bytes(cut)
    assert process([tmp_path / "in"], out)[0]["status"] == "done"
    assert len(folders(out)) == 1


def test_what_is_not_ours_is_never_touched(tmp_path):
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    for name, content in (("a", "thesis"), ("b", "{}")):
        (out / name).mkdir(parents=True)
        (out / name / "findings.json" if name == "b" else out / name / "x").write_text(content)
    (out / "b" / "thesis.txt").write_text("mine")
    (out / "c").symlink_to(out / "a")
    (out / "d").write_text("a file")
    process([path, *(scan_file(tmp_path / f"{n}.nii", i) for i, n in enumerate("bcd", 1))], out)
    assert {name[:2] for name in by_scan(out)} == {"a-", "b-", "c-", "d-"}
    assert (out / "a" / "x").read_text() == "thesis"
    assert (out / "b" / "thesis.txt").read_text() == "mine"
    assert (out / "d").read_text() == "a file"


def test_what_somebody_put_beside_a_mask_is_kept(tmp_path):
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    process([path], out)
    (out / "a" / "reading.txt").write_text("seen by two readers")
    process([path], out, threshold=0.9)
    (kept,) = out.rglob("reading.txt")
    assert kept.read_text() == "seen by two readers"
    assert by_scan(out)[kept.parent.name]["status"] == "earlier"
    # And a mask that was corrected by hand.
    mask = out / "a" / "mask.nii.gz"
    corrected = mask.read_bytes()[::-1]  # of the same size
    mask.write_bytes(corrected)
    process([path], out, threshold=0.9)
    assert mask.read_bytes() == corrected
    assert "its mask was changed since" in by_scan(out)["a"]["notes"]
    process([path], out, threshold=0.8)
    (kept,) = (p for p in out.rglob("mask.nii.gz") if p.read_bytes() == corrected)
    assert kept != mask
    assert mask.exists()
    rows = by_scan(out)
    told = rows[kept.parent.name]["notes"]
    assert "this place, which was predicted anew or holds something else; its mask was ch" in told
    assert "changed" not in rows["a"]["notes"]


def test_the_table_says_of_which_mask_its_figures_are_not(tmp_path):
    a, b = scan_file(tmp_path / "a.nii"), scan_file(tmp_path / "b.nii", 1)
    out = tmp_path / "out"
    process([a, b], out)
    (out / "a" / "mask.nii.gz").unlink()
    process([b], out)
    lost = "of its mask mask.nii.gz is gone or empty; the figures are those of the mask as predict"
    assert lost in by_scan(out)["a"]["notes"]
    (out / "b" / "mask.dcm").write_bytes(b"drawn in another format")
    process([a], out)
    assert "gone" not in by_scan(out)["a"]["notes"]
    assert "its mask was changed since" in by_scan(out)["b"]["notes"]


def test_a_record_has_the_digest_of_the_mask_in_every_form(tmp_path):
    dicom_folder(tmp_path / "ct")
    inputs = [tmp_path / "ct", scan_file(tmp_path / "a.nii"), slice_folder(tmp_path / "pictures")]
    process(inputs, tmp_path / "out", format="both")
    (ours,) = (name for name in folders(tmp_path / "out") if name.startswith("scan_"))
    wanted = {
        ours: ["mask.dcm", "mask.nii.gz"],
        "a": ["mask.nii.gz"],
        "pictures": [f"mask/s{i}.png" for i in range(3)],
    }
    for name, names in wanted.items():
        folder = tmp_path / "out" / name
        kept = json.loads((folder / "findings.json").read_text())["digests"]
        assert kept == {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}


@pytest.mark.parametrize("content", ["", '{"made_of": {"inp', "{}", "[]", "null"])
def test_results_whose_record_is_broken_are_made_again(tmp_path, content):
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    (before,) = process([path], out)
    (out / "a" / "findings.json").write_text(content)
    (row,) = process([path], out)
    assert (row["scan"], row["lesion_ml"]) == ("a", before["lesion_ml"])
    assert folders(out) == ["a"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_results_that_lack_a_file_are_made_again(tmp_path, spoil):
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    process([path], out)
    size = (out / "a" / "mask.nii.gz").stat().st_size
    spoil(out / "a" / "mask.nii.gz")
    process([path], out)
    assert (out / "a" / "mask.nii.gz").stat().st_size == size
    assert folders(out) == ["a"]


def test_records_that_knew_no_places_are_those_of_their_scans(tmp_path):
    path, out = scan_file(tmp_path / "a.nii"), tmp_path / "out"
    process([path], out)
    record = json.loads((out / "a" / "findings.json").read_text())
    old = {"made_of": record["made_of"], "row": record["row"]}
    (out / "a" / "findings.json").write_text(json.dumps(old))
    process([path], out)
    assert folders(out) == ["a"]
    process([path], out, threshold=0.7)
    assert folders(out) == ["a"]


@pytest.mark.parametrize("name", ["cohort.csv", "COHORT.csv", "ü" * 120, "𠀀" * 59, "con", "a b"])
def test_odd_names_have_results(tmp_path, name):
    for i in range(2):
        scan_file(tmp_path / str(i) / f"{name}.nii.gz", i)
    rows = process([tmp_path / "0", tmp_path / "1"], tmp_path / "out", report=True)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert len(folders(tmp_path / "out")) == 2
    assert len(table(tmp_path / "out")) == 2


def test_results_are_no_scans(tmp_path):
    """Results in the folder of the input, of this call and of earlier ones, in every form."""
    folder = tmp_path / "in"
    scan_file(folder / "ct.nii")
    slice_folder(folder / "pictures")
    dicom_folder(folder / "series")
    for out in (folder, folder, folder / "r1", folder / "r2"):
        rows = process([folder], out, report=True, probability=True)
        assert [row["status"] for row in rows] == ["done"] * 3
        assert len(table(out)) == 3
    assert (folder / "pictures").is_dir()
    assert len(list((folder / "pictures").iterdir())) == 3
