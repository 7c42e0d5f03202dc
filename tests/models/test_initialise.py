"""Host initialisation: the distribution of the modules' own, and what a draw depends on."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from cosup_jax import models


def leaves(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.fixture(scope="module")
def model():
    return models.build("cosup", width=8, blocks=(1, 1, 1, 1), decoder_edge_levels=(1,))


@pytest.fixture(scope="module")
def drawn(model):
    return models.initialise(model, (32, 32, 1), 5)


@pytest.fixture(scope="module")
def own(model, quickly):
    def init(key):
        return model.init(key, np.zeros((1, 16, 16, 1), np.float32), train=False)

    key = jax.random.key(0, impl="unsafe_rbg")  # whose draws are compiled sooner
    return leaves(quickly(init, key)(key))


def test_the_leaves_are_those_of_the_modules_own_initialisation(own, drawn):
    found = leaves(drawn)
    assert found.keys() == own.keys()
    for path, wanted in own.items():
        assert found[path].shape == wanted.shape, path
        assert found[path].dtype == np.float32, path
        if not path.endswith("kernel"):
            np.testing.assert_array_equal(found[path], wanted, path)
            continue
        # The standard errors of mean and deviation of n draws, five times over.
        n, deviation = wanted.size, np.sqrt(2 / np.prod(wanted.shape[:-1]))
        for draw in (found[path], wanted):
            assert abs(draw.mean()) < 5 * deviation / np.sqrt(n), path
            if n > 30:
                assert abs(draw.std() / deviation - 1) < 5 / np.sqrt(2 * n), path


def test_all_kernels_together_have_the_same_quantiles(own, drawn):

    def standardised(tree):
        kernels = [leaf for path, leaf in tree.items() if path.endswith("kernel")]
        return np.concatenate([(k * np.sqrt(np.prod(k.shape[:-1]) / 2)).ravel() for k in kernels])

    levels = [0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999]
    found, wanted = standardised(leaves(drawn)), standardised(own)
    np.testing.assert_allclose(np.quantile(found, levels), np.quantile(wanted, levels), atol=0.05)


def test_a_draw_depends_on_seed_path_and_shape_alone(model, drawn):
    again, other = (
        models.initialise(model, (64, 48, 1), 5),
        models.initialise(model, (32, 32, 1), 6),
    )
    for path, leaf in leaves(drawn).items():
        np.testing.assert_array_equal(leaves(again)[path], leaf, path)
        assert path.endswith("kernel") != np.array_equal(leaves(other)[path], leaf), path
    kernels = [
        leaf.ravel()[:4].tolist() for path, leaf in leaves(drawn).items() if "kernel" in path
    ]
    assert len({tuple(kernel) for kernel in kernels}) == len(kernels)


def test_networks_share_the_draws_of_the_paths_they_share(drawn):
    baseline = models.build("cosup", width=8, blocks=(1, 1, 2, 1), edge_levels=(2,), fusion="none")
    found, other = leaves(models.initialise(baseline, (32, 32, 1), 5)), leaves(drawn)
    shared = found.keys() & other.keys()
    assert {"params/esm/stage2/kernel", "params/decoder/level1/up/kernel"} <= shared
    for path in shared:
        np.testing.assert_array_equal(found[path], other[path], path)


def test_a_batch_shape_will_do(model, drawn):
    found = models.initialise(model, (4, 32, 32, 1), 5)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, drawn))


def test_a_network_without_normalisation_has_no_statistics():
    class Bare(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Conv(1, (1, 1))(x)

    assert models.initialise(Bare(), (16, 16, 1), 0)["batch_stats"] == {}


def test_a_leaf_without_a_rule_is_refused_by_name():
    class Odd(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.PReLU(name="act")(x)

    with pytest.raises(ValueError, match="params/act/negative_slope"):
        models.initialise(Odd(), (16, 16, 1), 0)


def test_the_shape_of_a_flat_image_is_refused(model):
    with pytest.raises(ValueError, match=r"\(32, 32\).*\(H, W, C\)"):
        models.initialise(model, (32, 32), 0)
