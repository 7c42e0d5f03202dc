"""Heads and fusions against the plain forms the paper describes, forward and gradient.

The plain forms resize first and work on `width` channels at full resolution, with flax's own
convolutions; they share the parameter tree with the package's modules, not their arithmetic.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax.models.fusion import AttentionFusion, ConcatFusion, SumFusion, TopProjection
from cosup_jax.models.supervision import SupervisionHeads

WIDTH, SIZE = 6, (32, 48)


def full_size(x):
    return jax.image.resize(x, (len(x), *SIZE, x.shape[-1]), "bilinear")


class PlainHeads(nn.Module):
    levels: tuple[int, ...]

    @nn.compact
    def __call__(self, maps):
        return [nn.Conv(1, (1, 1), name=f"stage{i}")(full_size(maps[i - 1])) for i in self.levels]


class PlainBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        x_u = full_size(nn.Conv(WIDTH, (1, 1), name="project")(x))
        p = nn.sigmoid(nn.Conv(1, (3, 3), name="gate")(x_u))
        return x_u, p, p * x_u


class PlainAttention(nn.Module):
    @nn.compact
    def __call__(self, maps):
        blocks = [PlainBlock(name=f"level{i}")(x) for i, x in enumerate(maps, 1)]
        (x_1, p_1, y_1), others = blocks[0], blocks[1:]
        s_p = x_1 + y_1 + (1 - p_1) * sum(y for _, _, y in others)
        return nn.Conv(1, (1, 1), name="predict")(s_p)


class PlainSum(nn.Module):
    @nn.compact
    def __call__(self, maps):
        levels = [
            full_size(nn.Conv(WIDTH, (1, 1), name=f"level{i}")(x)) for i, x in enumerate(maps, 1)
        ]
        return nn.Conv(1, (1, 1), name="predict")(sum(levels))


class PlainConcat(nn.Module):
    @nn.compact
    def __call__(self, maps):
        levels = [
            full_size(nn.Conv(WIDTH, (1, 1), name=f"level{i}")(x)) for i, x in enumerate(maps, 1)
        ]
        return nn.Conv(1, (1, 1), name="predict")(jnp.concatenate(levels, axis=-1))


class PlainTop(nn.Module):
    @nn.compact
    def __call__(self, maps):
        return nn.Conv(1, (1, 1), name="predict")(maps[0])


PAIRS = {
    "heads": (SupervisionHeads((1, 3, 5)), PlainHeads((1, 3, 5))),
    "attention": (AttentionFusion(WIDTH), PlainAttention()),
    "sum": (SumFusion(WIDTH), PlainSum()),
    "concat": (ConcatFusion(WIDTH), PlainConcat()),
    "none": (TopProjection(), PlainTop()),
}


def five_maps():
    rng = np.random.default_rng(1)
    return [
        rng.standard_normal((2, SIZE[0] >> i, SIZE[1] >> i, WIDTH << max(i - 1, 0)), np.float32)
        for i in range(5)
    ]


def distance(found, wanted):
    """The norm of the difference of two trees, relative to the norm of the second."""

    def norm(tree):
        return np.sqrt(sum(float(np.sum(np.square(leaf, dtype=np.float64))) for leaf in tree))

    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return norm(np.asarray(a) - np.asarray(b) for a, b in pairs) / norm(jax.tree.leaves(wanted))


@pytest.mark.parametrize("kind", PAIRS)
def test_the_cheap_form_is_the_plain_form(kind, strict_dtypes):
    cheap, plain = PAIRS[kind]
    maps, rng = five_maps(), np.random.default_rng(2)
    shapes = jax.eval_shape(lambda: plain.init(jax.random.key(0), maps))
    # Biases too: where they enter before the zero padding of the gate is part of the claim.
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)
    own = jax.eval_shape(lambda: cheap.init(jax.random.key(0), maps, SIZE))
    assert jax.tree.map(lambda leaf: leaf.shape, own) == jax.tree.map(
        lambda leaf: leaf.shape, shapes
    )
    probe = rng.standard_normal((2, *SIZE, 1), np.float32)

    def run(apply):
        def value(params, maps):
            out = apply(params, maps)
            return sum(jnp.sum(leaf * probe) for leaf in jax.tree.leaves(out)), out

        (_, out), gradient = jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))(params, maps)
        return jax.tree.leaves(out), gradient

    found = run(lambda params, maps: cheap.apply(params, maps, SIZE))
    wanted = run(plain.apply)
    assert distance(found[0], wanted[0]) <= 1e-5
    assert distance(found[1][0], wanted[1][0]) <= 1e-5
    assert distance(found[1][1], wanted[1][1]) <= 1e-5


def test_the_attention_form_never_holds_a_wide_map_at_full_size():
    fusion, maps = AttentionFusion(64), five_maps()
    variables = jax.eval_shape(lambda: fusion.init(jax.random.key(0), maps, SIZE))
    program = jax.make_jaxpr(lambda v, m: fusion.apply(v, m, SIZE))(variables, maps)
    made = [variable.aval.shape for eqn in program.eqns for variable in eqn.outvars]
    assert max(s[0] for s in made if s[2:] == SIZE and len(s) == 4) == 10
    assert max(s[-1] for s in made if s[1:3] == SIZE and len(s) == 4) <= 10
