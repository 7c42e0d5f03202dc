"""UESTC-COVID-19 in its published layout, drawn small."""

import itertools
import logging
import shutil

import numpy as np
import pytest

from cosup_jax.data import schema
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import build, check_builder, read_all
from tests.dummy import uestc_covid19 as dummy
from tests.dummy import volumes as dummy_volumes
from tfds_builders.uestc_covid19 import uestc_covid19_dataset_builder as uestc

EXPERT = sorted(f"part2_{i + 1}" for i in range(dummy.EXPERT))
NOISY = sorted(f"part1_{i + 1}" for i in range(dummy.NOISY))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    dummy.write(root)
    return root


@pytest.fixture
def source(published, tmp_path):
    """A copy to damage."""
    shutil.copytree(published / "UESTC-COVID-19", tmp_path / "source")
    return tmp_path / "source"


def make(config=None, skip_bad=False):
    def builder(data_dir):
        made = uestc.Builder(config=config, data_dir=data_dir, file_format="array_record")
        made.skip_bad = skip_bad
        return made

    return builder


def test_the_experts_part_conforms(published, tmp_path):
    expected = {"train": 16, "validation": 5, "test": 4}
    builder = check_builder(make(), tmp_path, expected, manual_dir=published, classes=(0, 1))
    assert builder.builder_config.name == "fold0"
    examples = read_all(builder, "train+validation+test")
    assert {case for case, _ in examples} == set(EXPERT)
    for i in range(dummy.EXPERT):
        drawn = dummy_volumes.draw(i, slices=2 + i % 2, infected=True)
        values = dummy.in_window(drawn.image)
        for z in range(len(values)):
            example = examples[f"part2_{i + 1}", z]
            read = schema.true_values(example)[..., 0]
            np.testing.assert_allclose(read, values[z], atol=1e-5)
            # The labels' headers place them elsewhere, and are not believed.
            np.testing.assert_array_equal(example["mask"][..., 0], drawn.mask[z] > 0)
            assert schema.intensity_name(example["intensity"]) == "unknown"
            assert not example["has_lung"]


def test_the_noisy_part_is_only_trained_on(published, tmp_path):
    expected = {"train": 10, "validation": 5, "test": 4}
    builder = check_builder(make("noisy"), tmp_path, expected, manual_dir=published, classes=(0, 1))
    patients = builder.info.metadata["patients"]
    assert patients["train"] == NOISY
    clean = build(make("fold0"), tmp_path / "clean", published).info.metadata["patients"]
    assert {k: patients[k] for k in ("validation", "test")} == {
        k: clean[k] for k in ("validation", "test")
    }


def test_every_patient_is_tested_on_once(published, tmp_path):
    tested = []
    for fold in range(5):
        patients = build(make(f"fold{fold}"), tmp_path, published).info.metadata["patients"]
        assert sorted(itertools.chain(*patients.values())) == EXPERT
        tested += patients["test"]
    assert sorted(tested) == EXPERT


def test_an_incomplete_copy_is_said(published, caplog):
    with caplog.at_level(logging.WARNING):
        uestc.part_cases(published, "part1")
    assert "part1 holds 4 volumes, but 70 were published" in caplog.text


def test_experts_labels_do_not_need_the_other_part(source, tmp_path):
    shutil.rmtree(source / "part1")
    assert build(make(), tmp_path / "data", source).info.splits["train"].num_examples == 16


LAYOUT = {
    "no part": ("fold0", "part2", "for part2 together"),
    "no noisy part": ("noisy", "part1", "for part1 together"),
    "no labels": ("fold0", "part2/label", "part2/label: no such folder"),
    "no label": ("fold0", "part2/label/3.nii.gz", "image/3.nii.gz: no labels of it in"),
    "no volume": ("noisy", "part1/image/2.nii.gz", "label/2.nii.gz: the volume that it belongs"),
}


@pytest.mark.parametrize("kind", sorted(LAYOUT))
def test_missing_files_are_named_with_the_layout(source, tmp_path, kind):
    config, missing, message = LAYOUT[kind]
    path = source / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetLayoutError) as caught:
        build(make(config), tmp_path / "data", source)
    assert message in str(caught.value)
    assert "part2/image/*.nii.gz, part2/label/*.nii.gz" in str(caught.value)


def test_a_bad_volume_can_be_left_out(source, tmp_path):
    # Of another number of slices.
    shutil.copy(source / "part2/label/1.nii.gz", source / "part2/label/2.nii.gz")
    with pytest.raises(VolumeError, match=r"label/2.nii.gz: of shape \(32, 32, 2\), but its image"):
        build(make(), tmp_path / "strict", source)
    built = build(make(skip_bad=True), tmp_path / "data", source)
    ((case, reason),) = built.info.metadata["skipped"]
    assert case == "part2_2"
    assert "label/2.nii.gz: of shape" in reason
    assert len({case for case, _ in read_all(built, "train+validation+test")}) == dummy.EXPERT - 1
