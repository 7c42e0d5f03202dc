"""MosMedData in its published layout, drawn small."""

import itertools
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import build, check_builder, read_all
from tests.dummy import mosmed_covid19 as dummy
from tests.dummy import volumes as dummy_volumes
from tfds_builders.mosmed_covid19 import mosmed_covid19_dataset_builder as mosmed


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    dummy.write(root)
    return root


@pytest.fixture
def source(published, tmp_path):
    """A copy to damage."""
    shutil.copytree(published / "COVID19_1110", tmp_path / "source")
    return tmp_path / "source"


def make(config=None, skip_bad=False):
    def builder(data_dir):
        made = mosmed.Builder(config=config, data_dir=data_dir, file_format="array_record")
        made.skip_bad = skip_bad
        return made

    return builder


def test_conforms(published, tmp_path):
    expected = {"train": 15, "validation": 4, "test": 6}
    builder = check_builder(make(), tmp_path, expected, manual_dir=published, classes=(0, 1))
    assert builder.builder_config.name == "fold0"
    examples = read_all(builder, "train+validation+test")
    assert {case for case, _ in examples} == set(dummy.ANNOTATED)
    for i, name in enumerate(dummy.ANNOTATED):
        drawn = dummy_volumes.draw(i, slices=2 + i % 2, infected=i > 0)
        for z in range(len(drawn.image)):
            example = examples[name, z]
            np.testing.assert_array_equal(example["image"][..., 0], drawn.image[z])
            np.testing.assert_array_equal(example["mask"][..., 0], drawn.mask[z] > 0)
            assert example["has_mask"]
            assert not example["has_lung"]
            np.testing.assert_allclose(example["spacing"], dummy_volumes.SPACING)


def test_every_patient_is_tested_on_once(published, tmp_path):
    folds = [
        build(make(f"fold{i}"), tmp_path, published).info.metadata["patients"] for i in range(5)
    ]
    for i, patients in enumerate(folds):
        assert sorted(itertools.chain(*patients.values())) == dummy.ANNOTATED
        assert patients["validation"] == folds[(i + 1) % 5]["test"]
    assert sorted(itertools.chain(*(f["test"] for f in folds))) == dummy.ANNOTATED


def test_what_is_left_out_is_said(published, caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        found = mosmed.annotated_cases(published)
    assert [case.case_id for case in found] == dummy.ANNOTATED
    assert "1 studies of CT-1 have no mask, and are left out" in caplog.text
    assert "holds 10 masks, but 50 were published" in caplog.text


def remove(name):
    return lambda source: (source / name).unlink()


LAYOUT = {
    "no masks": (lambda s: shutil.rmtree(s / "masks"), "for masks and studies together"),
    "no studies": (lambda s: shutil.rmtree(s / "studies/CT-1"), "CT-1: no such folder"),
    "study missing": (
        remove("studies/CT-1/study_0257.nii.gz"),
        "masks/study_0257_mask.nii.gz: the volume that it belongs to is missing",
    ),
    "study with two masks": (
        lambda s: shutil.copy(s / "masks/study_0257_mask.nii.gz", s / "masks/study_0257.nii.gz"),
        "study_0257_mask.nii.gz: has the name of study_0257.nii.gz; expected one mask each",
    ),
    "no mask at all": (
        lambda s: [path.unlink() for path in (s / "masks").iterdir()],
        "masks: holds no .nii or .nii.gz file",
    ),
}


@pytest.mark.parametrize("kind", sorted(LAYOUT))
def test_missing_files_are_named_with_the_layout(source, tmp_path, kind):
    damage, message = LAYOUT[kind]
    damage(source)
    with pytest.raises(DatasetLayoutError) as caught:
        build(make(), tmp_path / "data", source)
    assert message in str(caught.value)
    assert "masks/study_0255_mask.nii.gz ..." in str(caught.value)


def test_of_two_copies_none_is_chosen_in_silence(published, source, tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("old", "new"):
        shutil.copytree(source, folder / name)
    with pytest.raises(DatasetLayoutError, match=r"both \S+new and \S+old hold masks and studies"):
        build(make(), tmp_path / "data", folder)
    (folder / "old").rename(folder / ".old")
    assert mosmed.annotated_cases(folder)[0].source.image.is_relative_to(folder / "new")
    shutil.copytree(source, folder, dirs_exist_ok=True)
    assert not mosmed.annotated_cases(folder)[0].source.image.is_relative_to(folder / "new")


def test_a_bad_study_can_be_left_out(source, tmp_path):
    shutil.copy(source / "studies/CT-1/study_0260.nii.gz", source / "masks/study_0260_mask.nii.gz")
    Path(source / "studies/CT-1/study_0261.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(VolumeError, match=r"study_026[01]"):
        build(make(), tmp_path / "strict", source)
    built = build(make(skip_bad=True), tmp_path / "data", source)
    skipped = dict(built.info.metadata["skipped"])
    assert set(skipped) == {"study_0260", "study_0261"}
    assert "study_0260_mask.nii.gz: holds the labels" in skipped["study_0260"]
    assert "study_0261.nii.gz: does not begin with a NIfTI" in skipped["study_0261"]
    left = {case for case, _ in read_all(built, "train+validation+test")}
    assert left == set(dummy.ANNOTATED) - set(skipped)
