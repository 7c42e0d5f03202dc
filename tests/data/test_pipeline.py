"""The input pipeline: every slice once in evaluation, a reproducible order in training."""

import grain
import numpy as np
import pytest

from cosup_jax.data import datasets, pipeline
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.data.sampling import Group


class Slices:
    """A stand-in for prepared slices whose index can be read off."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        flat = np.full((2, 2, 1), i, np.float32)
        label = np.zeros((2, 2, 1), np.uint8)
        names = {"case_id": f"c{i % 3}", "patient_id": "p", "slice_index": i}
        return {"image": flat, "mask": label, "edge": label, **names}


def dataset(n):
    return grain.MapDataset.source(Slices(n))


def taken(batches, steps):
    iterator = iter(batches)
    return [next(iterator)["slice_index"].tolist() for _ in range(steps)]


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 11])
def test_evaluation_sees_every_slice_once_in_order(n):
    seen = []
    for batch in pipeline.eval_batches(dataset(n), 4):
        assert all(len(value) == 4 for value in batch.values())
        real = batch["_mask"] > 0
        seen += batch["slice_index"][real].tolist()
        assert not batch["image"][~real].any()
    assert seen == list(range(n))


def test_slices_are_the_same_from_memory_and_decoded_each_time(phantoms):
    settings = Preprocessing(size=(32, 48))
    kept = pipeline.open_split(phantoms, "validation", settings)
    decoded = pipeline.open_split(phantoms, "validation", settings, cache_gib=0.0)
    assert len(kept) == len(decoded) == 8
    for i in range(8):
        assert kept[i].keys() == decoded[i].keys()
        for name, value in kept[i].items():
            np.testing.assert_array_equal(value, decoded[i][name])
    assert kept[0]["image"].shape == kept[0]["mask"].shape == kept[0]["edge"].shape == (32, 48, 1)


def test_slices_are_unpacked_as_tfds_does(phantoms):
    opened = pipeline.open_split(phantoms, "test", Preprocessing(), prepare=lambda e, _: dict(e))
    source = phantoms.as_data_source(split="test")
    assert len(opened) == len(source) == 8
    for i, expected in enumerate(source):
        for name in set(expected) - {"lung"}:
            np.testing.assert_array_equal(opened[i][name], expected[name])
            assert np.asarray(opened[i][name]).dtype == np.asarray(expected[name]).dtype


def test_splits_can_be_joined_and_cut(phantoms):
    settings = Preprocessing(size=(16, 16))
    joined = pipeline.open_split(phantoms, "train+validation[:2]", settings)
    assert len(joined) == 12 + 2
    with pytest.raises(pipeline.EmptySplitError, match="'train\\[:0\\]' is empty"):
        pipeline.open_split(phantoms, "train[:0]", settings)


def test_a_dataset_is_described_and_its_content_identified(phantoms, tmp_path):
    said = datasets.describe(phantoms)
    assert "train: 12 slices of 3 patients" in said
    again = datasets.make_builder("lung_phantom", config="tiny", data_dir=str(tmp_path))
    datasets.prepare(again)
    names = ["train", "validation"]
    assert datasets.fingerprint(again, names) == datasets.fingerprint(phantoms, names)
    train, validation = (datasets.fingerprint(phantoms, [name]) for name in names)
    assert train != validation


def test_unknown_datasets_and_configurations_list_those_there_are():
    with pytest.raises(ValueError, match=r"covid_semiseg, .*, slice_folder"):
        datasets.make_builder("lung_phantm")
    with pytest.raises(ValueError, match="no configuration .* default, tiny"):
        datasets.make_builder("lung_phantom", config="huge")
    with pytest.raises(ValueError, match="value:class pairs"):
        datasets.parse_mask_values("0,255")


def test_same_seed_same_order_and_other_seeds_and_epochs_another():
    def order(seed):
        return taken(pipeline.train_batches(dataset(20), batch_size=4, seed=seed), 10)

    assert order(1) == order(1)
    assert order(1) != order(2)
    first, second = order(1)[:5], order(1)[5:]
    assert first != second
    assert sorted(np.ravel(first)) == sorted(np.ravel(second)) == list(range(20))


def test_slices_left_out_of_an_epoch_differ_from_epoch_to_epoch():
    batches = taken(pipeline.train_batches(dataset(11), batch_size=4, seed=0), 2 * 12)
    left_out = [
        set(range(11)) - set(np.ravel(batches[i : i + 2])) for i in range(0, len(batches), 2)
    ]
    assert all(len(missing) == 3 for missing in left_out)
    assert set().union(*left_out) == set(range(11))


def test_the_iterator_goes_on_where_its_state_was_taken():
    whole = iter(pipeline.train_batches(dataset(20), batch_size=4, seed=3))
    for _ in range(7):
        next(whole)
    state = whole.get_state()
    resumed = iter(pipeline.train_batches(dataset(20), batch_size=4, seed=3))
    resumed.set_state(state)
    for _ in range(9):
        assert next(whole)["slice_index"].tolist() == next(resumed)["slice_index"].tolist()


@pytest.mark.parametrize("groups", [(), (Group("", "all", 1.0),)])
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_hold_the_blocks_of_each_batch_in_their_order(processes, groups):
    def batches(**options):
        made = pipeline.train_batches(dataset(17), batch_size=8, seed=5, groups=groups, **options)
        return taken(made, 6)

    shares = [batches(process_index=i, process_count=processes) for i in range(processes)]
    for *parts, together in zip(*shares, batches(), strict=True):
        assert [len(part) for part in parts] == [8 // processes] * processes
        assert [i for part in parts for i in part] == together


def test_what_two_processes_have_read_one_goes_on_from():
    shares = {"process_index": 1, "process_count": 2}
    second = iter(pipeline.train_batches(dataset(20), batch_size=4, seed=3, **shares))
    for _ in range(7):
        next(second)
    alone = iter(pipeline.train_batches(dataset(20), batch_size=4, seed=3))
    alone.set_state(second.get_state())
    for _ in range(6):
        whole, half = (next(one)["slice_index"].tolist() for one in (alone, second))
        assert whole[2:] == half


def test_too_few_slices_for_a_batch_are_refused():
    with pytest.raises(pipeline.EmptySplitError, match="3 slices, fewer than a batch of 8"):
        pipeline.train_batches(dataset(3), batch_size=8, seed=0)


def test_processes_must_divide_the_batch():
    with pytest.raises(ValueError, match="not divided by 3 processes"):
        pipeline.train_batches(dataset(30), batch_size=8, seed=0, process_index=0, process_count=3)


def test_only_arrays_travel_to_the_device():
    (batch,) = pipeline.eval_batches(dataset(2), 2)
    assert set(pipeline.for_device(batch)) == {"image", "mask", "edge", "_mask"}
    assert all(value.dtype != object for value in pipeline.for_device(batch).values())
