"""COVID-19-CT-Seg in its published layout, drawn small."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cosup_jax.data import schema, splits
from cosup_jax.data.builder import Case, DatasetLayoutError
from cosup_jax.scans.names import name_from_file
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import build, check_builder, read_all
from tests.dummy import covid_ct_seg as dummy
from tests.dummy import volumes
from tests.dummy.covid_chestct import image_name as long_name
from tfds_builders.covid_ct_seg import covid_ct_seg_dataset_builder as covid_ct_seg
from tfds_builders.covid_semiseg import covid_semiseg_dataset_builder as covid_semiseg

IMAGES, INFECTION, LUNG = covid_ct_seg.FOLDERS
# All of the 20, as they are published at Zenodo.
PUBLISHED = [f"coronacases_{i:03d}" for i in range(1, 11)] + [
    f"radiopaedia_{name}"
    for name in (
        *("10_85902_1", "10_85902_3", "14_85914_0", "27_86410_0", "29_86490_1", "29_86491_1"),
        *("36_86526_0", "40_86625_0", "4_85506_1", "7_85703_0"),
    )
]

FOLDS = (
    ("coronacases_001", "coronacases_002", "coronacases_003", "coronacases_006"),
    ("coronacases_007", "coronacases_010", "radiopaedia_27", "radiopaedia_36"),
    ("coronacases_008", "radiopaedia_14", "radiopaedia_29", "radiopaedia_40"),
    ("coronacases_004", "coronacases_009", "radiopaedia_4"),
    ("coronacases_005", "radiopaedia_10", "radiopaedia_7"),
)


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
    return lambda data_dir: covid_ct_seg.Builder(
        config=config, data_dir=data_dir, file_format="array_record"
    )


def everything(builder):
    return {key: e for split in builder.info.splits for key, e in read_all(builder, split).items()}


def test_conforms_and_is_upright_with_its_masks_and_lungs(published, tmp_path):
    expected = {"train": 9, "validation": 6, "test": 12}
    builder = check_builder(make(), tmp_path, expected, manual_dir=published, classes=(0, 1))
    found = everything(builder)
    assert len(found) == sum(dummy.SLICES.values())
    for case_id, count in dummy.SLICES.items():
        drawn = dummy.draw(case_id)
        in_hu = case_id.startswith("coronacases")
        image = drawn.image if in_hu else volumes.as_grey8(drawn.image)
        for i in range(count):
            example = found[case_id, i]
            np.testing.assert_array_equal(example["image"][..., 0], image[i])
            np.testing.assert_array_equal(example["mask"][..., 0], drawn.mask[i] > 0)
            np.testing.assert_array_equal(example["lung"][..., 0], drawn.lung[i])
            assert schema.intensity_name(int(example["intensity"])) == ("hu" if in_hu else "grey8")
            np.testing.assert_allclose(example["spacing"], volumes.SPACING)


def test_each_of_the_18_patients_is_tested_on_in_one_of_the_five_folds():
    cases = [Case(name, covid_ct_seg.patient_id(name), None) for name in PUBLISHED]
    for fold, patients in enumerate(FOLDS):
        parts = splits.fold_splits(cases, fold, covid_ct_seg.FOLDS, "covid_ct_seg")
        assert {case.patient_id for case in parts["test"]} == set(patients)


def test_volumes_of_one_patient_are_in_one_split(published, tmp_path):
    patients = {}
    for config in ("fold0", "fold3"):
        builder = build(make(config), tmp_path / config, published)
        for split in builder.info.splits:
            for (case_id, _), example in read_all(builder, split).items():
                patients.setdefault(example["patient_id"].decode(), set()).add(case_id)
        splits.check_patients_apart(builder.info.metadata["patients"])
    assert patients["radiopaedia_10"] == {"radiopaedia_10_85902_1", "radiopaedia_10_85902_3"}
    assert patients["radiopaedia_29"] == {"radiopaedia_29_86490_1", "radiopaedia_29_86491_1"}
    assert len(patients) == 7


@pytest.mark.parametrize("case_id", PUBLISHED)
def test_every_packing_has_the_same_names_for_a_volume(case_id):
    long = long_name(case_id)
    assert covid_ct_seg.case_name(case_id) == covid_ct_seg.case_name(long) == case_id
    name = covid_semiseg.volume_name(f"Data-1_{long}_17")
    assert (name.case_id, name.slice_index) == (case_id, 17)
    assert name.patient_id == covid_ct_seg.patient_id(case_id)


@pytest.mark.parametrize("name", ["coronacases_org_case007", "coronacases_007"])
def test_other_names_in_use_are_understood(name):
    assert covid_ct_seg.case_name(name) == "coronacases_007"
    assert covid_ct_seg.case_name("case009") == "coronacases_009"
    assert covid_ct_seg.case_name("coronacases") is None


def test_values_of_another_kind_than_published_are_said(source, tmp_path, caplog):
    corona, radio = dummy.draw("coronacases_001"), dummy.draw("radiopaedia_10_85902_1")
    volumes.save(source / IMAGES / "coronacases_001.nii.gz", volumes.as_grey8(corona.image), "LAS")
    volumes.save(source / IMAGES / "radiopaedia_10_85902_1.nii.gz", radio.image, "LAS")
    builder = build(make(), tmp_path / "data", source)
    assert "coronacases_001.nii.gz: its values are grey8, but hu were published" in caplog.text
    assert "85902_1.nii.gz: its values are hu, but grey8 were published" in caplog.text
    assert caplog.text.count("were published") == 3
    assert "holds 9 volumes, but 20 were published" in caplog.text
    assert builder.info.metadata["skipped"] == []


def remove(name):
    return lambda source: (source / name).unlink()


BAD = {
    "no lungs": (lambda s: shutil.rmtree(s / LUNG), "for COVID-19-CT-Seg_20cases and Infection"),
    "no volume": (
        lambda s: [path.unlink() for path in (s / IMAGES).iterdir()],
        f"{IMAGES}: holds no .nii or .nii.gz file",
    ),
    "mask missing": (
        remove(f"{INFECTION}/coronacases_002.nii.gz"),
        f"{IMAGES}/coronacases_002.nii.gz: no labels of it in",
    ),
    "lung missing": (
        remove(f"{LUNG}/radiopaedia_7_85703_0.nii.gz"),
        f"{IMAGES}/radiopaedia_7_85703_0.nii.gz: no labels of it in",
    ),
    "volume missing": (
        remove(f"{IMAGES}/coronacases_002.nii.gz"),
        f"{INFECTION}/coronacases_002.nii.gz: the volume that it belongs to is missing",
    ),
    "unknown name": (
        lambda s: (s / IMAGES / "coronacases_002.nii.gz").rename(s / IMAGES / "scan2.nii.gz"),
        f"{IMAGES}/scan2.nii.gz: not the name of one of the published volumes",
    ),
    "a volume twice": (
        lambda s: (s / IMAGES / "coronacases_org_002.nii").touch(),
        f"{IMAGES}/coronacases_org_002.nii: the same volume as coronacases_002.nii.gz",
    ),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_another_layout_is_refused_and_the_expected_one_shown(source, tmp_path, kind):
    damage, message = BAD[kind]
    damage(source)
    with pytest.raises(DatasetLayoutError) as caught:
        build(make(), tmp_path / "data", source)
    assert message in str(caught.value)
    assert "Infection_Mask/   20 files" in str(caught.value)
    assert not list(tmp_path.glob("data/**/*record*"))


def spoil(name, label):
    drawn = dummy.draw("coronacases_001").lung.copy()
    drawn[0, 0, 0] = label
    return lambda source: volumes.save(source / name / "coronacases_001.nii.gz", drawn, "LAS")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            spoil(INFECTION, 3),
            "coronacases_001.nii.gz: holds the labels 2, 3; expected only [0, 1]",
        ),
        (spoil(LUNG, 3), "coronacases_001.nii.gz: holds the labels 3; expected only [0, 1, 2]"),
        (
            lambda s: (s / IMAGES / "coronacases_001.nii.gz").write_bytes(b"\x1f\x8b"),
            f"{IMAGES}/coronacases_001.nii.gz",
        ),
    ],
)
def test_bad_files_are_refused_or_left_out_and_recorded(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(VolumeError) as caught:
        build(make(), tmp_path / "data", source)
    assert message in str(caught.value)
    assert not list(tmp_path.glob("data/**/*record*"))

    builder = make()(tmp_path / "data")
    builder.skip_bad = True
    builder = build(lambda _: builder, tmp_path / "data", source)
    ((case_id, reason),) = builder.info.metadata["skipped"]
    assert (case_id, message in reason) == ("coronacases_001", True)
    cases = {case_id for case_id, _ in everything(builder)}
    assert cases == set(dummy.SLICES) - {"coronacases_001"}


def test_the_slices_made_of_the_volumes_have_their_names():
    default = Path(__file__).parents[3] / "shared" / "data"
    source = Path(os.environ.get("COSUP_REAL_DATA", default))
    unlabelled = source / "covid_semiseg" / covid_semiseg.PSEUDO / "Imgs"
    labelled = source / "covid_ct_seg_slices"
    if not unlabelled.is_dir() or not labelled.is_dir():
        pytest.skip(f"no real slices at {source}; set COSUP_REAL_DATA to their folder")
    names = {covid_semiseg.volume_name(path.stem).case_id for path in unlabelled.iterdir()}
    assert names == set(PUBLISHED)
    names = {name_from_file(p.stem).case_id for p in labelled.glob("*/image/*")}
    assert names < set(PUBLISHED)
    assert len(names) == 16
