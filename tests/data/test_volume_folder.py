"""Volumes of one's own: every layout ends in the same slices, upright, in HU, with masks."""

import json

import numpy as np
import pytest

from cosup_jax.data import datasets, schema
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import build, check_builder, read_all
from tests.dummy import volume_folder as dummy
from tests.dummy import volumes
from tfds_builders.volume_folder.volume_folder_dataset_builder import Builder


def make(source, options="", mask_values=None):
    config = Builder.config_from_source(str(source), mask_values, options)
    return lambda data_dir: Builder(config=config, data_dir=data_dir, file_format="array_record")


def built(source, tmp_path, options="", mask_values=None):
    return build(make(source, options, mask_values), tmp_path / "data")


def everything(builder):
    return {key: e for split in builder.info.splits for key, e in read_all(builder, split).items()}


def check_slices(found, cases=dummy.CASES, *, classes=False):
    """All slices are those of the phantoms, with the masks of those that have one."""
    assert {case for case, _ in found} == set(cases)
    for (case, i), example in found.items():
        drawn = dummy.drawn(case)
        np.testing.assert_array_equal(schema.true_values(example)[..., 0], drawn.image[i])
        assert schema.intensity_name(int(example["intensity"])) == "hu"
        labelled = case in dummy.LABELLED
        assert bool(example["has_mask"]) is labelled
        mask = drawn.mask[i] if classes else drawn.mask[i] > 0
        np.testing.assert_array_equal(example["mask"][..., 0], mask * labelled)


def test_a_plain_folder_conforms(tmp_path):
    dummy.write(tmp_path / "mine")
    expected = {"train": 9, "validation": 3, "test": 3, "unlabelled": 3}
    builder = check_builder(make(tmp_path / "mine"), tmp_path, expected, classes=(0, 1))
    found = everything(builder)
    check_slices(found)
    for (case, i), example in found.items():
        assert bool(example["has_lung"]) is (case in dummy.LABELLED)
        if example["has_lung"]:
            np.testing.assert_array_equal(example["lung"][..., 0], dummy.drawn(case).lung[i])
        np.testing.assert_allclose(example["spacing"], volumes.SPACING)
    about = builder.info.metadata
    assert about["layout"] == "a plain folder"
    assert about["cases"]["unlabelled"] == [dummy.BARE]
    assert "each volume is taken for a patient of its own" in about["notes"]
    assert any("5 folds with the seed '0', and fold 0 is tested on" in n for n in about["notes"])


def test_folders_beside_those_that_are_read_are_named_and_change_nothing(tmp_path):
    dummy.write(tmp_path / "mine")
    before = make(tmp_path / "mine")(tmp_path / "data").builder_config.name
    (tmp_path / "mine/lungs").rename(tmp_path / "mine/lung")
    (tmp_path / "mine/results").mkdir()
    builder = built(tmp_path / "mine", tmp_path)
    assert not any(example["has_lung"] for example in everything(builder).values())
    note = "mine: 'lung', 'results' are not read, only images, masks, lungs"
    assert note in builder.info.metadata["notes"]
    (tmp_path / "mine/lung").rename(tmp_path / "mine/lungs")
    assert make(tmp_path / "mine")(tmp_path / "data").builder_config.name == before


def test_a_volume_whose_lungs_are_empty_is_not_left_out_in_silence(tmp_path):
    dummy.write(tmp_path / "mine")
    (tmp_path / f"mine/images/{dummy.BARE}.nii.gz").unlink()
    volumes.save(tmp_path / "mine/lungs/ann.nii.gz", 0 * dummy.drawn("ann").lung, "RAS")
    with pytest.raises(VolumeError, match="case 'ann': has no lungs, by which slices=lungs choos"):
        built(tmp_path / "mine", tmp_path, "slices=lungs")


def test_every_volume_is_tested_on_in_one_fold_and_a_seed_deals_anew(tmp_path):
    dummy.write(tmp_path / "mine")
    tested = []
    for fold in range(5):
        builder = built(tmp_path / "mine", tmp_path, f"fold={fold}")
        tested += builder.info.metadata["cases"]["test"]
    assert sorted(tested) == sorted(dummy.LABELLED)
    other = built(tmp_path / "mine", tmp_path, "seed=x,folds=3")
    assert len(other.info.metadata["cases"]["test"]) == 2


def test_nnunet_with_the_classes_by_their_names(tmp_path):
    dummy.write_nnunet(tmp_path / "mine")
    builder = built(tmp_path / "mine", tmp_path)
    check_slices(everything(builder), classes=True)
    assert builder.info.metadata["layout"] == "nnU-Net raw"
    assert builder.info.metadata["cases"]["unlabelled"] == [dummy.BARE]


def test_nnunet_takes_its_own_splits_by_fold(tmp_path):
    dummy.write_nnunet(tmp_path / "mine")
    rounds = [
        {"train": list(dummy.LABELLED[1:]), "val": ["ann"]},
        {"train": list(dummy.LABELLED[:-1]), "val": ["eve"]},
    ]
    dummy.write_json(tmp_path / "mine/splits_final.json", rounds)
    cases = built(tmp_path / "mine", tmp_path, "fold=1").info.metadata["cases"]
    assert cases == {
        "train": list(dummy.LABELLED[:-1]),
        "validation": ["eve"],
        "unlabelled": [dummy.BARE],
    }


def test_nnunet_with_labels_of_the_test_set_and_older_label_names(tmp_path):
    root = tmp_path / "mine"
    labels = {"0": "background", "1": "x"}
    dummy.write_nnunet(root, labels, channel_names=None, modality={"0": "CT"}, file_ending=None)
    volumes.save(root / "labelsTs" / f"{dummy.BARE}.nii.gz", dummy.mask_of(dummy.BARE))
    for case in dummy.LABELLED:
        volumes.save(root / "labelsTr" / f"{case}.nii.gz", dummy.mask_of(case))
    cases = built(root, tmp_path).info.metadata["cases"]
    assert {name: len(group) for name, group in cases.items()} == {
        "train": 4,
        "validation": 1,
        "test": 1,
    }
    assert cases["test"] == [dummy.BARE]


def test_lungs_among_the_labels_are_lungs(tmp_path):
    root = tmp_path / "mine"
    dummy.write_nnunet(root, {"background": 0, "left lung": 1, "right lung": 2, "infection": 3})
    for case in dummy.LABELLED:
        both = np.where(dummy.mask_of(case), np.uint8(3), dummy.drawn(case).lung)
        volumes.save(root / "labelsTr" / f"{case}.nii.gz", both)
    found = everything(built(root, tmp_path))
    check_slices(found)
    for (case, i), example in found.items():
        if case in dummy.LABELLED:
            both = dummy.drawn(case).lung[i] | dummy.mask_of(case)[i]
            np.testing.assert_array_equal(example["lung"][..., 0], both > 0)


def test_declared_values_come_before_names(tmp_path):
    dummy.write_nnunet(tmp_path / "mine", {"background": 0, "a": 1, "b": 2, "c": 3})
    builder = built(tmp_path / "mine", tmp_path, mask_values={0: 0, 1: 1, 2: 1, 3: 0})
    for (case, i), example in everything(builder).items():
        if case in dummy.LABELLED:
            expected = np.isin(dummy.drawn(case).mask[i], (1, 2))
            np.testing.assert_array_equal(example["mask"][..., 0], expected)


def test_the_decathlon(tmp_path):
    dummy.write_decathlon(tmp_path / "mine")
    builder = built(tmp_path / "mine", tmp_path)
    check_slices(everything(builder))
    assert builder.info.metadata["layout"] == "Medical Segmentation Decathlon"
    assert builder.info.metadata["cases"]["unlabelled"] == [dummy.BARE]


@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_table_of_nifti_dicom_and_segmentations(tmp_path, given):
    table = dummy.write_table(tmp_path / "mine")
    builder = built(table if given == "file" else table.parent, tmp_path)
    assert builder.info.metadata["cases"] == {
        "train": ["one"],
        "validation": ["bob"],
        "unlabelled": [dummy.BARE],
    }
    assert builder.info.metadata["patients"]["unlabelled"] == ["p3"]
    found = everything(builder)
    renamed = {("ann" if case == "one" else case, i): e for (case, i), e in found.items()}
    check_slices(renamed, ("ann", "bob", dummy.BARE))
    np.testing.assert_allclose(found["bob", 0]["spacing"], (5.0, 0.75, 0.5))


def test_unlabelled_scans_of_a_patient_of_another_split_are_left_out_and_said(tmp_path):
    table = dummy.write_table(tmp_path / "mine")
    table.write_text(table.read_text().replace("p3", "p1"))
    builder = built(table, tmp_path)
    assert "unlabelled" not in builder.info.splits
    assert any(f"left out: {dummy.BARE}" in note for note in builder.info.metadata["notes"])


def test_slices_without_lungs_are_left_out_if_asked_for(tmp_path):
    root = tmp_path / "mine"
    dummy.write(root)
    (root / "images" / f"{dummy.BARE}.nii.gz").unlink()
    for case in dummy.LABELLED:
        lung = dummy.drawn(case).lung.copy()
        lung[0] = 0
        volumes.save(root / "lungs" / f"{case}.nii.gz", lung)
    builder = built(root, tmp_path, "slices=lungs")
    assert {i for _, i in everything(builder)} == {1, 2}


def test_masks_of_another_grid_are_brought_to_the_image_if_asked_for(tmp_path, caplog):
    root = tmp_path / "mine"
    dummy.write(root)
    mask = root / "masks/ann.nii.gz"
    dummy.regrid(mask, mask, pick=np.s_[:, 4:, :])  # rows cut off at the back, affine kept
    example = everything(built(root, tmp_path, "resample=nearest"))["ann", 1]
    # In LAS the rows grow to the front, and the kept affine moves what is left back by four.
    expected = np.zeros((32, 32), bool)
    expected[4:] = dummy.mask_of("ann")[1][:-4] > 0
    np.testing.assert_array_equal(example["mask"][..., 0], expected)
    assert "by nearest neighbours" in caplog.text


def test_a_corrected_folder_is_another_dataset(tmp_path):
    dummy.write(tmp_path / "mine")
    names = {built(tmp_path / "mine", tmp_path).builder_config.name}
    volumes.save(tmp_path / "mine/masks/ann.nii.gz", dummy.mask_of("bob"), "LAS")
    names.add(built(tmp_path / "mine", tmp_path).builder_config.name)
    assert len(names) == 2


def test_it_is_found_by_its_name_with_options(tmp_path):
    dummy.write(tmp_path / "mine")
    builder = datasets.make_builder(
        "volume_folder",
        config="fold=3",
        source=str(tmp_path / "mine"),
        data_dir=str(tmp_path / "data"),
    )
    datasets.prepare(builder, str(tmp_path / "mine"))
    assert json.loads(json.dumps(builder.info.metadata["options"]))["fold"] == 3
    assert "9 slices of 3 patients" in datasets.describe(builder)


@pytest.mark.parametrize("given", ["", "volumes.csv"])
def test_a_table_beside_its_images_is_what_is_read(given, tmp_path):
    root = tmp_path / "mine"
    dummy.write(root)
    *named, left = dummy.LABELLED
    rows = [f"images/{case}.nii.gz,masks/{case}.nii.gz,{case}\n" for case in named]
    (root / "volumes.csv").write_text("image,mask,patient\n" + "".join(rows))
    builder = built(root / given, tmp_path)
    check_slices(everything(builder), named)
    (note,) = (note for note in builder.info.metadata["notes"] if "in no row" in note)
    assert note.startswith("in no row of volumes.csv, so not read: ")
    assert {f"{case}.nii.gz" in note for case in (left, dummy.BARE)} == {True}


def test_what_is_of_no_layout_is_told_which_there_are(tmp_path):
    (tmp_path / "mine/case1").mkdir(parents=True)
    with pytest.raises(
        DatasetLayoutError, match=r"none of .* one of a table \(volumes\.csv\), nnU"
    ):
        make(tmp_path / "mine")
    dummy.write_nnunet(tmp_path / "both")
    (tmp_path / "both/volumes.csv").touch()
    with pytest.raises(DatasetLayoutError, match=r"expected one, or the file volumes\.csv itself"):
        make(tmp_path / "both")
