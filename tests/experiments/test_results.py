"""Seeds taken together, and rows compared."""

import numpy as np
import pytest

from cosup_jax.experiments.results import RowResult, RunResult, differences
from cosup_jax.experiments.tables import Row
from tests.experiments.conftest import write_slices


@pytest.fixture
def scored(tmp_path):
    """Makes a row with the Dice of each patient's slices for each seed."""

    def make(name, *seeds):
        runs = []
        for seed, dice in enumerate(seeds):
            folder = tmp_path / name / str(seed)
            folder.mkdir(parents=True)
            write_slices(folder, dice)
            mean = float(np.mean([v for values in dice.values() for v in values]))
            summary = {"dice": {"mean": mean, "std": 0.0, "n": 1}, "pooled_dice": None}
            runs.append(RunResult(seed, folder, summary, 1, 1, True, 1.0, "1 cpu"))
        return RowResult(Row(name, name), tuple(runs))

    return make


def test_mean_and_sample_deviation_over_seeds(scored):
    row = scored("a", {"p": [0.1]}, {"p": [0.2]}, {"p": [0.3]})
    assert row.spread("dice") == pytest.approx((20.0, 10.0))
    assert row.spread("pooled_dice") is None
    assert scored("b", {"p": [0.1]}).spread("dice") == (pytest.approx(10.0), None)


def test_a_constant_difference_has_no_width(scored):
    base = scored("base", {"p": [0.1, 0.7], "q": [0.3]}, {"p": [0.2, 0.6], "q": [0.3]})
    more = scored("more", {"p": [0.2, 0.8], "q": [0.4]}, {"p": [0.3, 0.7], "q": [0.4]})
    (found,) = differences([base, more], "base")
    assert (found.mean, found.low, found.high) == pytest.approx((10.0, 10.0, 10.0))
    assert found.spread == pytest.approx(0.0, abs=1e-9)
    assert (found.units, found.count) == ("patients", 2)


def test_the_interval_is_that_of_whole_patients(scored):
    """Against every way to draw three patients anew, all equally likely."""
    gains = {"p": [0.0, 0.3, 0.3], "q": [0.1], "r": [-0.2, 0.2]}
    base = scored("base", {p: [0.5] * len(v) for p, v in gains.items()})
    more = scored("more", {p: [0.5 + x for x in v] for p, v in gains.items()})
    (found,) = differences([base, more], "base")
    drawn = [
        100 * np.mean([*gains[a], *gains[b], *gains[c]])
        for a in gains
        for b in gains
        for c in gains
    ]
    assert found.mean == pytest.approx(100 * 0.7 / 6)
    low, high = np.percentile(drawn, [2.5, 97.5], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("patient", ["", "only"])
def test_slices_are_drawn_where_patients_cannot_be(scored, patient):
    from cosup_jax.data.schema import UNKNOWN_PATIENT

    patient = patient or UNKNOWN_PATIENT
    base = scored("base", {patient: [0.5] * 20})
    more = scored("more", {patient: [0.4, 0.6] * 10})
    (found,) = differences([base, more], "base")
    assert (found.units, found.count) == ("slices", 20)
    assert found.low < 0 < found.high
    assert found.spread is None


def test_nothing_is_compared_without_the_reference_or_on_other_slices(scored):
    base, other = scored("base", {"p": [0.1]}), scored("other", {"q": [0.1]})
    assert differences([other], "base") == []
    assert differences([RowResult(base.row, failed="x"), other], "base") == []
    with pytest.raises(ValueError, match="other was scored on other slices"):
        differences([base, other], "base")
