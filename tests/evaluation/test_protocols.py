"""Both protocols against pysodmetrics and against loops over thresholds."""

import numpy as np
import pytest

from cosup_jax import metrics
from cosup_jax.evaluation.protocols import PROTOCOLS, protocol_named
from tests import needs
from tests.metrics.sod_cases import greys, pysodmetrics, real, synthetic, truths


def soft_of(protocol, grey, truth):
    return PROTOCOLS[protocol].score(grey / 255, truth).soft


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_s_e_and_mae_are_those_of_pysodmetrics(protocol):
    for grey, truth in zip(*synthetic(), strict=True):
        if protocol == "cosup" and np.ptp(grey) not in (0, 255):
            continue  # pysodmetrics stretches every map, which is the other protocol
        found, wanted = soft_of(protocol, grey, truth), pysodmetrics(grey, truth)
        assert found["s_alpha"] == pytest.approx(wanted["s"], abs=1e-6)
        assert found["mae"] == pytest.approx(wanted["mae"], abs=1e-6)
        assert found["e_phi_mean"] == pytest.approx(wanted["e"].mean(), abs=1e-6)
        assert found["e_phi_max"] == pytest.approx(wanted["e"].max(), abs=1e-6)


def test_the_48_real_masks_agree_too():
    sod = needs.module("py_sod_metrics")
    s, e, m = sod.Smeasure(), sod.Emeasure(), sod.MAE()
    rows = []
    for grey, truth in real(48):
        for measure in (s, e, m):
            measure.step(grey, truth.astype(np.uint8) * 255)
        rows.append(soft_of("semiseg", grey, truth))
    mean = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    assert mean["s_alpha"] == pytest.approx(s.get_results()["sm"], abs=1e-6)
    assert mean["e_phi_mean"] == pytest.approx(e.get_results()["em"]["curve"].mean(), abs=1e-6)
    assert mean["mae"] == pytest.approx(m.get_results()["mae"], abs=1e-6)


@pytest.mark.parametrize("prediction", ["blurred", "random", "binary"])
def test_ratios_are_those_of_pysodmetrics_where_there_is_overlap(prediction):
    sod = needs.module("py_sod_metrics")
    grey, truth = greys()[prediction], truths()["lesions"]
    handlers = {
        "dice": sod.DICEHandler,
        "iou": sod.IOUHandler,
        "sensitivity": sod.SensitivityHandler,
        "specificity": sod.SpecificityHandler,
        "precision": sod.PrecisionHandler,
    }
    made = {n: handler(with_dynamic=True, with_adaptive=False) for n, handler in handlers.items()}
    theirs = sod.FmeasureV2(metric_handlers=made)
    theirs.step(grey, truth.astype(np.uint8) * 255)
    rules = PROTOCOLS["semiseg"]
    scored = rules.score(grey / 255, truth)
    found = rules.ratios(scored.counts, scored.levels)
    for name, result in theirs.get_results().items():
        curve = result["dynamic"][::-1]  # by rising threshold
        wanted = np.where(scored.levels.tp > 0, curve, 0).mean()
        assert found[name] == pytest.approx(wanted, abs=1e-6), name


def plain_semiseg(prob, truth):
    """Dice, sensitivity and specificity of a map as the mean over a loop of thresholds."""
    span = prob.max() - prob.min()
    stretched = (prob - prob.min()) / span if span else prob
    grey = np.rint(255 * stretched).astype(int)
    rows = []
    for k in range(256):
        tp, fp = (grey >= k)[truth].sum(), (grey >= k)[~truth].sum()
        fn, tn = truth.sum() - tp, (~truth).sum() - fp
        if tp == 0:
            rows.append((0, 0, 0))
        else:
            rows.append((2 * tp / (2 * tp + fp + fn), tp / (tp + fn), tn / max(tn + fp, 1)))
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("low", [0.0, 0.3])
def test_semiseg_is_the_mean_over_a_loop_of_thresholds(low):
    rng = np.random.default_rng(0)
    truth = rng.random((13, 11)) < 0.3
    prob = low + 0.4 * rng.random(truth.shape) * (0.5 + 0.5 * truth)
    rules = PROTOCOLS["semiseg"]
    scored = rules.score(prob, truth)
    found = rules.ratios(scored.counts, scored.levels)
    names = ("dice", "sensitivity", "specificity")
    np.testing.assert_allclose([found[n] for n in names], plain_semiseg(prob, truth), rtol=1e-9)


def test_cosup_cuts_the_probability_itself_and_not_its_grey_level():
    prob = np.array([[0.5, 0.5001, 0.4999, 0.9]])
    truth = np.array([[True, True, False, False]])
    assert PROTOCOLS["cosup"].score(prob, truth).counts == metrics.Counts(1, 1, 1, 1)


def test_a_saved_picture_scores_as_the_map_it_was_made_of():
    rng = np.random.default_rng(1)
    prob, truth = 0.2 + 0.5 * rng.random((9, 8)), rng.random((9, 8)) < 0.4
    rules = PROTOCOLS["semiseg"]
    again = rules.score(rules.picture(prob) / 255, truth)
    for found, wanted in zip(again, rules.score(prob, truth), strict=True):
        np.testing.assert_equal(found, wanted)


def test_a_map_with_nan_is_refused():
    with pytest.raises(ValueError, match="holds NaN"):
        PROTOCOLS["cosup"].score(np.array([[0.5, np.nan]]), np.array([[True, False]]))


def test_an_unknown_protocol_lists_those_there_are():
    with pytest.raises(ValueError, match="no protocol 'cosop'; there are cosup, semiseg"):
        protocol_named("cosop")
