"""COVID-SemiSeg in its published layout, drawn small."""

import dataclasses
import itertools
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.preprocess import Preprocessing, prepare_image
from cosup_jax.data.schema import true_values
from cosup_jax.data.splits import PatientOverlapError
from cosup_jax.scans.images import ImageError
from tests.data.builder_conformance import build, check_builder, read_all, stored_bytes
from tests.dummy import covid_semiseg as dummy
from tests.dummy.covid_semiseg import (
    CODES,
    DOCTOR_NUMBERS,
    SOFT,
    VOLUME_SLICES,
    draw_labelled,
    save,
)
from tfds_builders.covid_semiseg import covid_semiseg_dataset_builder as semiseg

SMALL = Preprocessing(size=(64, 64))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    dummy.write(root)
    return root


@pytest.fixture
def source(published, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(published, tmp_path / "source"))


def make(config="default"):
    return lambda data_dir: semiseg.Builder(
        config=config, data_dir=data_dir, file_format="array_record"
    )


def test_conforms(published, tmp_path):
    expected = {"train": 45, "validation": 5, "test": 48, "unlabelled": 6}
    builder = check_builder(make(), tmp_path, expected, manual_dir=published, classes=range(3))
    example = read_all(builder, "test")["slice_99", 0]
    np.testing.assert_array_equal(example["mask"][..., 0], CODES.T)
    np.testing.assert_array_equal(example["image"], 99)
    unlabelled = read_all(builder, "unlabelled")
    assert not any(e["has_mask"] for e in unlabelled.values())
    assert not any(e["has_lung"] for e in unlabelled.values())
    assert len(builder.as_data_source(split="train+validation")) == 50


def test_the_pseudo_labels_are_a_configuration_of_their_own(published, tmp_path):
    expected = {"train": 6, "validation": 5, "test": 48}
    builder = check_builder(
        make("pseudo"), tmp_path, expected, manual_dir=published, classes=range(3)
    )
    examples = read_all(builder, "train")
    assert all(example["has_mask"] for example in examples.values())
    of_radiopaedia = examples["radiopaedia_10_85902_1", 4]["mask"][..., 0]
    np.testing.assert_array_equal(of_radiopaedia, (SOFT >= 128).T)
    of_coronacases = examples["coronacases_001", 12]["mask"][..., 0]
    np.testing.assert_array_equal(of_coronacases, np.rot90(SOFT >= 128))


def test_the_five_to_validate_on_are_always_the_same():
    names = [str(n) for n in DOCTOR_NUMBERS]
    assert len(names) == 50
    chosen = {"4", "13", "44", "49", "67"}
    assert semiseg.validation_names(names) == chosen
    assert semiseg.validation_names(names[::-1]) == chosen


def test_the_volumes_of_one_patient_are_known_as_such(published, tmp_path):
    cases = build(make(), tmp_path, published)
    found = {
        (case, e["patient_id"].decode()) for (case, _), e in read_all(cases, "unlabelled").items()
    }
    assert found == {
        ("coronacases_001", "coronacases_001"),
        ("radiopaedia_10_85902_1", "radiopaedia_10"),
        ("radiopaedia_10_85902_3", "radiopaedia_10"),
        ("radiopaedia_29_86490_1", "radiopaedia_29"),
        ("radiopaedia_29_86491_1", "radiopaedia_29"),
    }
    assert cases.info.metadata["patients"]["test"] == [""]


def test_the_binary_mask_decides_about_the_classes():
    infected = np.array([[0, 0, 0, 1, 1, 1]], bool)
    classes = np.array([[0, 1, 2, 0, 1, 2]], np.uint8)
    merged = semiseg.merge_classes(infected, classes)
    assert merged.dtype == np.uint8
    assert merged.tolist() == [[0, 0, 0, 1, 1, 2]]


def test_a_disagreement_is_logged_with_its_size(source, tmp_path, caplog):
    shorter = (CODES > 1).astype(np.uint8) * 255
    save(source / semiseg.TEST / "GT/99.png", shorter)
    example = read_all(build(make(), tmp_path / "data", source), "test")["slice_99", 0]
    np.testing.assert_array_equal(example["mask"][..., 0], np.where(CODES > 1, CODES, 0).T)
    assert "99.png disagree on 10 pixels; the former decides" in caplog.text


def test_an_incomplete_copy_and_an_untold_patient_are_said(source, tmp_path, caplog):
    for kind, suffix in (("Imgs", "jpg"), ("GT", "png")):
        folder = source / semiseg.PSEUDO / kind
        (folder / f"{VOLUME_SLICES[0]}.{suffix}").rename(folder / f"other.{suffix}")
    with caplog.at_level(logging.WARNING):
        built = build(make(), tmp_path / "data", source)
    assert read_all(built, "unlabelled")["other", 0]["patient_id"] == b""
    assert "holds 6 images, but 1600 were published" in caplog.text
    assert "other.jpg: the name does not tell the patient" in caplog.text


def test_the_folder_above_will_do(published, tmp_path):
    above = tmp_path / "download"
    above.mkdir()
    shutil.copytree(published, above / "Dataset")
    assert build(make(), tmp_path / "data", above).info.splits["test"].num_examples == 48


def remove(name):
    return lambda source: (source / name).unlink()


def replace(name, array):
    return lambda source: save(source / name, array)


BAD = {
    "no classes": (
        lambda s: shutil.rmtree(s / "TestingSet/MultiClassInfection-Test"),
        "MultiClassInfection-Test/GT: no such folder",
        DatasetLayoutError,
    ),
    "no test set": (
        lambda s: shutil.rmtree(s / "TestingSet"),
        "for TrainingSet and TestingSet together",
        DatasetLayoutError,
    ),
    "mask missing": (
        remove(f"{semiseg.DOCTOR}/GT/14.png"),
        "Imgs/14.jpg: no 14.png or .tif in",
        DatasetLayoutError,
    ),
    "class mask without image": (
        replace(f"{semiseg.TEST_CLASSES}/GT/100.png", CODES),
        "GT/100.png: no image of this name",
        DatasetLayoutError,
    ),
    "empty training set": (
        lambda s: (
            [p.unlink() for p in s.glob("TrainingSet/*/Doctor-label/*/*")]
            + [p.unlink() for p in s.glob("TrainingSet/MultiClassInfection-Train/GT/*")]
        ),
        "the split 'train' is empty",
        DatasetLayoutError,
    ),
    "slice in two splits": (
        lambda s: draw_labelled(s, semiseg.TEST, semiseg.TEST_CLASSES, [14]),
        "slice '14' stands in both TrainingSet/LungInfection-Train/Doctor-label and TestingSet",
        PatientOverlapError,
    ),
    "mask of another size": (
        replace(f"{semiseg.TEST}/GT/18.png", np.zeros((3, 3), np.uint8)),
        "GT/18.png: 3 x 3 pixels, but its image",
        ImageError,
    ),
    "class of another size": (
        replace(f"{semiseg.TEST_CLASSES}/GT/18.png", np.zeros((3, 3), np.uint8)),
        "MultiClassInfection-Test/GT/18.png: 3 x 3 pixels",
        ImageError,
    ),
    "soft expert mask": (
        replace(f"{semiseg.DOCTOR}/GT/14.png", SOFT),
        "GT/14.png: the mask holds 4 undeclared value(s): 1 (5 px)",
        ImageError,
    ),
    "unknown class": (
        replace(f"{semiseg.DOCTOR_CLASSES}/GT/14.png", CODES * 2),
        "GT/14.png: the mask holds 1 undeclared value(s): 4 (10 px); expected only [0, 1, 2]",
        ImageError,
    ),
    "unreadable image": (
        lambda s: (s / semiseg.TEST / "Imgs/18.jpg").write_bytes(b"\xff\xd8\xff\xe0"),
        "Imgs/18.jpg: unreadable or truncated",
        ImageError,
    ),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_input_is_refused_and_leaves_nothing(source, tmp_path, kind):
    damage, message, error = BAD[kind]
    damage(source)
    with pytest.raises(error) as caught:
        build(make(), tmp_path / "data", source)
    assert message in str(caught.value)
    assert not list(tmp_path.glob("data/**/*record*"))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.zeros((3, 3), np.uint8), "3 x 3 pixels, but its image"),
        (SOFT.astype(np.uint16) * 256, "16-bit; expected a soft label of 0..255"),
    ],
)
def test_bad_pseudo_labels_are_refused(source, tmp_path, label, message):
    name = f"{semiseg.PSEUDO}/GT/{VOLUME_SLICES[0]}.png"
    save(source / name, label)
    with pytest.raises(ImageError) as caught:
        build(make("pseudo"), tmp_path / "data", source)
    assert f"{name}: {message}" in str(caught.value)


def test_a_missing_folder_names_place_layout_and_the_command_that_needs_none(tmp_path):
    (tmp_path / "file").touch()
    for place in ("nowhere", "file"):
        with pytest.raises(DatasetLayoutError) as caught:
            build(make(), tmp_path / "data", tmp_path / place)
        assert str(tmp_path / place) in str(caught.value)
        assert "TestingSet/LungInfection-Test/{Imgs,GT}" in str(caught.value)
        assert "python train.py --config=configs/quickstart.py" in str(caught.value)


def test_an_interrupted_build_leaves_nothing_to_read(published, tmp_path, monkeypatch):
    read = semiseg.Builder.read_case

    def stop_at_14(self, case):
        if case.case_id == "slice_14":
            raise OSError("disk gone")
        return read(self, case)

    with monkeypatch.context() as patch:
        patch.setattr(semiseg.Builder, "read_case", stop_at_14)
        with pytest.raises(OSError, match="disk gone"):
            build(make(), tmp_path / "data", published)
    assert not make()(tmp_path / "data").is_prepared()
    again = build(make(), tmp_path / "data", published)
    assert stored_bytes(again) == stored_bytes(build(make(), tmp_path / "clean", published))


def test_the_published_files_agree_with_what_the_readme_says(tmp_path, caplog):
    default = Path(__file__).parents[3] / "shared" / "data"
    source = Path(os.environ.get("COSUP_REAL_DATA", default)) / "covid_semiseg"
    if not source.is_dir():
        pytest.skip(f"COVID-SemiSeg is not at {source}; set COSUP_REAL_DATA to its parent")
    builder = semiseg.Builder(data_dir=tmp_path)
    manager = tfds.download.DownloadManager(
        download_dir=tmp_path, manual_dir=source, manual_dir_instructions="none"
    )
    cases = builder.cases(manager)
    count = {name: sum(len(c.source) for c in group) for name, group in cases.items()}
    assert count == {"train": 45, "validation": 5, "test": 48, "unlabelled": 1600}
    assert {c.case_id for c in cases["validation"]} == {f"slice_{n}" for n in (4, 13, 44, 49, 67)}
    assert len(cases["unlabelled"]) == 20
    assert len({c.patient_id for c in cases["unlabelled"]}) == 18
    masks = [next(builder.read_case(c))["mask"] for c in cases["train"]]
    assert {int(v) for mask in masks for v in np.unique(mask)} == {0, 1, 2}
    assert "disagree" not in caplog.text
    assert "were published" not in caplog.text
    volumes = [dataclasses.replace(c, source=c.source[::20]) for c in cases["unlabelled"]]
    means = [
        mean_slice(builder, group)
        for group in (
            cases["test"],
            [c for c in volumes if c.case_id.startswith("coronacases")],
            [c for c in volumes if c.case_id.startswith("radiopaedia")],
        )
    ]
    for one, other in itertools.combinations(means, 2):
        turned = [other[::-1], other[:, ::-1], other[::-1, ::-1], np.rot90(other), other.T]
        assert correlation(one, other) > 0.05 + max(correlation(one, t) for t in turned)


def mean_slice(builder, cases):
    """The mean of the slices of some cases, (64, 64)."""
    examples = itertools.chain.from_iterable(map(builder.read_case, cases))
    return np.mean([prepare_image(true_values(e)[..., 0], "grey8", SMALL) for e in examples], 0)[
        ..., 0
    ]


def correlation(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]
