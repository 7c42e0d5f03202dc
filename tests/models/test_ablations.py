"""Every network of Tables 3, 4 and 5 has its parts, and each part learns: 20 steps on one batch.

Small as they are, almost all the time is compilation. So one is trained that has every head of all
of them, and one of each other fusion. Adam works on one flat vector instead of a hundred leaves;
programs are compiled with quick options.
"""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cosup_jax import losses, models
from cosup_jax.models import cosup

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
# Every head that a row of a table has.
ALL_HEADS = {
    field: tuple(sorted({level for row in NETWORKS.values() for level in row.get(field, ())}))
    for field in HEADS
}
TRAINED = {"all heads": ALL_HEADS | {"fusion": "attention"}} | {
    fusion: FUSIONS[fusion] for fusion in ("sum", "concat")
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


def like(tree, flat):
    """Cuts a flat vector into a tree; `unravel` outside jit would compile a program for it."""
    leaves, structure = jax.tree.flatten(tree)
    pieces = np.split(np.asarray(flat), np.cumsum([leaf.size for leaf in leaves])[:-1])
    return jax.tree.unflatten(
        structure, [piece.reshape(leaf.shape) for piece, leaf in zip(pieces, leaves, strict=True)]
    )


def train(model, batch, steps, quickly):
    """Trains with Adam; returns the loss at each step and the first gradient."""
    image, mask, edge = batch
    variables = models.initialise(model, image.shape, 0)
    params, unravel = jax.flatten_util.ravel_pytree(variables["params"])
    optimiser = optax.adam(1e-2)

    def step(params, stats, state):
        def loss(params):
            out, new = model.apply(
                {"params": unravel(params), "batch_stats": stats},
                image,
                train=True,
                mutable=["batch_stats"],
            )
            return losses.joint_loss(out, mask, edge)[0], new["batch_stats"]

        (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), stats, state, value, gradient

    carry = (params, variables["batch_stats"], optimiser.init(params))
    compiled, values, first = quickly(step, *carry), [], None
    for _ in range(steps):
        *carry, value, gradient = compiled(*carry)
        values.append(float(value))
        first = gradient if first is None else first
    return values, like(variables["params"], first)


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


@pytest.mark.parametrize("name", TRAINED)
def test_the_loss_falls_and_all_heads_learn(name, batch, quickly):
    values, gradient = train(network(TRAINED[name]), batch, 20, quickly)
    assert np.isfinite(values).all()
    assert values[-1] < 0.9 * values[0], values
    modules = gradient.keys() & {module for module, _ in HEADS.values()}
    heads = [head for module in modules for head in gradient[module].values()]
    assert len(heads) == sum(len(TRAINED[name][field]) for field in HEADS if field in TRAINED[name])
    assert all(np.abs(head["kernel"]).max() > 0 for head in heads)
