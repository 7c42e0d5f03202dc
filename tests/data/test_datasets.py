"""All datasets side by side: each feeds the network, and none tests on patients of another."""

import numpy as np
import pytest

import tfds_builders
from cosup_jax.data import datasets, people, pipeline
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.data.splits import PatientOverlapError
from tests.dummy import write

COVID_CT_SEG = ("covid_ct_seg", "fold0")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds the dummy data of a dataset by name and configuration, each once."""
    root = tmp_path_factory.mktemp("datasets")

    def build(name, config):
        source = root / name
        if not source.exists():
            write.write(name, source)
        builder = datasets.make_builder(name, config=config, data_dir=str(root / "tfds"))
        datasets.prepare(builder, str(source))
        return builder

    return build


@pytest.mark.parametrize("name", tfds_builders.available())
def test_every_dataset_makes_batches(built, name):
    builder = built(name, {"lung_phantom": "tiny", "covid_ct_seg": "fold0"}.get(name, ""))
    for split in ("train", "validation", "test"):
        opened = pipeline.open_split(builder, split, Preprocessing(size=(32, 48)))
        batch = next(iter(pipeline.train_batches(opened, batch_size=2, seed=0)))
        assert batch["image"].shape == batch["mask"].shape == batch["edge"].shape == (2, 32, 48, 1)
        assert np.isfinite(batch["image"]).all()
        assert set(np.unique(batch["mask"])) <= {0, 1}


SHARED = {
    "another fold": (COVID_CT_SEG, "train", ("covid_ct_seg", "fold2"), "test"),
    "another packing": (COVID_CT_SEG, "train", ("covid_chestct", "fold2"), "test"),
    "and the other way round": (("covid_chestct", "fold2"), "train", COVID_CT_SEG, "test"),
    "a part of a split": (COVID_CT_SEG, "train[:1]", ("covid_chestct", "fold0"), "train"),
    "joined splits": (COVID_CT_SEG, "train+test", ("covid_chestct", "fold0"), "test"),
    "pseudo-labelled slices": (("covid_semiseg", "pseudo"), "train", COVID_CT_SEG, "validation"),
    "unlabelled slices": (COVID_CT_SEG, "test", ("covid_semiseg", "default"), "unlabelled"),
    "the paper's own dataset": (("cosup_covid", "patient"), "train", COVID_CT_SEG, "test"),
    "slices of unknown patients": (
        ("medseg_covid", "slices100"),
        "train",
        ("covid_semiseg", "default"),
        "test",
    ),
}


@pytest.mark.parametrize("row", SHARED)
def test_shared_patients_are_refused(built, row):
    trained, train, scored, split = SHARED[row]
    whose = people.people(built(*trained), train)
    with pytest.raises(PatientOverlapError) as caught:
        people.check_apart(built(*scored), split, whose)
    assert f"{split} of {'/'.join(scored)}/" in str(caught.value)
    assert f"holds patients that were trained on, in {'/'.join(trained)}/" in str(caught.value)


def test_the_same_fold_of_another_packing_may_be_scored(built):
    whose = people.people(built(*COVID_CT_SEG), "train+validation")
    assert whose["patients"]
    assert people.check_apart(built("covid_chestct", "fold0"), "test", whose) == ""


def test_where_nobody_can_tell_it_is_said(built):
    whose = people.people(built(*COVID_CT_SEG), "train")
    assert "test of covid_semiseg/default/2.0.0 are not all known" in people.check_apart(
        built("covid_semiseg", "default"), "test", whose
    )
    leaky = built("cosup_covid", "paper")
    said = people.check_apart(leaky, "test", people.people(leaky, "train"))
    assert said == "cosup_covid/paper/1.0.0 has the same patients in several splits, by design"


def test_what_is_asked_for_as_training_data_is_scored_and_called_so(built):
    builder = built(*COVID_CT_SEG)
    whose = people.people(builder, "train")
    assert people.check_apart(builder, "test", whose) == ""
    of_another_version = whose | {"dataset": "covid_ct_seg/fold0/0.9.0"}
    with pytest.raises(PatientOverlapError, match="holds patients that were trained on"):
        people.check_apart(builder, "train", of_another_version)
    said = people.check_apart(builder, "train", of_another_version, of_training=True)
    assert said == people.TRAINED_ON
