"""Real slices: what is found in their folders, and what the weights of the package find."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from cosup_jax import weights
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.scans import find, images
from cosup_jax.weights import lung_network

REAL = Path(os.environ.get("COSUP_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))


def folder(*parts):
    path = REAL.joinpath(*parts)
    if not path.is_dir():
        pytest.skip(f"no real slices in {path}; set COSUP_REAL_DATA to the folder of both sets")
    return path


def test_the_patients_of_a_folder_are_scans_of_their_own(tmp_path):
    source = folder("covid_ct_seg_slices", "val")
    found, others = find.find_scans([source / "image"], tmp_path)
    with (source.parent / "val_index.csv").open(newline="") as file:
        cases = [row["case"] for row in csv.DictReader(file)]
    assert {scan.name: len(scan.files) for scan in found} == {c: cases.count(c) for c in cases}
    assert not others
    scan = found[-1].read()
    assert scan.intensity == "grey8"
    assert {pixels.shape for pixels in scan.slices} == {(256, 256)}


def test_slices_of_all_sizes_are_one_scan(tmp_path):
    (source,), _ = find.find_scans(
        [folder("covid_semiseg", "TestingSet", "LungInfection-Test", "Imgs")], tmp_path
    )
    scan = source.read()
    assert len(scan.slices) == 48
    assert len({pixels.shape for pixels in scan.slices}) > 1


def test_the_weights_of_the_package_find_real_infection():
    """The bound is low: it tells weights that fit the code from those that do not."""
    if weights.DEFAULT not in weights.names():
        pytest.skip(f"this version comes without the weights {weights.DEFAULT}")
    source = folder("covid_ct_seg_slices", "val")
    paths = sorted((source / "image").glob("*.png"))[::16]
    slices = [images.read_grey(path).astype(np.float32) for path in paths]
    network = weights.load_pretrained()
    found = Segmenter(network)(slices, "grey8", len(slices))
    scores = []
    for path, probability in zip(paths, found, strict=True):
        truth = images.read_codes(source / "mask" / path.name) > 0
        mask = probability > network.threshold
        scores.append(2 * np.count_nonzero(mask & truth) / max(1, mask.sum() + truth.sum()))
    assert np.mean(scores) > 0.5


def test_the_network_of_the_package_finds_experts_lungs():
    """The bound is low: it tells weights that fit the code from those that do not."""
    source = folder("medseg_volumes", "val")
    paths = sorted((source / "image").glob("medseg8_*.png"))[5:45:5]
    network = lung_network.LungNetwork(weights.load_lungs())
    grey = np.stack([images.read_grey(path) for path in paths]).astype(np.float32)
    truth = np.stack([images.read_codes(source / "lung" / path.name) > 0 for path in paths])
    for slices, intensity in ((grey, "grey8"), (grey * 257, "grey16"), (grey * 6 - 1350, "hu")):
        found = network.probabilities(slices, intensity) > network.threshold
        assert 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum()) > 0.93
