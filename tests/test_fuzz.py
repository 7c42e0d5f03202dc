"""A few mutated files of every kind that is read; `.ci/fuzz.py` tries thousands of each."""

import random

import pytest

from tests.fuzzing import mutations, targets

NAMES = (
    *("NIfTI", "NIfTI headers", "gzipped NIfTI", "torch zip", "torch stream", "safetensors"),
    *("own weights", "pictures", "arrays", "index CSV", "config.json", "configurations compared"),
    *("data.json", "data.json of the run before", "data.json of a run that goes on"),
    *("metrics.jsonl", "summary.json", "per_slice.csv", "selection.jsonl"),
    *("checkpoint: record", "checkpoint: record of an earlier version", "checkpoint: measure"),
    *("checkpoint: names of arrays", "checkpoint: manifest", "checkpoint: arrays"),
    *("dataset: records", "dataset: dataset_info.json", "dataset: features.json"),
    "dataset: metadata.json",
    *("DICOM", "DICOM elements", "enhanced DICOM", "enhanced DICOM elements", "zips of DICOM"),
    *("zips of NIfTI", "Segmentations", "Segmentations' elements", "label volumes"),
)
EACH, SLOW = 60, 5


@pytest.fixture(scope="module")
def found(tiny_run, tmp_path_factory):
    return targets.all_of(tiny_run, tmp_path_factory.mktemp("fuzz"))


def test_every_target_is_named_here(found):
    assert set(found) == set(NAMES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_only_the_package_refuses_what_is_mutated(name, found):
    target, folder = found[name]
    (folder / target.name).write_bytes(target.seeds[0])
    if name != "own weights":  # a seed without tensors, for what it says of itself
        target.read(folder)
    draw, seen = random.Random(name), []
    for _ in range(SLOW if target.slow else EACH):
        outcome, error = mutations.try_out(target, folder, draw)
        assert outcome != mutations.OTHER, repr(error)
        seen.append(outcome)
    assert mutations.REFUSED in seen or target.slow or name == "selection.jsonl"
