"""Masks of volumes that are no masks of infection: those of lungs, and what labels are called."""

import json

import numpy as np
import pytest

from cosup_jax.data import datasets, volume_layouts
from cosup_jax.data.builder import DatasetLayoutError, DealingError
from cosup_jax.data.volume_layouts import Dealing
from cosup_jax.scans.nifti import VolumeError
from tests.data.builder_conformance import read_all
from tests.data.test_volume_folder import built
from tests.dummy import volume_folder as dummy
from tests.dummy import volumes
from tests.scans.test_masks import other_tool


def lungs_of(case):
    return (dummy.drawn(case).lung > 0).astype(np.uint8)


def lung_segment(root):
    """A table whose Segmentation, of `bob`, holds one segment, the lungs."""
    path = dummy.write_table(root)
    other_tool(root / "bob", lungs_of("bob"), names=["Lung"]).save_as(root / "bob.dcm")
    return path


def test_a_segmentation_of_lungs_alone_is_no_mask_of_a_healthy_patient(tmp_path):
    said = "case 'bob': .*bob.dcm: none of its segments is infection.*mask_values declares"
    with pytest.raises(VolumeError, match=said):
        built(lung_segment(tmp_path / "mine"), tmp_path)


def test_a_segment_that_is_declared_as_nothing_is_noted(tmp_path, caplog):
    source = lung_segment(tmp_path / "mine")
    builder = built(source, tmp_path, mask_values={0: 0, 1: 0, 255: 1})
    assert not any(example["mask"].any() for example in read_all(builder, "validation").values())
    assert "bob.dcm: none of its segments is infection" in caplog.text


@pytest.mark.parametrize("drawn", [True, False])
def test_a_nifti_mask_of_lungs_is_refused_where_they_are_drawn_and_else_asked_about(
    tmp_path, caplog, drawn
):
    root = tmp_path / "mine"
    dummy.write(root)
    volumes.save(root / "masks/eve.nii.gz", lungs_of("eve"), "LAS")
    if drawn:
        with pytest.raises(VolumeError, match=r"masks/eve\.nii\.gz: marks all of the lungs of"):
            built(root, tmp_path)
        return
    for path in (root / "lungs").iterdir():
        path.unlink()
    (root / "lungs").rmdir()
    built(root, tmp_path)
    assert [case in caplog.text for case in ("'eve': ", "'bob': ")] == [True, False]
    assert "as in healthy lungs; is it a mask of lungs?" in caplog.text


LABELS = {
    "two of one value": (
        {"GGO": 1, "consolidation": 1, "effusion": 3},
        "'GGO' and 'consolidation'",
    ),
    "infection as 0": ({"GGO": 0, "consolidation": 2}, "'GGO' has the value 0"),
    "lungs as 0": ({"lung": 0, "infection": 1}, "'lung' has the value 0"),
    "lungs alone": ({"outside": 0, "lung": 1}, "hold no infection"),
}


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_labels_of_a_dataset_json_that_cannot_be_meant_are_refused(tmp_path, kind):
    labels, message = LABELS[kind]
    dummy.write_nnunet(tmp_path, labels)
    with pytest.raises(DatasetLayoutError, match=message):
        volume_layouts.find(tmp_path, 0, None)


def test_0_is_the_background_whatever_it_is_called(tmp_path):
    dummy.write_nnunet(tmp_path, {"air": 0, "lung": 1, "target": 2})
    assert volume_layouts.find(tmp_path, 0, None).mask_values == {0: 0, 1: 0, 2: 1}


def split_table(root):
    dummy.write(root)
    given = ("train", "train", "train", "val", "test")
    cases = zip(dummy.LABELLED, given, strict=True)
    rows = [f"images/{case}.nii.gz,masks/{case}.nii.gz,{split}" for case, split in cases]
    (root / "volumes.csv").write_text("\n".join(["image,mask,split", *rows]) + "\n")
    return volume_layouts.find(root, 0, None)


@pytest.mark.parametrize("option", [{"fold": 1}, {"folds": 3}, {"seed": "2"}, {"test": False}])
def test_options_of_dealing_are_refused_where_splits_are_given(tmp_path, option):
    found = split_table(tmp_path)
    assert len(volume_layouts.deal(found, Dealing())[0]["train"]) == 3
    with pytest.raises(DealingError, match=f"^{next(iter(option))} of data.config: the splits are"):
        volume_layouts.deal(found, Dealing(**option))


def test_the_fold_of_splits_final_may_be_chosen_and_no_other_dealing(tmp_path):
    dummy.write_nnunet(tmp_path)
    names = list(dummy.LABELLED)
    rounds = [{"train": names[:3], "val": names[3:]}, {"train": names[2:], "val": names[:2]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(rounds))
    found = volume_layouts.find(tmp_path, 1, None)
    assert len(volume_layouts.deal(found, Dealing(fold=1, test=False))[0]["validation"]) == 2
    with pytest.raises(DealingError, match="folds of data.config"):
        volume_layouts.deal(found, Dealing(fold=1, folds=2))


def test_a_training_split_without_infection_is_noted_in_every_run(tmp_path):
    root = tmp_path / "mine"
    dummy.write(root)
    builder = built(root, tmp_path)
    infected = builder.info.metadata["infected"]
    assert (infected["train"] > 0, infected["unlabelled"]) == (True, 0)
    assert "no slice of train" not in datasets.describe(builder)
    for case in builder.info.metadata["cases"]["train"]:
        volumes.save(root / f"masks/{case}.nii.gz", dummy.mask_of(case) * np.uint8(0), "LAS")
    assert "note: no slice of train holds infection" in datasets.describe(built(root, tmp_path))
