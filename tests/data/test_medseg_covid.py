"""Both sets of medicalsegmentation.com in their published layout, drawn small."""

import logging
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.data import schema
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import build, check_builder, read_all
from tests.dummy import medseg_covid as dummy
from tests.dummy import volumes as dummy_volumes
from tfds_builders.medseg_covid import medseg_covid_dataset_builder as medseg

VALIDATION = [9, 16, 22, 34, 44, 57, 62, 89, 92, 95]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    dummy.write(root)
    return root


@pytest.fixture
def source(published, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(published, tmp_path / "source"))


def make(config, skip_bad=False):
    def builder(data_dir):
        made = medseg.Builder(config=config, data_dir=data_dir, file_format="array_record")
        made.skip_bad = skip_bad
        return made

    return builder


def test_the_slices_conform(published, tmp_path, caplog):
    expected = {"train": 70, "validation": 10, "test": 20, "unlabelled": 10}
    with caplog.at_level(logging.WARNING):
        builder = check_builder(make("slices100"), tmp_path, expected, manual_dir=published)
    assert "the patients of train, validation, test, unlabelled are not all known" in caplog.text
    stack, masks = (
        np.asarray(nib.load(published / f"{name}.nii.gz").dataobj).T
        for name in ("tr_im", "tr_mask")
    )
    labelled = read_all(builder, "train+validation+test")
    assert sorted(labelled) == [(f"slice_{i:03d}", 0) for i in range(100)]
    for i in (0, 57, 99):
        example = labelled[f"slice_{i:03d}", 0]
        np.testing.assert_array_equal(schema.true_values(example)[..., 0], stack[i])
        np.testing.assert_array_equal(example["mask"][..., 0], masks[i])
    assert {int(v) for e in labelled.values() for v in np.unique(e["mask"])} == {0, 1, 2, 3}
    assert all(schema.intensity_name(e["intensity"]) == "hu" for e in labelled.values())
    # Neighbours in the stack are not neighbours in a body.
    assert all(np.isnan(e["spacing"]).all() for e in labelled.values())
    unlabelled = read_all(builder, "unlabelled")
    assert sorted(unlabelled) == [(f"val_slice_{i:03d}", 0) for i in range(10)]
    assert not any(e["has_mask"] for e in unlabelled.values())


def test_the_volumes_conform(published, tmp_path):
    expected = {"train": 18, "validation": 3, "test": 6}
    builder = check_builder(make("volumes9"), tmp_path, expected, manual_dir=published)
    patients = builder.info.metadata["patients"]
    assert patients["test"] == ["medseg_rp_4", "medseg_rp_5"]
    assert patients["validation"] == ["medseg_rp_6"]
    for i in range(9):
        drawn = dummy_volumes.draw(i, infected=i % 3 > 0)
        example = read_all(builder, "train+validation+test")[f"medseg_rp_{i + 1}", 1]
        np.testing.assert_array_equal(example["image"][..., 0], drawn.image[1])
        np.testing.assert_array_equal(example["mask"][..., 0], drawn.mask[1])
        # Which lung is which is not published.
        np.testing.assert_array_equal(example["lung"][..., 0], drawn.lung[1] > 0)
        np.testing.assert_allclose(example["spacing"], dummy_volumes.SPACING)


def test_the_held_out_are_always_the_same(published, tmp_path):
    cases = medseg.cases_slices100(published)
    assert [case.case_id for case in cases] == [f"slice_{i:03d}" for i in range(100)]
    validated = read_all(build(make("slices100"), tmp_path, published), "validation")
    assert sorted(int(case[-3:]) for case, _ in validated) == VALIDATION


def test_unpacked_files_one_folder_down_are_found(published, tmp_path):
    inner = tmp_path / "download" / "medseg"
    shutil.copytree(published, inner)
    for name in ("tr_im", "tr_mask", "val_im"):
        nib.save(nib.load(inner / f"{name}.nii.gz"), inner / f"{name}.nii")
        (inner / f"{name}.nii.gz").unlink()
    assert len(medseg.cases_volumes9(inner.parent)) == 9
    built = build(make("slices100"), tmp_path / "data", inner.parent)
    assert built.info.splits["train"].num_examples == 70


def test_an_incomplete_copy_is_said(source, caplog):
    for name in ("rp_im", "rp_msk", "rp_lung_msk"):
        (source / name / "7.nii.gz").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(medseg.cases_volumes9(source)) == 8
    assert "rp_im holds 8 volumes, but 9 were published" in caplog.text


LAYOUT = {
    "no mask of the slices": (
        "slices100",
        "tr_mask.nii.gz",
        "tr_im.nii* and tr_mask.nii* together",
    ),
    "no unlabelled slices": ("slices100", "val_im.nii.gz", "for val_im.nii* together"),
    "no folder of masks": ("volumes9", "rp_msk", "rp_im and rp_msk and rp_lung_msk together"),
    "no mask": ("volumes9", "rp_msk/4.nii.gz", "rp_im/4.nii.gz: no labels of it in"),
    "no lung": ("volumes9", "rp_lung_msk/9.nii.gz", "rp_im/9.nii.gz: no labels of it in"),
    "no volume": ("volumes9", "rp_im/2.nii.gz", "rp_msk/2.nii.gz: the volume that it belongs to"),
}


@pytest.mark.parametrize("kind", sorted(LAYOUT))
def test_missing_files_are_named_with_the_layout(source, tmp_path, kind):
    config, missing, message = LAYOUT[kind]
    path = source / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetLayoutError) as caught:
        build(make(config), tmp_path / "data", source)
    assert message in str(caught.value)
    assert "rp_lung_msk/1.nii.gz ... 9.nii.gz" in str(caught.value)
    assert not list(tmp_path.glob("data/**/*record*"))


def test_a_half_finished_download_is_no_volume(source, tmp_path):
    (source / "val_im.nii.gz").rename(source / "val_im.nii.gz.part")
    with pytest.raises(DatasetLayoutError, match=r"no val_im.nii.gz or val_im.nii in it"):
        build(make("slices100"), tmp_path / "data", source)


def test_a_stack_of_another_height_is_refused(source, tmp_path):
    shutil.copy(source / "tr_im.nii.gz", source / "val_im.nii.gz")
    with pytest.raises(VolumeError, match=r"val_im.nii.gz: holds 100 slices; expected 10, as pub"):
        build(make("slices100"), tmp_path / "data", source)


def test_a_corrected_stack_is_read_anew(source, tmp_path):
    build(make("slices100"), tmp_path / "one", source)
    stack = np.asarray(nib.load(source / "tr_im.nii.gz").dataobj).T + 1
    dummy_volumes.save(source / "tr_im.nii.gz", stack)
    again = read_all(build(make("slices100"), tmp_path / "two", source), "train+validation+test")
    np.testing.assert_array_equal(schema.true_values(again["slice_007", 0])[..., 0], stack[7])


def test_a_bad_volume_can_be_left_out(source, tmp_path):
    bad = source / "rp_msk/3.nii.gz"
    shutil.copy(source / "rp_im/3.nii.gz", bad)
    with pytest.raises(VolumeError, match=r"rp_msk/3.nii.gz: holds the labels"):
        build(make("volumes9"), tmp_path / "strict", source)
    built = build(make("volumes9", skip_bad=True), tmp_path / "data", source)
    ((case, reason),) = built.info.metadata["skipped"]
    assert case == "medseg_rp_3"
    assert str(bad) in reason
    assert sum(split.num_examples for split in built.info.splits.values()) == 8 * 3
