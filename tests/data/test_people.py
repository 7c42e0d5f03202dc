"""Whose slices a split holds: parts of splits, joined ones, and runs that start from other runs."""

import unicodedata

import numpy as np
import pytest
import safetensors.numpy

from cosup_jax import runs, weights
from cosup_jax.data import datasets, people
from cosup_jax.data.splits import PatientOverlapError
from tests.data import slice_folders
from tests.phantoms import tiny_config


@pytest.fixture(scope="module")
def tiny(tiny_run):
    """Three patients to train on, two to validate and two to test, of four slices each."""
    builder = datasets.make_builder(
        "lung_phantom", config="tiny", data_dir=str(tiny_run.parent / "tfds")
    )
    datasets.prepare(builder)
    return builder


def patients(numbers):
    return [f"phantom_{n:04d}" for n in numbers]


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    """Four slices to train on, two to validate on and two to test on, each of a patient alone."""
    root = tmp_path_factory.mktemp("lone")
    for i, name in enumerate(("train/a", "train/b", "train/c", "train/d", "val/e", "val/f")):
        slice_folders.add(root / "in", *f"{name}_1".split("/"), seed=i)
    for name in ("g", "h"):
        slice_folders.add(root / "in", "test", f"{name}_1")
    return slice_folders.built(root / "in", root)


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ("train[:3]", [("train", slice(3))]),
        ("train[-2:]", [("train", slice(-2, None))]),
        ("train[:25%]+test[1:]", [("train", slice(3)), ("test", slice(1, None))]),
        ("train+test", [("train", slice(None)), ("test", slice(None))]),
        ("all", [(name, slice(None)) for name in ("train", "validation", "test")]),
    ],
)
def test_a_part_of_a_split_has_the_patients_of_its_slices(tiny, split, parts):
    wanted = set()
    for name, part in parts:
        stored = [example["patient_id"].decode() for example in tiny.as_data_source(name)]
        wanted |= set(stored[part])
    assert people.people(tiny, split)["patients"] == sorted(wanted)


@pytest.mark.parametrize(
    "split", ["test+test", "train[:3]+train[2:]", "train+train[1:2]", "all+test"]
)
def test_a_split_that_takes_slices_twice_is_refused(tiny, split):
    with pytest.raises(people.SplitError, match="takes some slices more than once"):
        people.check_split(tiny, split)


APART = (
    {"train": "train", "validation": "validation", "test": "test"},
    {"train": "train[:2]", "validation": "train[2:3]", "test": "train[3:]"},
    {"train": "train[2:]+test[1:]", "validation": "train[:50%]", "test": "test[:1]"},
)
SHARED = (
    {"train": "train[:6]", "validation": "train[6:]", "test": "test"},
    {"train": "train[:50%]", "validation": "validation", "test": "train[50%:]"},
    {"train": "train", "validation": "validation[:5]", "test": "validation[5:]"},
    {"train": "train+test[:1]", "validation": "validation", "test": "test"},
    {"train": "train+test", "validation": "validation", "test": "test"},
    {"train": "all", "validation": "validation", "test": "test"},
)


@pytest.mark.parametrize("uses", APART)
def test_splits_of_different_patients_are_taken(lone, uses):
    assert people.check_uses(lone, uses) == []


@pytest.mark.parametrize("uses", SHARED)
def test_a_patient_in_two_uses_is_refused(tiny, uses):
    with pytest.raises(PatientOverlapError, match=r"slices of the same patients: phantom_000"):
        people.check_uses(tiny, uses)


def test_a_whole_split_used_twice_is_meant_so_and_said(tiny):
    uses = {"train": "train+validation", "validation": "validation", "test": "test"}
    assert people.check_uses(tiny, uses) == [
        "validation is trained on too; its scores are flattered"
    ]


def test_patients_of_any_run_before_are_remembered(tiny):
    of_two, of_three = (people.people(tiny, split) for split in ("test[:1]", "train"))
    of_one = of_two | {"patients": sorted(set(patients((5, 6))) - set(of_two["patients"]))}
    of_one["dataset"] = "elsewhere/1.0.0"
    chain = people.joined(of_three, [people.joined(of_two, [people.joined(of_one, [])])])
    assert chain["patients"] == patients((0, 1, 2, 5, 6))
    assert [one["dataset"] for one in people.each(chain)] == [
        "lung_phantom/tiny/1.0.0",
        "lung_phantom/tiny/1.0.0",
        "elsewhere/1.0.0",
    ]
    for split in ("test[:1]", "test"):
        with pytest.raises(PatientOverlapError, match="hold"):
            people.check_apart(tiny, split, chain)
        uses = {"train": "train", "validation": "validation", "test": split}
        with pytest.raises(PatientOverlapError, match="weights to start from were trained on"):
            people.check_uses(tiny, uses, chain)
    assert people.check_apart(tiny, "validation", chain) == ""


def test_a_collection_of_unknown_people_is_remembered_through_another_run():
    def unknown(dataset, **more):
        return {"dataset": dataset, "patients": [""], "collection": "italian", **more}

    own = {"dataset": "mine/1", "patients": ["p"], "collection": ""}
    chain = people.joined(own, [unknown("hundred/1")])
    found = [people.shared(unknown("fifty/1"), one) for one in people.each(chain)]
    assert found == [set(), {"italian"}]


def test_unknown_patients_are_told_apart_by_their_slices(tmp_path):
    for number in range(4):
        slice_folders.add(tmp_path / "in", "train", f"thorax{number}x", seed=number)
    slice_folders.add(tmp_path / "in", "val", "v_1")
    builder = slice_folders.built(tmp_path / "in", tmp_path)
    uses = {"train": "train[:2]", "validation": "train[2:]"}
    assert people.check_uses(builder, uses) == []
    with pytest.raises(PatientOverlapError, match=r"thorax\dx"):
        people.check_uses(builder, {"train": "train[:2]", "validation": "train[1:]"})


def test_ids_are_compared_in_one_unicode_form():
    forms = [unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD")]
    first, other = ({"dataset": f"{i}/1", "patients": [f]} for i, f in enumerate(forms))
    assert people.shared(first, other) == {forms[0]}


@pytest.mark.parametrize("wrong", ["tset", "test[", "test[:99]", "test[5:2]", "test[:0]", "a+test"])
def test_what_is_no_split_is_refused_by_name(tiny, wrong):
    with pytest.raises(people.SplitError) as caught:
        people.evaluation_split(tiny, wrong, "validation")
    assert wrong in str(caught.value)


def test_a_test_split_that_is_named_is_scored(tiny, tmp_path):
    for wanted in ("test", "test[:2]", "train[:1]+test"):
        assert people.evaluation_split(tiny, wanted, "validation") == wanted
    without = slice_folders.built(slice_folders.draw(tmp_path / "in"), tmp_path)
    assert people.evaluation_split(without, "test", "validation") == "validation"
    assert people.evaluation_split(tiny, "", "validation") == "validation"
    with pytest.raises(people.SplitError, match=r"no split 'test\[:2\]'"):
        people.evaluation_split(without, "test[:2]", "validation")


def test_a_run_is_refused_before_anything_is_trained(tiny_run, tmp_path):
    from cosup_jax.training import setup

    leaking = tiny_config(tiny_run.parent / "tfds", data__train="train+test[:1]")
    with pytest.raises(PatientOverlapError, match=r"data\.test='test'"):
        setup.make_setup(leaking, tmp_path / "run")
    tuned = tiny_config(
        tiny_run.parent / "tfds",
        init=str(tiny_run),
        data__train="validation",
        data__validation="test",
        data__test="train",
    )
    with pytest.raises(PatientOverlapError, match="weights to start from"):
        setup.make_setup(tuned, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_patients_on_the_card_of_weights_are_remembered(tiny, tiny_run, tmp_path):
    from cosup_jax.training import provenance

    uses = {"train": "train", "validation": "validation", "test": "test"}
    run, path = runs.open_run(tiny_run), tmp_path / "own.safetensors"
    weights.save(path, run, {"trained_on": patients((5,))})
    with pytest.raises(PatientOverlapError, match=r"trained on, in the weights own: phantom_0005"):
        people.check_uses(tiny, uses, provenance.trained_before(str(path)))
    # Of others than the card names nobody knows, and whoever reads a score is told.
    for card in ({}, {"trained_on": ["somebody else"]}):
        weights.save(path, run, card)
        config = tiny_config(tiny_run.parent / "tfds", init=str(path))
        people.check_uses(tiny, uses, provenance.trained_before(config.init))
        told = people.check_apart(tiny, "test", provenance.whose(config, tiny)["trained_on"])
        assert told.startswith("the patients of the data trained on (the weights own) are not all")
    weights.save(path, run, {"trained_on": "nobody"})
    with pytest.raises(weights.WeightsError, match=r"own.safetensors: its card has no list"):
        provenance.trained_before(str(path))


def test_patients_of_the_weights_that_come_with_the_package_are_not_scored(tmp_path):
    from cosup_jax.training import provenance

    for name in ("train/a", "val/b", "test/coronacases_001"):
        slice_folders.add(tmp_path / "in", *f"{name}_1".split("/"))
    built = slice_folders.built(tmp_path / "in", tmp_path)
    uses = {"train": "train", "validation": "validation", "test": "test"}
    with pytest.raises(PatientOverlapError, match="in the weights c2f-base: coronacases_001"):
        people.check_uses(built, uses, provenance.trained_before("c2f-base"))


def test_of_tensors_of_others_nothing_is_known(tmp_path):
    from cosup_jax.training import provenance

    path = tmp_path / "theirs.safetensors"
    safetensors.numpy.save_file({"kernel": np.zeros((3, 3), np.float32)}, path)
    assert provenance.trained_before(str(path)) is None
    assert provenance.trained_before(str(path.with_suffix(".pth"))) is None
