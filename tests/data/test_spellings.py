"""One person under two spellings, and names that say who it is: whose scans are in which split."""

import shutil

import pytest

from cosup_jax.data import splits, volume_layouts
from cosup_jax.data.datasets import describe
from cosup_jax.data.splits import PatientOverlapError
from cosup_jax.data.volume_layouts import Dealing
from tests.data.slice_folders import add, built, draw, write_index
from tests.dummy import volume_folder as dummy

SPELLED = [("1", "1.0"), ("1", "01"), ("P7", "p7"), ("p_7", "p-007"), ("Ann B", "ann b")]
APART = [("1", "10"), ("p7", "p17"), ("1.1", "1.10"), ("1-2", "12"), ("ann", "anna")]


@pytest.mark.parametrize("pair", SPELLED)
def test_spellings_of_one_id_are_known(pair):
    assert splits.spelling(pair[0]) == splits.spelling(pair[1])


@pytest.mark.parametrize("pair", APART)
def test_ids_of_two_people_are_kept_apart(pair):
    assert splits.spelling(pair[0]) != splits.spelling(pair[1])


def table(root, patients, header="image,mask,patient", more=""):
    """A table of as many volumes as there are patients, `more` in each further cell."""
    dummy.write(root)
    cases = list(zip(dummy.LABELLED, patients, strict=True))
    rows = [f"images/{case}.nii.gz,masks/{case}.nii.gz,{who}{more}" for case, who in cases]
    (root / "volumes.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


@pytest.mark.parametrize("given", ["", ",train"])
def test_two_spellings_in_a_table_are_refused_with_both_rows(tmp_path, given):
    header = "image,mask,patient" + ",split" * bool(given)
    root = table(tmp_path, ("1", "2", "3", "4", "1.0"), header, given)
    said = r"volumes\.csv, row 6: patient '1\.0', but .*volumes\.csv, row 2 has '1'"
    with pytest.raises(PatientOverlapError, match=said):
        volume_layouts.find(root, 0, None)


def test_one_spelling_may_stand_in_many_rows(tmp_path):
    found = volume_layouts.find(table(tmp_path, ("1", "1", "2", "3", "")), 0, None)
    assert [volume.patient_id for volume in found.volumes] == ["1", "1", "2", "3", ""]


def test_two_spellings_in_the_indexes_of_two_splits_are_refused(tmp_path):
    folder = draw(tmp_path / "mine")
    rows = {"train": "a_003.png,1\na_004.png,1\nb_003.png,2\nb_004.png,2\n"}
    rows["val"] = "c_003.png,01\nc_004.png,01\n"
    for split, text in rows.items():
        write_index(folder, f"file,patient\n{text}", split)
    said = r"val_index\.csv, row 2: patient '01', but .*train_index\.csv, row 2 has '1'"
    with pytest.raises(PatientOverlapError, match=said):
        built(folder, tmp_path)


def test_names_of_files_that_may_be_one_scan_are_noted_in_every_run(tmp_path):
    folder = draw(tmp_path / "mine")
    assert "may be" not in describe(built(folder, tmp_path))
    add(folder, "train", "scan7_003")
    add(folder, "val", "Scan07_004")
    said = "patient 'Scan07' of validation may be 'scan7' of train"
    assert said in describe(built(folder, tmp_path))


def sessions(root):
    """Two sessions of `sub-01` and one of each other subject, as BIDS names them."""
    dummy.write(root)
    names = dict(zip(dummy.CASES, ("01_ses-1", "01_ses-2", "02_ses-1", "03", "04"), strict=False))
    for kind in ("images", "masks", "lungs"):
        for case, name in names.items():
            (root / kind / f"{case}.nii.gz").rename(root / kind / f"sub-{name}_ct.nii.gz")
    (root / "images" / f"{dummy.BARE}.nii.gz").unlink()
    return root


def test_sessions_of_a_subject_of_bids_stay_in_one_split(tmp_path):
    found = volume_layouts.find(sessions(tmp_path), 0, None)
    assert "but for names of BIDS" in found.notes[0]
    assert len({volume.patient_id for volume in found.volumes}) == 4
    for fold in range(4):
        groups, _ = volume_layouts.deal(found, Dealing(fold=fold))
        holding = [g for g in groups.values() if any(v.patient_id == "sub-01" for v in g)]
        assert [sum(v.patient_id == "sub-01" for v in group) for group in holding] == [2]


def test_a_table_says_whose_a_scan_is_whatever_its_name(tmp_path):
    sessions(tmp_path)
    names = [path.name for path in sorted((tmp_path / "images").iterdir())]
    rows = [f"images/{name},masks/{name},p{i}" for i, name in enumerate(names)]
    (tmp_path / "volumes.csv").write_text("image,mask,patient\n" + "\n".join(rows) + "\n")
    found = volume_layouts.find(tmp_path, 0, None)
    assert [volume.patient_id for volume in found.volumes] == ["p0", "p1", "p2", "p3", "p4"]


def test_slices_of_a_subject_of_bids_in_two_splits_are_refused(tmp_path):
    folder = draw(tmp_path / "mine")
    add(folder, "train", "sub-01_ses-1_003")
    add(folder, "val", "sub-02_ses-1_003")
    assert "sub-01" in built(folder, tmp_path).info.metadata["patients"]["train"]
    shutil.rmtree(tmp_path / "data")
    add(folder, "val", "sub-01_ses-2_003")
    with pytest.raises(PatientOverlapError, match="sub-01"):
        built(folder, tmp_path)
