"""Seeds taken together, and rows compared."""

import dataclasses

import pytest
from scipy import stats

from cosup_jax.evaluation import comparison
from cosup_jax.experiments.results import RowResult, RunResult, differences
from cosup_jax.experiments.rows import Row
from tests.experiments.conftest import write_scores


@pytest.fixture
def scored(tmp_path):
    """Makes a row with the Dice of each patient's slices for each seed."""

    def make(name, *seeds):
        runs = []
        for seed, dice in enumerate(seeds):
            folder = tmp_path / name / str(seed)
            summary = write_scores(folder, dice)
            runs.append(RunResult(seed, folder, summary, 1, 1, True, 1.0, "1 cpu"))
        return RowResult(Row(name, name, "c2f.py"), tuple(runs))

    return make


def test_mean_and_sample_deviation_over_seeds(scored):
    row = scored("a", {"p": [0.1]}, {"p": [0.2]}, {"p": [0.3]})
    assert row.spread("dice") == pytest.approx((20.0, 10.0))
    assert scored("b", {"p": [0.1]}).spread("pooled_dice") == (pytest.approx(10.0), None)
    assert RowResult(row.row).spread("dice") is None


def test_a_measure_that_a_split_does_not_have_is_left_out(scored):
    row = scored("a", {"p": [0.1]})
    row.runs[0].summary["dice_positive"] = {"mean": None, "std": None, "n": 0}
    assert row.spread("dice_positive") is None


def test_the_difference_is_that_of_patients_with_seeds_averaged(scored):
    base = scored("base", {"p": [0.1, 0.7], "q": [0.3]}, {"p": [0.2, 0.6], "q": [0.3]})
    more = scored("more", {"p": [0.2, 0.8], "q": [0.6]}, {"p": [0.4, 0.8], "q": [0.3]})
    (difference,) = differences([base, more], "base")
    # p gains 0.1 and 0.2, q 0.3 and 0.0: both 0.15
    assert difference.found[:4] == pytest.approx((2, 0.15, 0.15, 0.15))
    assert difference.unit == "patient"


def test_slices_are_paired_where_patients_are_unknown(scored):
    base, more = scored("base", {"": [0.5] * 20}), scored("more", {"": [0.4, 0.6] * 10})
    (difference,) = differences([base, more], "base")
    assert (difference.unit, difference.found.n) == ("slice", 20)
    assert difference.found.low < 0 < difference.found.high
    assert difference.p_seeds is None


def test_seeds_are_compared_by_their_spread(scored):
    """Against the two-sample test of the values themselves."""
    base = scored("base", {"p": [0.50]}, {"p": [0.52]}, {"p": [0.53]})
    wide = scored("wide", {"p": [0.50]}, {"p": [0.60]}, {"p": [0.70]})
    (difference,) = differences([base, wide], "base")
    expected = stats.ttest_ind([0.50, 0.60, 0.70], [0.50, 0.52, 0.53], equal_var=False).pvalue
    assert difference.p_seeds == pytest.approx(expected)


def test_a_variant_is_compared_with_its_base_too(scored):
    base, other = scored("base", {"p": [0.5]}), scored("other", {"p": [0.6]})
    variant = scored("variant", {"p": [0.9]})
    variant = dataclasses.replace(variant, row=dataclasses.replace(variant.row, base="other"))
    found = differences([base, other, variant], "base")
    assert [(d.row.name, d.base.name) for d in found] == [
        ("other", "base"),
        ("variant", "base"),
        ("variant", "other"),
    ]
    assert [d.found.mean for d in found] == pytest.approx([0.1, 0.4, 0.3])
    assert len(differences([base, variant], "base")) == 1


def test_nothing_is_compared_without_the_reference_or_on_other_slices(scored):
    base, other = scored("base", {"p": [0.1]}), scored("other", {"q": [0.1]})
    assert differences([other], "base") == []
    assert differences([RowResult(base.row, failed="x"), other], "base") == []
    with pytest.raises(comparison.ComparisonError, match="not scored on the same slices"):
        differences([base, other], "base")
