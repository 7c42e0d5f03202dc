"""A picture that is validated on among the unlabelled slices is told before anything is trained."""

import pytest
from ml_collections import ConfigDict

from cosup_jax.data import datasets
from cosup_jax.data.splits import PatientOverlapError
from cosup_jax.experiments import trials
from cosup_jax.training import semi
from tests.dummy import volume_folder as dummy
from tests.dummy import volumes
from tests.training.test_semi import semi_config

GIVEN = ("train", "train", "train", "val", "test")
SLICE = "slice 1 of case 'twin' is the picture of slice 1 of case 'dan' of data.validation"


@pytest.fixture
def config(tmp_path):
    """A table of five volumes, one that nobody has labelled, and one like that validated on."""
    root = tmp_path / "mine"
    dummy.write(root)
    image = dummy.drawn("dan").image.copy()
    image[0] = image[-1]  # another file, of which two slices are those of `dan`
    volumes.save(root / "images/twin.nii.gz", image, "LAS")
    cases = zip(dummy.LABELLED, GIVEN, strict=True)
    rows = [f"images/{case}.nii.gz,masks/{case}.nii.gz,p{case},{split}" for case, split in cases]
    rows += [f"images/{dummy.BARE}.nii.gz,,pfay,", "images/twin.nii.gz,,ptwin,"]
    (root / "volumes.csv").write_text("\n".join(["image,mask,patient,split", *rows]) + "\n")
    changes = {"data.name": "volume_folder", "data.config": "", "data.source": str(root)}
    config: ConfigDict = semi_config(str(tmp_path / "tfds"))
    config.update_from_flattened_dict(changes | {"data.train": "train"})
    config.semi.unlabelled = "unlabelled"
    return config


def test_a_picture_validated_on_is_named_with_both_places_before_training(config, tmp_path):
    with pytest.raises(PatientOverlapError, match=f"{SLICE}.*leaves out 'ptwin'"):
        trials.train_semi(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(PatientOverlapError, match=SLICE):
        semi.dry_run(config)


def test_patients_that_are_left_out_may_be_validated_on(config):
    config.semi.exclude_patients = ("ptwin",)
    config.semi.pretrain_batch_size = 2
    semi.open_unlabelled(config)


def test_two_spellings_of_a_name_among_both_are_told_before_training(config, tmp_path):
    """Of names of files they are noted alone, but the folder of labels has an index."""
    root = tmp_path / "mine"
    (root / "volumes.csv").unlink()
    (root / "images/twin.nii.gz").unlink()
    for kind in ("images", "masks", "lungs"):
        for name, case in zip(("s1", "s2", "s3", "s4", "s5", "s04"), dummy.CASES, strict=True):
            path = root / kind / f"{case}.nii.gz"
            if path.exists():  # one volume has neither mask nor lungs
                path.rename(path.with_name(f"{name}.nii.gz"))
    for fold in range(5):
        config.data.config = f"fold={fold}"
        builder = datasets.open_dataset(config.data)
        if builder.info.metadata["patients"]["validation"] == ["s4"]:
            break
    said = "patient 's04' of unlabelled may be 's4' of validation"
    assert said in datasets.describe(builder)
    with pytest.raises(PatientOverlapError, match="the split validation: patient 's4', but the sp"):
        semi.open_unlabelled(config)


def test_slices_of_one_value_are_no_pictures(config):
    """A window above all values leaves nothing to see in any slice."""
    config.semi.pretrain_batch_size = 2
    config.data.window = (9000.0, 2.0)
    semi.open_unlabelled(config)
