"""`python -m cosup_jax predict`, the whole of it; and the same from Python."""

import csv

import nibabel as nib
import numpy as np
import pytest

import cosup_jax
from cosup_jax import cli, phantom, weights
from cosup_jax.data.preprocess import prepare_image, resize_image
from cosup_jax.prediction import segmenter
from cosup_jax.scans.geometry import Grid
from cosup_jax.weights import predictor
from tests.scans.nifti_files import ORIENTATIONS, affine_of, forge

SPACING = (5.0, 2.5, 2.0)  # z, y, x


@pytest.fixture(scope="module")
def hu():
    """(Z, H, W) of a phantom, no two of its sides alike."""
    return phantom.draw_volume(1, size=48, slices=6, infected=True).image[:, 2:-2]


def stored_as(hu, orientation, angles=(0, 0, 0)):
    """The voxels in a stored order, and their affine."""
    sides = {"R": SPACING[2], "L": SPACING[2], "A": SPACING[1], "P": SPACING[1]}
    spacing = [sides.get(letter, SPACING[0]) for letter in orientation]
    affine = affine_of(orientation, spacing, angles, (10, -20, 30))
    grid = Grid((1, 1, 1), affine)
    return np.ascontiguousarray(grid.from_axial(hu)), affine


def test_the_mask_lies_on_the_image_for_all_48_orientations(hu, tiny_weights, tmp_path, capsys):
    """In each, the mask is that of the axial slices, and its affine that of the file."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i, orientation in enumerate(ORIENTATIONS):
        angles = (0, 0, 0) if i % 2 else (8, -6, 10)
        suffix = ".nii" if i % 3 else ".nii.gz"
        voxels, affine = stored_as(hu, orientation, angles)
        forge(folder / f"{orientation}{suffix}", voxels, affine)
    command = ["predict", str(folder), "--out", str(out), "--weights", str(tiny_weights)]
    assert cli.main([*command, "--threshold", "0.45"]) == 0
    assert "48 of 48 scans done" in capsys.readouterr().out

    network = weights.load(tiny_weights)
    images = [prepare_image(np.float32(s), "hu", network.preprocessing) for s in hu]
    maps = predictor.make_predictor(network.model, network.variables)(
        np.stack([*images, *images[:2]])
    )
    expected = np.stack([resize_image(p, hu.shape[1:]) for p in maps[: len(hu)]]) > 0.45
    assert 0.05 < expected.mean() < 0.95
    for orientation in ORIENTATIONS:
        mask = nib.load(out / orientation / "mask.nii.gz")
        (source,) = folder.glob(f"{orientation}.nii*")
        np.testing.assert_array_equal(mask.affine, nib.load(source).affine)
        assert "".join(nib.aff2axcodes(mask.affine)) == orientation
        canonical = nib.as_closest_canonical(mask)  # to the right, front, head
        axial = np.asarray(canonical.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]
        np.testing.assert_array_equal(axial, expected, err_msg=orientation)
    with (out / "cohort.csv").open() as file:
        volumes = {row["lesion_ml"] for row in csv.DictReader(file)}
    (volume,) = volumes
    assert float(volume) == pytest.approx(np.count_nonzero(expected) * 0.025, abs=1e-3)


def test_a_bad_scan_is_told_by_the_status_and_the_others_are_done(
    hu, tiny_weights, tmp_path, capsys
):
    voxels, affine = stored_as(hu, "LPS")
    good = forge(tmp_path / "good.nii", voxels, affine)
    bad = tmp_path / "bad.nii"
    bad.write_bytes(good.read_bytes()[:-100])
    command = ["predict", str(bad), str(good), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--weights", str(tiny_weights)]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 scans done" in said
    assert (tmp_path / "out" / "good" / "mask.nii.gz").exists()
    with (tmp_path / "out" / "cohort.csv").open() as file:
        rows = {row["scan"]: row for row in csv.DictReader(file)}
    assert (rows["bad"]["status"], rows["good"]["status"]) == ("failed", "done")
    assert "truncated" in rows["bad"]["reason"]


def test_a_file_in_the_place_of_the_folder_for_results_is_named(hu, tiny_weights, tmp_path, capsys):
    file = forge(tmp_path / "a.nii", *stored_as(hu, "LPS"))
    command = ["predict", str(file), "--out", str(file), "--weights", str(tiny_weights)]
    assert cli.main(command) == 1
    assert f"{file}: something else of this name stands in the way" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.nii"], "nowhere.nii: no such file or folder"),
        (["{file}", "--weights", "nothing"], "there are no weights 'nothing'"),
    ],
)
def test_mistakes_are_told_before_any_work(hu, tmp_path, capsys, arguments, reason):
    file = forge(tmp_path / "a.nii", *stored_as(hu, "LPS"))
    given = [text.format(file=file) for text in arguments]
    assert cli.main(["predict", *given, "--out", str(tmp_path / "out")]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "IPR", "ASL"])
def test_from_python_the_mask_comes_back_in_the_order_of_the_volume(hu, bright, orientation):
    axial = cosup_jax.segment(hu, network=bright)
    assert axial.shape == hu.shape
    assert axial.dtype == bool
    voxels, affine = stored_as(hu, orientation)
    mask = cosup_jax.segment(voxels, affine=affine, network=bright)
    np.testing.assert_array_equal(Grid(voxels.shape, affine).to_axial(mask), axial)


def test_from_python_small_lesions_can_be_dropped(bright):
    volume = np.zeros((3, 32, 32), np.uint8)
    volume[:, 2:20, 2:20] = 200
    volume[1, 28, 28] = 200
    all_of_it = cosup_jax.segment(volume, network=bright)
    assert all_of_it[1, 28, 28]
    kept = cosup_jax.segment(volume, network=bright, spacing=(5, 2, 2), min_lesion_ml=1.0)
    assert not kept[1, 28, 28]
    assert kept[:, 5:15, 5:15].all()


@pytest.mark.parametrize(
    ("volume", "settings", "reason"),
    [
        (np.zeros((4, 4)), {}, "expected three axes"),
        (np.zeros((0, 4, 4)), {}, "expected three axes"),
        (np.full((1, 4, 4), np.nan), {}, "finite numbers only"),
        (np.zeros((1, 32, 32)), {"min_lesion_ml": 1.0}, "give the spacing"),
    ],
)
def test_from_python_what_is_no_volume_is_refused(bright, volume, settings, reason):
    with pytest.raises(ValueError, match=reason):
        cosup_jax.segment(volume, network=bright, **settings)


def test_slices_may_differ_in_size_and_number(bright):
    predict = segmenter.Segmenter(bright)
    slices = [np.float32(np.random.default_rng(i).normal(size=(20 + i, 33))) for i in range(11)]
    found = list(predict(iter(slices), "grey8", len(slices)))
    assert [p.shape for p in found] == [s.shape for s in slices]
    alone = [next(predict(iter([s]), "grey8", 1)) for s in slices]
    for together, single in zip(found, alone, strict=True):
        np.testing.assert_allclose(together, single, atol=1e-6)
        assert together.min() >= 0
        assert together.max() <= 1


def test_batches_shrink_to_the_memory_there_is(bright, monkeypatch):
    monkeypatch.setattr(segmenter, "full_batch", lambda: 8)
    predict = segmenter.Segmenter(bright)
    slices = [np.float32(np.random.default_rng(i).normal(size=(32, 32))) for i in range(9)]
    wide = list(predict(iter(slices), "grey8", 9))
    sizes = []
    real = predictor.Predictor.__call__

    def call(predictor, image):
        sizes.append(len(image))
        return real(predictor, image)

    monkeypatch.setattr(predictor.Predictor, "__call__", call)
    monkeypatch.setattr(segmenter.devices, "free_memory", lambda: 4 * 2.5 * 32 * 32 * 4)
    narrow = list(predict(iter(slices), "grey8", 9))
    assert set(sizes) < {1, 2, 4}
    np.testing.assert_allclose(np.stack(narrow), np.stack(wide), atol=1e-6)
