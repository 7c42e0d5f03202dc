"""The co-supervision paper's dataset, put together of two small sources."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosup_jax.data.builder import Case, DatasetLayoutError
from cosup_jax.data.splits import PatientOverlapError, check_patients_apart
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import build, check_builder, read_all
from tests.dummy import cosup_covid as dummy
from tests.dummy import covid_ct_seg, medseg_covid, volumes
from tfds_builders.cosup_covid import cosup_covid_dataset_builder as cosup_covid

NINE = len(medseg_covid.ORIENTATIONS)
CASES = 100 + NINE + len(covid_ct_seg.SLICES)
SLICES = 100 + NINE * volumes.SLICES + sum(covid_ct_seg.SLICES.values())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    dummy.write(root)
    return root


@pytest.fixture
def source(published, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(published, tmp_path / "source"))


def make(config="patient"):
    return lambda data_dir: cosup_covid.Builder(
        config=config, data_dir=data_dir, file_format="array_record"
    )


def everything(builder):
    return {key: e for split in builder.info.splits for key, e in read_all(builder, split).items()}


def test_conforms_with_all_kinds_of_infection_as_one(published, tmp_path, caplog):
    expected = {"train": SLICES - 4, "validation": 2, "test": 2}
    builder = check_builder(make(), tmp_path, expected, manual_dir=published, classes=(0, 1))
    found = everything(builder)
    assert len({case_id for case_id, _ in found}) == CASES
    drawn = covid_ct_seg.draw("radiopaedia_7_85703_0")
    classes = np.concatenate([volumes.draw(seed).mask for seed in range(NINE)])
    assert {1, 2} <= set(np.unique(classes))
    for i, mask in enumerate(drawn.mask):
        example = found["radiopaedia_7_85703_0", i]
        np.testing.assert_array_equal(example["mask"][..., 0], mask > 0)
        np.testing.assert_array_equal(example["lung"][..., 0], drawn.lung[i])
    for i, mask in enumerate(volumes.draw(1).mask):
        np.testing.assert_array_equal(found["medseg_rp_2", i]["mask"][..., 0], mask > 0)
    assert sum(not e["mask"].any() for e in found.values()) > 0  # slices without infection stay
    assert f"cosup_covid holds {SLICES} slices; the paper counts 4,449" in caplog.text
    assert "figures do not add up" in caplog.text


def test_only_patients_of_coronacases_are_validated_and_tested_on(published, tmp_path):
    builder = build(make(), tmp_path, published)
    patients = builder.info.metadata["patients"]
    assert patients["validation"] == ["coronacases_001"]
    assert patients["test"] == ["coronacases_004"]
    assert {"", "medseg_rp_1", "radiopaedia_10", "coronacases_002"} < set(patients["train"])
    assert builder.info.metadata["patients_apart"] is True


def test_of_the_ten_coronacases_two_are_validated_on_and_two_tested_on():
    names = [f"coronacases_{i:03d}" for i in range(1, 11)]
    parts = cosup_covid.split_by_patient([Case(name, name, None) for name in names])
    found = {split: [case.case_id[-3:] for case in group] for split, group in parts.items()}
    assert found["validation"] == ["006", "010"]
    assert found["test"] == ["004", "009"]


def test_the_papers_split_conforms_and_says_loudly_that_it_leaks(published, tmp_path, caplog):
    held_out = round(SLICES * 449 / 4449)
    expected = {"train": SLICES - 2 * held_out, "validation": held_out, "test": held_out}
    builder = check_builder(make("paper"), tmp_path, expected, manual_dir=published, classes=(0, 1))
    assert len(everything(builder)) == SLICES  # so no slice is in two splits
    assert "THE SAME PATIENTS ARE IN SEVERAL SPLITS" in caplog.text
    assert builder.info.metadata["patients_apart"] is False
    with pytest.raises(PatientOverlapError):
        check_patients_apart(builder.info.metadata["patients"])


def test_the_papers_split_of_as_many_slices_has_as_many_to_test_on():
    def read(case):
        return ({"slice_index": i} for i in range(int(case.case_id)))

    sizes = (100, 829, 3520)
    whole = [Case(str(n), "", None) for n in sizes]
    cases = [replace(case, source=cosup_covid._Part(case, read)) for case in whole]
    parts = cosup_covid.split_by_slice(cases)
    count = {k: sum(len(c.source.positions) for c in group) for k, group in parts.items()}
    assert count == {"train": 3551, "validation": 449, "test": 449}
    assert sum(sizes) == count["train"] + 2 * 449 == 4449
    tested = {(c.case_id, i) for c in parts["test"] for i in c.source.positions}
    more = cosup_covid.split_by_slice(cases[::-1])
    assert tested == {(c.case_id, i) for c in more["test"] for i in c.source.positions}


@pytest.mark.parametrize("config", ["patient", "paper"])
def test_a_damaged_volume_is_refused_or_left_out_and_recorded(source, tmp_path, config):
    path = source / "covid_ct_seg/Infection_Mask/coronacases_003.nii.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(VolumeError, match="coronacases_003.nii.gz"):
        build(make(config), tmp_path / "data", source)
    builder = make(config)(tmp_path / "data")
    builder.skip_bad = True
    builder = build(lambda _: builder, tmp_path / "data", source)
    ((case_id, reason),) = builder.info.metadata["skipped"]
    assert (case_id, str(path) in reason) == ("coronacases_003", True)
    left = SLICES - covid_ct_seg.SLICES["coronacases_003"]
    assert sum(split.num_examples for split in builder.info.splits.values()) == left


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("covid_ct_seg", "covid_ct_seg: no such folder"),
        ("covid_ct_seg/Lung_Mask", "for COVID-19-CT-Seg_20cases and Infection_Mask and Lung_Mask"),
        ("medseg_covid/tr_mask.nii.gz", "tr_mask.nii"),
        ("medseg_covid/rp_msk/3.nii.gz", "rp_im/3.nii.gz: no labels of it in"),
        ("covid_ct_seg/Lung_Mask/coronacases_003.nii.gz", "coronacases_003.nii.gz: no labels"),
    ],
)
def test_another_layout_is_refused_and_the_expected_one_shown(source, tmp_path, missing, message):
    path = source / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetLayoutError) as caught:
        build(make(), tmp_path / "data", source)
    assert message in str(caught.value)
    assert "filled as the dataset of that name expects it" in str(caught.value)
    assert not list(tmp_path.glob("data/**/*record*"))
