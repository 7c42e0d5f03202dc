"""The losses of the comparators' authors: values by hand, padding, devices."""

import jax
import numpy as np
import pytest

from cosup_jax import losses
from cosup_jax.losses.supervised import hard_cross_entropy
from cosup_jax.models.output import SegOutput


@pytest.fixture(scope="module")
def seen():
    """Four slices: outputs with two mask maps and one edge map, the mask and the edge."""
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(4, 4, 6, 1)).astype(np.float32) for _ in range(4)]
    mask, edge = (rng.integers(0, 2, (4, 4, 6, 1)).astype(np.uint8) for _ in range(2))
    return SegOutput(logits[0], (logits[1],), tuple(logits[2:])), mask, edge


def compiled(name, **options):
    """A loss as one program: operation by operation every one would be compiled for itself."""
    return jax.jit(losses.build(name, **options))


def entropies(logits, target):
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    g = np.asarray(target)
    return -np.log(np.where(g > 0, p, 1 - p))


def test_each_map_has_its_weight(seen):
    output, mask, edge = seen
    loss = compiled("maps_cross_entropy", prediction=0.7, omega=(0.6, 0.4), zeta=2.0)
    total, parts = loss(*seen)
    maps = zip((0.6, 0.4), output.mask_logits, strict=True)
    wanted = {
        "prediction": entropies(output.logits, mask).mean(),
        "semantic": sum(w * entropies(m, mask).mean() for w, m in maps),
        "edge": 2 * entropies(output.edge_logits[0], edge).mean(),
    }
    for name, value in wanted.items():
        assert float(parts[name]) == pytest.approx(value, rel=1e-5)
    assert float(total) == pytest.approx(
        0.7 * wanted["prediction"] + wanted["semantic"] + wanted["edge"], rel=1e-5
    )


@pytest.mark.parametrize(("hardest", "sure"), [(5, 0.0), (5, 0.7), (1, 0.4), (10**6, 0.7)])
def test_the_hardest_pixels_are_those_of_least_probability(seen, hardest, sure):
    output, mask, _ = seen
    each = np.sort(entropies(output.logits, mask).ravel())[::-1]
    unsure = np.count_nonzero(np.exp(-each) < sure)
    run = jax.value_and_grad(lambda z: hard_cross_entropy(z, mask, hardest, sure))
    found, gradient = jax.jit(run)(output.logits)
    assert float(found) == pytest.approx(each[: max(hardest, unsure)].mean(), rel=1e-5)
    assert np.count_nonzero(gradient) == min(max(hardest, unsure), each.size)


def test_dice_of_infection_and_background(seen):
    output, mask, _ = seen
    p, g = 1 / (1 + np.exp(-output.logits.astype(np.float64))), mask.astype(np.float64)

    def dice(p, g, eps):
        return (2 * (p * g).sum() + eps) / (p.sum() + g.sum() + eps)

    total, parts = compiled("cross_entropy_dice", eps=0.0)(*seen)
    assert float(parts["dice"]) == pytest.approx(1 - dice(p, g, 0), rel=1e-5)
    entropy = entropies(output.logits, mask).mean()
    assert float(total) == pytest.approx(1 - dice(p, g, 0) + entropy, rel=1e-5)
    both = (dice(p, g, 1e-3) + dice(1 - p, 1 - g, 1e-3)) / 2
    parts = compiled("cross_entropy_dice", eps=1e-3, background=True)(*seen)[1]
    assert float(parts["dice"]) == pytest.approx(1 - both, rel=1e-5)


def test_f3net_weighs_its_maps(seen):
    loss = compiled("infnet", weighted_bce=False, omega=(1.0, 0.0))
    one = compiled("infnet", weighted_bce=False)
    output = seen[0].replace(mask_logits=seen[0].mask_logits[:1])
    assert float(loss(*seen)[0]) == pytest.approx(float(one(output, *seen[1:])[0]), rel=1e-6)


LOSSES = {
    "maps_cross_entropy": {"hardest": 7, "omega": 0.4},
    "cross_entropy_dice": {"background": True},
}


@pytest.mark.parametrize("name", LOSSES)
def test_padding_counts_for_nothing_and_two_devices_are_one(name, seen):
    loss = losses.build(name, **LOSSES[name])
    weights = np.array([1, 1, 1, 0], np.float32)
    real = jax.tree.map(lambda leaf: leaf[:3], seen)
    run = compiled(name, **LOSSES[name])
    wanted = float(run(*real)[0])
    assert float(run(*seen, weights=weights)[0]) == pytest.approx(wanted, rel=1e-5)
    spread = jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), (*seen, weights))
    run = jax.pmap(lambda o, m, e, w: loss(o, m, e, weights=w, axis_name="i")[0], axis_name="i")
    np.testing.assert_allclose(run(*spread), wanted, rtol=1e-5)
