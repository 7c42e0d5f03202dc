"""What the tests of training share."""

import functools

import pytest

from cosup_jax import models, runs
from cosup_jax.training import loop, setup
from tests.phantoms import tiny_config
from tests.training import tiny


@pytest.fixture(autouse=True, scope="package")
def tiny_network():
    """Configurations may name the tiny network here."""
    tiny.register()
    yield
    del models._NETWORKS["tiny"]


def shared(make, kept):
    """Has a function that makes a step give the same one for the same arguments."""

    def what(value):
        """What a value is made of, which two of them may share; the value itself otherwise."""
        if isinstance(value, functools.partial):
            return value.func, value.args, tuple((k, what(v)) for k, v in value.keywords.items())
        return tuple(value) if isinstance(value, list) else value

    def give(*given, **named):
        key = make, *map(what, given), *((name, what(value)) for name, value in named.items())
        return kept.setdefault(key, make(*given, **named))

    return give


@pytest.fixture(autouse=True, scope="package")
def traced_once():
    """Runs of one network, loss and optimizer share their steps, which each would trace anew.

    A test that replaces one of these has steps of its own.
    """
    kept, build_model = {}, runs.build_model

    def one_model(*given):
        model = build_model(*given)
        return kept.setdefault(model, model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "build_model", one_model)
        for name in ("make_optimizer", "parallel_train_step", "parallel_eval_step"):
            patch.setattr(setup, name, shared(getattr(setup, name), kept))
        yield


@pytest.fixture(scope="package")
def data_dir(tmp_path_factory):
    """Where runs find the tiny phantoms; the first of them builds the dataset."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="package")
def quick_run(tiny_network, tmp_path_factory):
    """The folder of a trained run of the tiny network, without evaluation; only to be read.

    Its dataset lies in the folder `tfds` beside it.
    """
    folder = tmp_path_factory.mktemp("quick")
    config = tiny_config(folder / "tfds")
    config.model = tiny.TINY
    loop.train_seeds(config, [config.seed], [folder / "run"])
    return folder / "run"
