"""Unlabelled slices: their order, how they are written, how sure a label is."""

import numpy as np
import pytest
from PIL import Image

from cosup_jax.data import datasets, preprocess, schema, slice_files
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.training import pseudo

SETTINGS = Preprocessing((32, 32))


@pytest.fixture(scope="module")
def builder(tiny_run):
    data_dir = str(tiny_run.parent / "tfds")
    return datasets.make_builder("lung_phantom", config="tiny", data_dir=data_dir)


def test_the_order_depends_on_the_seed_alone(builder):
    def order(**options):
        pool = pseudo.open_pool(builder, "train", SETTINGS, **options)
        return [piece.file for piece in pool.slices]

    assert order(seed=1) == order(seed=1)
    assert sorted(order(seed=1)) == sorted(order(seed=2))
    assert order(seed=1) != order(seed=2)
    patients = sorted(builder.info.metadata["patients"]["train"])
    kept = order(seed=1, exclude=patients[:1])
    gone = [file for file in order(seed=1) if file not in kept]
    assert kept == [file for file in order(seed=1) if file in kept]
    assert gone
    assert all(patients[0].replace("_", "-") in file for file in gone)
    with pytest.raises(pseudo.PoolError, match=rf"nobody.*patients are {patients[0]}"):
        order(exclude=["nobody"])
    with pytest.raises(pseudo.PoolError, match="no slice left"):
        order(exclude=patients)
    with pytest.raises(pseudo.PoolError, match="no split 'unlabelled' .*has train, validation"):
        pseudo.open_pool(builder, "unlabelled", SETTINGS)


@pytest.mark.parametrize("intensity", ["grey8", "grey16", "unknown", "hu"])
@pytest.mark.parametrize("scaling", ["z_score", "unit"])
def test_a_written_slice_looks_the_same_to_the_network(intensity, scaling, tmp_path):
    random = np.random.default_rng(0)
    dtype = {"grey8": np.uint8, "grey16": np.uint16}.get(intensity, np.int16)
    low, high = {"grey8": (0, 256), "grey16": (0, 65536)}.get(intensity, (-1200, 400))
    image = random.integers(low, high, (40, 50)).astype(dtype)
    example = schema.make_example(image, intensity=intensity, case_id="a/b")
    example["intensity"] = schema.INTENSITIES.index(intensity)
    settings = Preprocessing((32, 32), scaling=scaling)
    mask = random.random((40, 50)) > 0.5
    pseudo.write_slice(example, mask, tmp_path, "a.png", settings)
    written = np.asarray(Image.open(tmp_path / "image" / "a.png"))
    kind = "grey8" if written.dtype == np.uint8 else "grey16"
    found = preprocess.prepare_image(written.astype(np.float32), kind, settings)
    wanted = preprocess.prepare_image(schema.true_values(example)[..., 0], intensity, settings)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask" / "a.png")) > 0, mask)
    assert [path.name for path in (tmp_path / "image").iterdir()] == ["a.png"]


def test_confidence_by_hand():
    p = np.array([[0.9, 0.2], [0.7, 0.1]])
    assert pseudo.confidence(p, p > 0.5) == pytest.approx((2 * 1.6 + 1) / (1.9 + 2 + 1))
    assert pseudo.confidence(np.zeros((2, 2)), np.zeros((2, 2), bool)) == 1
    assert pseudo.confidence(np.ones((2, 2)), np.ones((2, 2), bool)) == 1


def test_a_patient_that_looks_like_a_formula_is_the_same_patient_in_the_index(tmp_path):
    rows = [{"file": "a.png", "case": "c", "patient": "=x", "slice": 3}]
    pseudo.write_index(tmp_path / "index.csv", rows)
    assert "'=x" in (tmp_path / "index.csv").read_text()
    found = slice_files.read_index(tmp_path / "index.csv", {"a": tmp_path / "a.png"}, {})
    assert found["a"].patient_id == "=x"


def test_names_of_files_fit_a_disk_and_differ_however_long_the_cases_are(tmp_path):
    """An index names cases as it likes."""
    image = np.zeros((8, 8, 1), np.float32)
    pieces = [pseudo.Slice(place, "c" * 1000, "p", 999_999_999, image) for place in (0, 99_999)]
    assert len({piece.file for piece in pieces}) == 2
    for piece in pieces:
        example = schema.make_example(np.zeros((8, 8), np.uint8), intensity="grey8", case_id="c")
        example["intensity"] = schema.INTENSITIES.index("grey8")
        pseudo.write_slice(example, np.zeros((8, 8), bool), tmp_path, piece.file, SETTINGS)
        assert (tmp_path / "mask" / piece.file).is_file()
        assert piece.row()["case"] == "c" * 1000
