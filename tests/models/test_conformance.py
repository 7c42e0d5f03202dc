"""What every network of the registry must do; a new network joins by a line in NETWORKS.

`tests/golden/logits.json` keeps, for each of them, eight logits of a fixed image and seed. When a
change of these numbers is meant, delete the entry and take the one the failing test prints.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import losses, models

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "logits.json"
# name in the registry → the smallest settings that still have every part of the network
NETWORKS = {
    # every head that a row of Tables 3, 4 and 5 has
    "cosup": {
        "width": 4,
        "blocks": (1, 1, 1, 1),
        "edge_levels": (1, 2, 3, 4, 5),
        "mask_levels": (2, 3, 4, 5),
        "decoder_edge_levels": (1, 2),
        "decoder_mask_levels": (3, 4, 5),
    },
    "fcn8s": {"width": 4, "blocks": (1, 1, 1, 1, 1), "classes": 1},
    "infnet": {"width": 8, "blocks": (1, 1, 1, 1)},
    "multiclass_unet": {"width": 4, "classes": 1},
    "unet": {"width": 4},
    "unetpp": {"width": 4, "deep_supervision": True},
    "attention_unet": {"width": 4},
    "deeplabv3plus": {"width": 4, "blocks": (1, 1, 1, 2)},
    "pspnet": {"width": 4, "blocks": (1, 1, 1, 1)},
    "scrn": {"width": 8, "blocks": (1, 1, 1, 1), "units": 1},
    "f3net": {"width": 4, "blocks": (1, 1, 1, 1)},
    "cenet": {"width": 4, "blocks": (1, 1, 1, 1)},
    "danet": {"width": 4, "blocks": (1, 1, 2, 1)},
    "cpfnet": {"width": 4, "blocks": (1, 1, 1, 1)},
    "acfnet": {"width": 4, "blocks": (1, 1, 1, 1)},
}
# Those that begin with a ResNet, which are compared with plain forms in test_comparators.
COMPARATORS = ("deeplabv3plus", "pspnet", "scrn", "f3net", "cenet", "danet", "cpfnet", "acfnet")
SIZE = (32, 48)
# where a network needs multiples of more than 16
SIZES = {name: (64, 96) for name in ("infnet", "fcn8s", "scrn", "f3net", "cpfnet")}
SIZES["cenet"] = (192, 192)  # the smallest

every_network = pytest.mark.parametrize("name", NETWORKS)
# In bfloat16 the outputs are computed for those with parts of their own; the rest is traced.
HALF = ("cosup", "fcn8s", "infnet", "unetpp", "attention_unet")
# No other axis has this length or a multiple of it, unless slices are laid together with another.
SLICES = 37


def batch(name):
    height, width = SIZES.get(name, SIZE)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([np.cos(y / 3) * np.sin(x / 5), np.cos(x * y / 70)])[..., None]
    return image.astype(np.float32), image > 0.5, np.abs(image - 0.5) < 0.1


def radius(name):
    """Distance from a point of each slice, in heights: coarse enough for any network."""
    height, width = SIZES.get(name, SIZE)
    y, x = np.mgrid[:height, :width] / height
    return np.stack([np.hypot(y - 0.5, x - at) for at in (0.5, 1)])[..., None]


@functools.cache
def network(name):
    model = models.build(name, **NETWORKS[name])
    variables = models.initialise(model, (*SIZES.get(name, SIZE), 1), 0)
    # At 0, where it starts, an attention's factor lets no gradient through to the attention.
    return model, jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 0.5 if "gamma" in str(path[-1]) else leaf, variables
    )


def step_of(name):
    """A training pass: from parameters and statistics to outputs, new statistics, gradients."""
    model = network(name)[0]
    loss_of = losses.build("infnet") if name == "infnet" else losses.joint_loss

    def step(variables, key, image, mask, edge):
        def loss(params):
            out, new = model.apply(
                {**variables, "params": params},
                image,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            value = loss_of(out, mask, edge)[0]
            return value, (value, out, new.get("batch_stats", {}))

        gradient, found = jax.grad(loss, has_aux=True)(variables["params"])
        return *found, gradient

    return step


@functools.cache
def half(name):
    """The forward pass of training in bfloat16, traced once: outputs and new statistics."""
    model = models.build(name, **NETWORKS[name], dtype=jnp.bfloat16)
    key = {"dropout": jax.random.key(0)}
    apply = functools.partial(model.apply, train=True, mutable=["batch_stats"], rngs=key)
    return jax.jit(apply)


@functools.cache
def compiled(quickly, name):
    return quickly(step_of(name), network(name)[1], jax.random.key(0), *batch(name))


@functools.cache
def train_once(quickly, name):
    return compiled(quickly, name)(network(name)[1], jax.random.key(0), *batch(name))[1:]


@pytest.fixture
def run(quickly):
    """One compiled training pass of a network: output, new statistics, gradients."""
    return functools.partial(train_once, quickly)


def test_no_network_is_left_out():
    # GuidedNet is two of the others, one of which has no gradient: see test_multiclass.
    assert set(NETWORKS) | {"guided"} == set(models.available())


@every_network
def test_logits_are_float32_maps_of_the_size_of_the_image(name, run):
    out, stats, gradient = run(name)
    for leaf in jax.tree.leaves(out):
        assert leaf.shape == (2, *SIZES.get(name, SIZE), 1)
        assert leaf.dtype == jnp.float32
        assert np.isfinite(leaf).all()
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((stats, gradient)))


@every_network
def test_heads_are_named(name, run):
    model, out = network(name)[0], run(name)[0]
    assert len(out.edge_logits) == len(model.edge_stages)
    assert len(out.mask_logits) == len(model.mask_stages)


@every_network
def test_every_gradient_is_finite_and_not_zero(name, run):
    for path, leaf in jax.tree_util.tree_leaves_with_path(run(name)[2]):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@every_network
def test_in_bfloat16_what_others_see_is_float32(name):
    """Outputs and statistics; the gradient of one rule of ours is tried in test_convolution."""
    found = jax.eval_shape(half(name), network(name)[1], batch(name)[0])
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("name", HALF)
def test_bfloat16_stays_near_float32(name, run, quickly):
    given = network(name)[1], batch(name)[0]
    found, full = quickly(half(name), *given)(*given)[0], run(name)[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    # Rounding adds up over some twenty normalised layers, most in the attention U-Net (0.12).
    difference = np.linalg.norm(found.logits - full.logits)
    assert difference < 0.2 * np.linalg.norm(full.logits)


@every_network
def test_statistics_change_in_training(name, run):
    old = network(name)[1]["batch_stats"]
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), old, run(name)[1])
    assert jax.tree.all(changed)


def operations(jaxpr):
    """All operations of a traced program, in place of those that call a program what it does."""
    for equation in jaxpr.eqns:
        values = [getattr(value, "jaxpr", value) for value in equation.params.values()]
        called = [value for value in values if hasattr(value, "eqns")]
        for program in called:
            yield from operations(program)
        if not called:
            yield equation


@every_network
def test_in_evaluation_nothing_depends_on_the_other_slices(name):
    """No operation takes the axis of the slices away, and statistics, not mutable, are not new."""
    model, variables = network(name)
    image = jax.ShapeDtypeStruct((SLICES, *SIZES.get(name, SIZE), 1), jnp.float32)
    traced = jax.make_jaxpr(functools.partial(model.apply, train=False))(variables, image)
    of_slices = 0
    for operation in operations(traced.jaxpr):
        given, made = (
            [any(n and n % SLICES == 0 for n in value.aval.shape) for value in values]
            for values in (operation.invars, operation.outvars)
        )
        of_slices += any(given)
        assert all(made) or not any(given), operation
    assert of_slices > 20


@pytest.mark.parametrize("name", ["cosup", *COMPARATORS])
def test_within_thirty_steps_on_one_batch_the_loss_halves_and_stays_there(name, quickly):
    step, variables = compiled(quickly, name), network(name)[1]
    discs = radius(name)
    seen = discs.astype(np.float32), discs < 0.5, np.abs(discs - 0.5) < 0.1
    moment, values = jax.tree.map(np.zeros_like, variables["params"]), []
    for i in range(30):
        # In NumPy from here: JAX would compile three programs for each shape of a parameter.
        value, _, stats, gradient = jax.device_get(step(variables, jax.random.key(i), *seen))
        values.append(float(value))
        # Each step as long as the last, whatever the gradient: Adam without its first moment.
        moment = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * np.square(g), moment, gradient)
        params = jax.tree.map(
            lambda p, m, g, i=i: p - 0.02 * g / np.sqrt(m / (1 - 0.9 ** (i + 1)) + 1e-12),
            variables["params"],
            moment,
            gradient,
        )
        variables = {"params": params, "batch_stats": stats}
        if max(values[-3:]) < values[0] / 2:
            return
    pytest.fail(f"the loss did not halve: {values}")


@every_network
def test_a_wrong_size_says_what_to_pad_to(name):
    model, variables = network(name)
    with pytest.raises(ValueError, match="pad.* to "):
        model.apply(variables, np.zeros((1, 33, 47, 1), np.float32), train=False)


@every_network
def test_logits_of_a_fixed_seed_are_the_golden_ones(name, run):
    out = run(name)[0]
    height, width = out.logits.shape[1:3]
    found = {
        "logits": out.logits[:, 5 :: height // 2, 7 :: width // 2, 0],
        "edge": [leaf[0, 7, 11, 0] for leaf in out.edge_logits],
        "mask": [leaf[0, 7, 11, 0] for leaf in out.mask_logits],
    }
    found = {
        key: np.round(np.ravel(values).astype(float), 5).tolist() for key, values in found.items()
    }
    wanted = json.loads(GOLDEN.read_text()).get(name)
    assert wanted is not None, f"no golden logits; to accept the present ones add {found}"
    for key, values in found.items():
        np.testing.assert_allclose(values, wanted[key], rtol=1e-3, atol=1e-3, err_msg=str(found))
