"""Names with accents are one name in either of Unicode's forms, as disks and tables write them."""

import json
import os
import sys
import unicodedata

import pytest

from cosup_jax.data import volume_layouts
from cosup_jax.data.builder import DatasetLayoutError, DealingError
from cosup_jax.data.own_volumes import path_in
from cosup_jax.data.schema import ExampleError
from cosup_jax.data.volume_layouts import Dealing
from tests.dummy import volume_folder as dummy

TWO, ONE = (unicodedata.normalize(form, "zoë") for form in ("NFD", "NFC"))
CASES = {ONE, *dummy.CASES} - {"ann"}


def listed(root):
    return volume_layouts.find(root, 0, None)


def respell(root, form):
    """Renames the files of `ann`, in one of the forms."""
    for path in [*root.rglob("ann*")]:
        path.rename(path.with_name(path.name.replace("ann", form)))


def check(found):
    assert {volume.case_id for volume in found.volumes} == CASES
    (zoe,) = (volume for volume in found.volumes if volume.case_id == ONE)
    assert zoe.mask


@pytest.mark.parametrize("on_disk", [TWO, ONE])
@pytest.mark.parametrize("in_table", [TWO, ONE])
def test_a_table_names_files_in_either_form(tmp_path, on_disk, in_table):
    dummy.write(tmp_path / TWO)
    respell(tmp_path / TWO, on_disk)
    paths = [(f"{in_table if c == 'ann' else c}.nii.gz") for c in dummy.LABELLED]
    rows = [f"{ONE}/images/{path},{ONE}/masks/{path}" for path in paths]
    rows = ["image,mask", *rows, f" {TWO}/images/{dummy.BARE}.nii.gz ,"]
    (tmp_path / "volumes.csv").write_text("\n".join(rows), encoding="utf-8")
    check(listed(tmp_path))


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_images_and_masks_may_be_of_different_forms(tmp_path, kind):
    dummy.write(tmp_path)
    respell(tmp_path / kind, TWO)
    respell(tmp_path, ONE)
    check(listed(tmp_path))


@pytest.mark.parametrize("kind", ["imagesTr", "labelsTr"])
def test_nnunet_may_have_different_forms_too(tmp_path, kind):
    names = {case: {} for case in (TWO, *dummy.LABELLED[1:])}
    dummy.write_nnunet(tmp_path, dataset=names)
    respell(tmp_path / kind, TWO)
    respell(tmp_path, ONE)
    check(listed(tmp_path))
    rounds = [{"train": ["bob", "cyd", "dan"], "val": [TWO, "eve"]}]
    dummy.write_json(tmp_path / "splits_final.json", rounds)
    (zoe,) = (volume for volume in listed(tmp_path).volumes if volume.case_id == ONE)
    assert zoe.split == "validation"


def test_the_decathlons_list_may_have_another_form(tmp_path):
    dummy.write_decathlon(tmp_path)
    respell(tmp_path, TWO)
    path = tmp_path / "dataset.json"
    about = json.loads(path.read_text())
    for entry in about["training"]:
        entry |= {kind: name.replace("ann", ONE) for kind, name in entry.items()}
    dummy.write_json(path, about)
    check(listed(tmp_path))


def test_two_files_of_one_name_are_never_mixed(tmp_path):
    for form in (TWO, ONE):
        (tmp_path / f"{form}.nii").write_bytes(form.encode())
    for form in (TWO, ONE):
        assert path_in(tmp_path, f"{form}.nii", "row 1").read_bytes() == form.encode()
    dummy.write(tmp_path / "plain")
    dummy.write_nnunet(tmp_path / "nnunet")
    for folder in ("plain/images", "plain/masks", "nnunet/imagesTr", "nnunet/labelsTr"):
        (path,) = (tmp_path / folder).glob("bob*")
        copies = [path.with_name(path.name.replace("bob", form)) for form in (TWO, ONE)]
        for copy in copies:
            copy.write_bytes(path.read_bytes())
        with pytest.raises(DatasetLayoutError, match="has the name of"):
            listed(tmp_path / folder.partition("/")[0])
        for copy in copies:
            copy.unlink()


def test_a_file_that_is_not_there_is_called_as_it_was_given(tmp_path):
    (tmp_path / TWO).mkdir()
    for name in (f"{ONE}/none.nii", "a/b/none.nii"):
        assert path_in(tmp_path, name, "row 1") == tmp_path / name
    with pytest.raises(DatasetLayoutError, match="leads out of"):
        path_in(tmp_path / TWO, f"../{ONE}x/none.nii", "row 1")


@pytest.mark.parametrize(
    ("folds", "test", "message"),
    [
        (2, True, r"^folds=2; expected 3 at least \(2 with test=no\)$"),
        (0, True, r"^folds=0; expected 3 at least \(2 with test=no\)$"),
        (1, False, r"^folds=1; expected 2 at least$"),
        (3, True, ""),
        (2, False, ""),
    ],
)
def test_too_few_folds_are_told_from_too_few_patients(tmp_path, folds, test, message):
    dummy.write(tmp_path)
    found = listed(tmp_path)
    if not message:
        cases, _ = volume_layouts.deal(found, Dealing(folds=folds, test=test))
        assert len(cases) == folds + 1  # and the unlabelled one
        return
    with pytest.raises(DealingError, match=message):
        volume_layouts.deal(found, Dealing(folds=folds, test=test))


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks hold names in UTF-8 only")
def test_a_name_that_is_no_text_is_told(tmp_path):
    """As of `zoë` in Latin-1, which a zip of another system holds."""
    dummy.write(tmp_path)
    respell(tmp_path, os.fsdecode(b"zo\xeb"))
    with pytest.raises(ExampleError, match=r"the name 'zo\\udceb' is no UTF-8 text.* rename"):
        listed(tmp_path)
