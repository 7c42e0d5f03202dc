"""lung_phantom: deterministic, plausible in Hounsfield units, labelled where the lesions are."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cosup_jax import phantom
from cosup_jax.data import datasets
from tests.data.builder_conformance import check_builder, read_all

PATIENTS = {"train": 3, "validation": 2, "test": 2}


@pytest.fixture(scope="module")
def volumes():
    """Infected patients, large enough that thin structures survive."""
    return [phantom.draw_volume(seed, size=128, slices=8, infected=True) for seed in range(1, 6)]


def test_a_seed_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib; from cosup_jax.phantom.volume import draw_volume as draw;"
        "v = draw(7, size=64, slices=3);"
        "print(hashlib.sha256(v.image.tobytes() + v.mask.tobytes()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].strip()) == 64


def test_seeds_are_different_patients(volumes):
    for first, second in itertools.pairwise(volumes):
        assert (first.image != second.image).mean() > 0.5
        assert (first.mask != second.mask).any()


def test_types_shapes_and_spacing(volumes):
    for v in volumes:
        assert v.image.shape == v.mask.shape == v.lung.shape == (8, 128, 128)
        assert (v.image.dtype, v.mask.dtype, v.lung.dtype) == (np.int16, np.uint8, np.uint8)
        z, y, x = v.spacing
        assert 15 < z < 35
        assert y == x
        assert 2.0 < x < 4.0


def test_healthy_twins_have_no_lesion_and_the_same_anatomy():
    ill = phantom.draw_volume(3, size=64, slices=4, infected=True)
    healthy = phantom.draw_volume(3, size=64, slices=4, infected=False)
    assert ill.mask.any()
    assert not healthy.mask.any()
    elsewhere = ndimage.binary_dilation(ill.mask > 0, iterations=8)
    assert np.abs(ill.image - healthy.image)[~elsewhere].max() < 60


def test_about_one_seed_in_six_is_healthy():
    drawn = [phantom.draw_volume(s, size=16, slices=2).mask.any() for s in range(60)]
    assert 0.70 < np.mean(drawn) < 0.95


def test_tissues_have_their_hounsfield_units(volumes):
    for v in volumes:
        inside_lung = ndimage.binary_erosion(v.lung > 0, iterations=2) & (v.mask == 0)
        assert -920 < np.median(v.image[inside_lung]) < -700
        assert np.median(v.image[:, :6, :6]) < -950  # air around the patient
        assert 0.001 < (v.image > 250).mean() < 0.08  # bone
        soft = (v.image > -150) & (v.image < 150)
        assert 0.2 < soft.mean() < 0.75


def test_lesions_are_denser_than_lung_and_lie_inside_the_body(volumes):
    for v in volumes:
        lung = np.median(v.image[(v.lung > 0) & (v.mask == 0)])
        glass, solid = v.image[v.mask == 1], v.image[v.mask == 2]
        assert 80 < np.median(glass) - lung < 500
        if solid.size > 50:
            assert np.median(solid) > np.median(glass) + 150
        body = ndimage.binary_fill_holes(np.abs(v.image + 1000) > 200)
        assert (body | ~(v.mask > 0)).mean() > 0.999


def test_lungs_are_left_and_right_as_radiologists_look_at_them(volumes):
    for v in volumes:
        columns = np.arange(128)
        left, right = ((v.lung == side).sum((0, 1)) for side in (1, 2))
        assert np.average(columns, weights=left) > 64 > np.average(columns, weights=right)


def test_effusion_is_outside_of_the_lung_and_lies_low():
    found = 0
    for seed in range(20):
        v = phantom.draw_volume(seed, size=64, slices=4, infected=True)
        fluid = v.mask == 3
        if fluid.sum() > 30:
            found += 1
            assert not (v.lung[fluid] > 0).any()
            rows = np.arange(64)
            middle = np.average(rows, weights=(v.lung > 0).sum((0, 2)))
            assert np.average(rows, weights=fluid.sum((0, 2))) > middle
    assert found >= 3


def test_the_builder_keeps_to_the_conformance_suite(tmp_path):
    def make(data_dir):
        return datasets.make_builder("lung_phantom", config="tiny", data_dir=str(data_dir))

    builder = check_builder(make, tmp_path, {name: 4 * n for name, n in PATIENTS.items()})
    patients = builder.info.metadata["patients"]
    assert {name: len(ids) for name, ids in patients.items()} == PATIENTS
    classes = set()
    for split in PATIENTS:
        ill = {}
        for example in read_all(builder, split).values():
            classes |= set(np.unique(example["mask"]))
            name = example["case_id"]
            ill[name] = ill.get(name, False) or bool(example["mask"].any())
        assert sorted(ill.values()) == [False] + [True] * (PATIENTS[split] - 1)
    assert {0, 1, 2} <= classes


def test_the_default_has_five_ill_and_a_healthy_patient_to_test_on():
    builder = datasets.make_builder("lung_phantom")
    cases = builder.cases(None)
    for split, fewest in (("train", 20), ("validation", 5), ("test", 5)):
        ill = [case.source.infected for case in cases[split]]
        assert sum(ill) >= fewest
        assert not all(ill)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"size": 8}, {"slices": 0}])
def test_senseless_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="a phantom needs"):
        phantom.draw_volume(**{"seed": 0, **wrong})
