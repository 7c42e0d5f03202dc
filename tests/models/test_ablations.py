"""Every network of Tables 3, 4 and 5 has its parts, and the fusions that are compared learn.

That a network with every head of all of them learns, and each head, is in test_conformance.
"""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import losses, models
from cosup_jax.models import cosup
from cosup_jax.models.fusion import ConcatFusion, SumFusion
from cosup_jax.models.output import SegOutput
from tests.models import test_conformance

LOW, HIGH = (1, 2), (3, 4, 5)
MODULES = {
    "esm": {"edge_levels": LOW},
    "assm": {"mask_levels": HIGH},
    "esm*": {"decoder_edge_levels": LOW},
    "assm*": {"decoder_mask_levels": HIGH},
    "afm": {"fusion": "attention"},
}
BASELINE = {"edge_levels": (), "mask_levels": (), "fusion": "none"}
SUBSETS = {
    "+".join(chosen) or "baseline": BASELINE | {k: v for m in chosen for k, v in MODULES[m].items()}
    for n in range(len(MODULES) + 1)
    for chosen in itertools.combinations(MODULES, n)
}
LEVELS = (1, 2, 3, 4, 5)
CO_SUPERVISION = {
    f"c{i}f": {"edge_levels": LEVELS[:i], "mask_levels": LEVELS[i:], "fusion": "attention"}
    for i in LEVELS
}
FUSIONS = {fusion: BASELINE | {"fusion": fusion} for fusion in ("sum", "concat", "attention")}
# C2F and attention are rows of Table 4 as well, and are trained there.
SAME = {"c2f": "esm+assm+afm", "attention": "afm"}
NETWORKS = {
    name: settings
    for name, settings in (SUBSETS | CO_SUPERVISION | FUSIONS).items()
    if name not in SAME
}
HEADS = {
    "edge_levels": ("esm", "stage"),
    "mask_levels": ("assm", "stage"),
    "decoder_edge_levels": ("esm_decoder", "level"),
    "decoder_mask_levels": ("assm_decoder", "level"),
}
FUSION_NAMES = {
    "attention": "afm",
    "sum": "sum_fusion",
    "concat": "concat_fusion",
    "none": "top",
}


def network(settings):
    return models.build("cosup", width=4, blocks=(1, 1, 1, 1), **settings)


@pytest.fixture(scope="module")
def batch():
    """Two slices with a bright blob in noise, the blob, and the line around it."""
    y, x = np.mgrid[:32, :32]
    blobs = [(y - 12) ** 2 + (x - 14) ** 2, (y - 20) ** 2 + (x - 18) ** 2]
    distance = np.sqrt(np.stack(blobs)[..., None])
    mask, edge = distance < 7, np.abs(distance - 7) < 1
    noise = np.random.default_rng(0).standard_normal(mask.shape)
    return (1.5 * mask + 0.5 * noise).astype(np.float32), mask, edge


def test_the_tables_are_complete():
    assert len(SUBSETS) == 32
    assert len({network(settings) for settings in NETWORKS.values()}) == 32 + 4 + 2
    for name, row in SAME.items():
        assert network((CO_SUPERVISION | FUSIONS)[name]) == network(SUBSETS[row])
    assert network(CO_SUPERVISION["c2f"]) == models.build("cosup", width=4, blocks=(1,) * 4)


class Maps(nn.Module):
    """In place of the encoder or the decoder: five maps and a parameter."""

    width: int

    @nn.compact
    def __call__(self, height, width):
        self.param("scale", nn.initializers.ones, (1,))
        channels = (self.width << max(i - 1, 0) for i in range(5))
        return tuple(jnp.ones((2, height >> i, width >> i, c)) for i, c in enumerate(channels))


@pytest.fixture
def maps_alone(monkeypatch):
    """The backbone, which all networks have alike, is left out: its maps come from nowhere."""

    def encoder(width, blocks, policy, name):
        return lambda x, train: Maps(width, name=name)(*x.shape[1:3])

    def decoder(width, policy, name):
        return lambda bridge, stages, train: Maps(width, name=name)(*stages[0].shape[1:3])

    monkeypatch.setattr(cosup, "Encoder", encoder)
    monkeypatch.setattr(cosup, "Decoder", decoder)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_exactly_the_chosen_parts(name, batch, maps_alone):
    settings, image = NETWORKS[name], batch[0]
    model = network(settings)
    start = functools.partial(model.init_with_output, train=False)
    out, variables = jax.eval_shape(start, jax.random.key(0), image)
    chosen = {module: settings.get(field, ()) for field, (module, _) in HEADS.items()}
    modules = {module for module, levels in chosen.items() if levels}
    backbone = {"encoder", "bridge", "decoder"}
    params = variables["params"]
    assert params.keys() == backbone | modules | {FUSION_NAMES[settings["fusion"]]}
    for module, prefix in HEADS.values():
        if chosen[module]:
            assert params[module].keys() == {f"{prefix}{i}" for i in chosen[module]}
    edges, masks = (
        sum(len(settings.get(field, ())) for field in HEADS if kind in field)
        for kind in ("edge", "mask")
    )
    assert (len(out.edge_logits), len(out.mask_logits)) == (edges, masks)


def test_test_conformance_has_every_head_of_a_row():
    heads = {
        field: tuple(sorted({level for row in NETWORKS.values() for level in row.get(field, ())}))
        for field in HEADS
    }
    assert heads.items() <= test_conformance.NETWORKS["cosup"].items()


class Means(nn.Module):
    """In place of the decoder: a convolution of the means of the slice over 1, 2, … 16 pixels."""

    width: int

    @nn.compact
    def __call__(self, x):
        for i in range(5):
            side = 2**i
            mean = nn.avg_pool(x, (side, side), (side, side))
            yield nn.Conv(self.width << max(i - 1, 0), (3, 3), name=f"map{i}")(mean)


@pytest.mark.parametrize("name", ["sum", "concat"])
def test_a_fusion_that_is_compared_learns_and_from_every_map(name, batch, quickly):
    """Twenty steps down the gradient, each as long as the last."""
    image, mask, edge = batch
    fusion = {"sum": SumFusion, "concat": ConcatFusion}[name]

    class Fused(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            maps = tuple(Means(4, name="maps")(x))
            return SegOutput(fusion(4, 1, name=name)(maps, x.shape[1:3]), (), ())

    def step(params):
        def loss(params):
            return losses.joint_loss(model.apply({"params": params}, image, True), mask, edge)[0]

        return jax.value_and_grad(loss)(params)

    model = Fused()
    params = models.initialise(model, image.shape, 0)["params"]
    compiled, values = quickly(step, params), []
    for _ in range(20):
        value, gradient = compiled(params)
        values.append(float(value))
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
        params = jax.tree.map(lambda p, g: p - 0.02 * np.sign(g), params, gradient)
    assert np.isfinite(values).all()
    assert values[-1] < 0.9 * values[0], values
