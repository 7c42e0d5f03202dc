"""A few mutated files of every kind that is read; `.ci/fuzz.py` tries thousands of each."""

import random

import pytest

from tests import fuzzing

NAMES = (
    *("NIfTI", "NIfTI headers", "gzipped NIfTI", "torch zip", "torch stream", "safetensors"),
    *("own weights", "pictures", "arrays", "index CSV", "config.json", "data.json"),
    *("metrics.jsonl", "summary.json", "configurations compared"),
)
EACH = 60


@pytest.fixture(scope="module")
def targets(tiny_run, tmp_path_factory):
    return fuzzing.targets(tiny_run, tmp_path_factory.mktemp("fuzz"))


def test_every_target_is_named_here(targets):
    assert tuple(targets) == NAMES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_only_the_package_refuses_what_is_mutated(name, targets):
    target, folder = targets[name]
    (folder / target.name).write_bytes(target.seeds[0])
    if name != "own weights":  # a seed without tensors, for what it says of itself
        target.read(folder)
    draw, seen = random.Random(name), []
    for _ in range(EACH):
        found, error = fuzzing.try_out(target, folder, draw)
        assert found != fuzzing.OTHER, repr(error)
        seen.append(found)
    assert len(set(seen)) > 1 or name in ("own weights", "metrics.jsonl")
