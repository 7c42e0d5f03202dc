"""Balanced sampling: shares of groups, each slice equally often, the mean over groups."""

import collections

import grain
import numpy as np
import pytest

from cosup_jax.data import pipeline, sampling
from cosup_jax.data.sampling import Group

CASES = ["big.1"] * 12 + ["small.1"] * 3 + ["small.2"] * 2
ILL = [True] * 12 + [True, False, False, False, True]
GROUPS = sampling.parse_groups(
    [("big", "all", 2), ("small", "infected", 1.0), ("small", "empty", 1)]
)


class Slices:
    """A stand-in for prepared slices whose index, case and infection can be read off."""

    def __len__(self):
        return len(CASES)

    def __getitem__(self, i):
        mask = np.full((2, 2, 1), ILL[i], np.uint8)
        image = np.full((2, 2, 1), i, np.float32)
        return {"image": image, "mask": mask, "case_id": CASES[i], "slice_index": i}


def batches(seed=0, **options):
    dataset = grain.MapDataset.source(Slices())
    return iter(pipeline.train_batches(dataset, batch_size=8, seed=seed, groups=GROUPS, **options))


def taken(iterator, steps):
    return [next(iterator)["slice_index"].tolist() for _ in range(steps)]


def test_every_batch_has_the_shares_and_every_slice_of_a_group_comes_equally_often():
    rows = taken(batches(), 30)
    for row in rows:
        of = sampling.membership([CASES[i] for i in row], [ILL[i] for i in row], GROUPS)
        np.testing.assert_array_equal(np.bincount(of), [4, 2, 2])
    counts = collections.Counter(np.ravel(rows).tolist())
    assert [counts[i] for i in range(12)] == [10] * 12
    assert {counts[i] for i in (12, 16)} == {30}
    assert {counts[i] for i in (13, 14, 15)} == {20}


def test_the_order_is_the_seeds_and_goes_on_where_it_was():
    assert taken(batches(1), 9) == taken(batches(1), 9)
    assert taken(batches(1), 9) != taken(batches(2), 9)
    first = batches(3)
    taken(first, 5)
    resumed = batches(3)
    resumed.set_state(first.get_state())
    assert taken(first, 6) == taken(resumed, 6)


def test_processes_share_a_batch():
    shares = [taken(batches(process_index=i, process_count=2), 5) for i in range(2)]
    for one, other, whole in zip(*shares, taken(batches(), 5), strict=True):
        assert sorted(one + other) == sorted(whole)


def test_an_epoch_is_as_long_as_is_said():
    dataset = grain.MapDataset.source(Slices())
    assert pipeline.steps_per_epoch(dataset, 4) == 4
    assert pipeline.steps_per_epoch(dataset, 4, slices=100) == 25
    with pytest.raises(pipeline.EmptySplitError, match="3 slices, fewer than a batch of 4"):
        pipeline.steps_per_epoch(dataset, 4, slices=3)


def test_a_slice_belongs_to_the_first_group_that_it_fits():
    groups = sampling.parse_groups([("a-", "all", 1), ("a", "empty", 1), ("", "infected", 1)])
    of = sampling.membership(["a-1", "a1", "a1", "b"], [True, False, True, True], groups)
    np.testing.assert_array_equal(of, [0, 1, 2, 2])


def test_scores_are_meant_over_groups_that_are_there():
    scores = np.array([1.0, 0.0, 0.0, 0.5])
    ids, ill = ["big.1", "big.1", "small.1", "small.1"], [True, True, True, True]
    assert sampling.mean_of_groups(scores, ids, ill, GROUPS) == pytest.approx((0.5 + 0.25) / 2)
    ill = [True, True, True, False]
    expected = (0.5 + 0.0 + 0.5) / 3
    assert sampling.mean_of_groups(scores, ids, ill, GROUPS) == pytest.approx(expected)
    assert sampling.mean_of_groups(scores, ids, ill, ()) == pytest.approx(0.375)


def test_groups_that_mean_nothing_or_do_not_fit_are_named():
    for wrong in (("big", "ill", 1), ("big", "all", 0), ("big", "all"), (1, "all", 1)):
        with pytest.raises(sampling.SamplingError, match=r"expected \(start of the case ids"):
            sampling.parse_groups([wrong])
    with pytest.raises(sampling.SamplingError, match="no group for an empty slice of case 'x'"):
        sampling.membership(["x"], [False], [Group("x", "infected", 1.0)])
    dataset = grain.MapDataset.source(Slices())
    with pytest.raises(sampling.SamplingError, match=r"has no slice of rare \(all\)"):
        sampling.mixed(dataset, [Group("rare", "all", 1.0), Group("", "all", 1.0)], seed=0)
