"""The 20 volumes in the packing of Kaggle, and that they are those of covid_ct_seg."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cosup_jax.data import splits
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import build, check_builder, read_all
from tests.dummy import covid_chestct as dummy
from tests.dummy import covid_ct_seg as zenodo
from tfds_builders.covid_chestct import covid_chestct_dataset_builder as covid_chestct
from tfds_builders.covid_ct_seg import covid_ct_seg_dataset_builder as covid_ct_seg

SPLITS = {"train": 9, "validation": 6, "test": 12}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    dummy.write(root)
    return root


@pytest.fixture
def source(published, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(published, tmp_path / "source"))


def make(config="fold0"):
    return lambda data_dir: covid_chestct.Builder(
        config=config, data_dir=data_dir, file_format="array_record"
    )


def test_conforms_and_says_whose_patients_these_are(published, tmp_path, caplog):
    builder = check_builder(make(), tmp_path, SPLITS, manual_dir=published, classes=(0, 1))
    assert builder.name == "covid_chestct"
    assert "never test on it what was trained on one of these" in caplog.text


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """covid_ct_seg, built of the same patients."""
    folder = tmp_path_factory.mktemp("zenodo")
    zenodo.write(folder / "source")

    def make_other(data_dir):
        return covid_ct_seg.Builder(data_dir=data_dir, file_format="array_record")

    return build(make_other, folder / "data", folder / "source")


def test_patients_and_folds_are_those_of_covid_ct_seg(published, other, tmp_path):
    builder = build(make(), tmp_path, published)
    assert builder.info.metadata["patients"] == other.info.metadata["patients"]
    for split in SPLITS:
        mine, theirs = read_all(builder, split), read_all(other, split)
        assert mine.keys() == theirs.keys()
        for key, example in mine.items():
            for field in ("image", "mask", "lung", "patient_id"):
                np.testing.assert_array_equal(example[field], theirs[key][field])


@pytest.mark.parametrize("fold", [2, 3, 4])
def test_training_on_one_and_testing_on_the_other_is_refused(published, other, tmp_path, fold):
    builder = build(make(f"fold{fold}"), tmp_path, published)
    trained = other.info.metadata["patients"]["train"]  # of fold 0: those of folds 2, 3 and 4
    tested = builder.info.metadata["patients"]["test"]
    with pytest.raises(splits.PatientOverlapError, match="stand in both 'train' and 'test'"):
        splits.check_patients_apart({"train": trained, "test": tested})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: shutil.rmtree(s / "lung_mask"), "for ct_scans and infection_mask and lung_mask"),
        (
            lambda s: (s / "infection_mask/coronacases_001.nii").unlink(),
            "ct_scans/coronacases_org_001.nii: no labels of it in",
        ),
        (
            lambda s: (s / "ct_scans/coronacases_org_001.nii").unlink(),
            "infection_mask/coronacases_001.nii: the volume that it belongs to is missing",
        ),
    ],
)
def test_another_layout_is_refused_and_the_expected_one_shown(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(DatasetLayoutError) as caught:
        build(make(), tmp_path / "data", source)
    assert message in str(caught.value)
    assert "ct_scans/   coronacases_org_001.nii ..." in str(caught.value)
    assert "Lung_Mask" not in str(caught.value)


def test_a_damaged_volume_is_refused_or_left_out_and_recorded(source, tmp_path):
    (source / "ct_scans/coronacases_org_001.nii").write_bytes(b"damaged")
    with pytest.raises(VolumeError, match="coronacases_org_001.nii"):
        build(make(), tmp_path / "data", source)
    builder = make()(tmp_path / "data")
    builder.skip_bad = True
    builder = build(lambda _: builder, tmp_path / "data", source)
    ((case_id, reason),) = builder.info.metadata["skipped"]
    assert case_id == "coronacases_001"
    assert "coronacases_org_001.nii" in reason
