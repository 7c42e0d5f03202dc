"""Networks that tell classes apart: masks, labels and volumes of each class."""

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pydicom
import pytest
from flax import linen as nn
from PIL import Image

from cosup_jax import config as configuration
from cosup_jax import models, runs, weights
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.models import SegOutput
from cosup_jax.prediction import findings
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.weights import predictor
from tests.phantoms import CONFIGS
from tests.prediction.scan_files import dicom_folder, process, scan_file, slice_folder, table

FIELDS = ("ground_glass_ml", "ground_glass_percent", "consolidation_ml", "consolidation_percent")


class Halves(nn.Module):
    """Infection is what is bright; it is consolidation in the rows of the upper half."""

    classes: int = 3

    @nn.compact
    def __call__(self, x, train):
        x = jnp.asarray(x)
        upper = (jnp.arange(x.shape[1]) < x.shape[1] // 2).astype(x.dtype)[None, :, None, None]
        return SegOutput(jnp.concatenate([-8 * x, 0 * x, (4 * upper - 2) + 0 * x], axis=-1))


@pytest.fixture(scope="module")
def halves():
    settings = Preprocessing((32, 32))
    return weights.Pretrained("halves", Halves(), {"params": {}}, settings, "1" * 64, {})


def test_each_class_has_its_volume_and_its_label(halves, tmp_path):
    path = scan_file(tmp_path / "a.nii.gz")
    (row,) = process([path], tmp_path / "out", halves, report=True)
    labels = nib.load(tmp_path / "out" / "a" / "classes.nii.gz")
    mask = nib.load(tmp_path / "out" / "a" / "mask.nii.gz")
    np.testing.assert_array_equal(labels.affine, nib.load(path).affine)
    found, marked = (np.asarray(image.dataobj) for image in (labels, mask))
    np.testing.assert_array_equal(found > 0, marked > 0)
    assert 2 in found
    voxel = abs(np.linalg.det(labels.affine[:3, :3])) / 1000
    for label, name in ((1, "ground_glass"), (2, "consolidation")):
        count = int((found == label).sum())
        assert row[f"{name}_ml"] == pytest.approx(count * voxel, abs=1e-3)
        assert row[f"{name}_percent"] == pytest.approx(100 * count / (found > 0).sum(), abs=1e-3)
    assert row["ground_glass_ml"] + row["consolidation_ml"] == pytest.approx(
        row["lesion_ml"], abs=2e-3
    )
    (written,) = table(tmp_path / "out")
    at = list(written).index("slices") + 1
    assert tuple(written)[at : at + 4] == FIELDS
    page = (tmp_path / "out" / "a" / "report.html").read_text()
    assert "Volume of ground-glass" in page
    assert "Consolidation, share of the infection" in page


def test_other_kinds_of_scans_get_labels_too(halves, bright, tmp_path):
    inputs = [slice_folder(tmp_path / "slices"), tmp_path / "ct"]
    images = map(pydicom.dcmread, dicom_folder(inputs[1]))
    rows = process(inputs, tmp_path / "out", halves)
    rows.sort(key=lambda row: row["scan"] != "slices")
    assert [row["status"] for row in rows] == ["done", "done"]
    sizes = "slices of different sizes are no volume"
    assert "ground_glass_ml, ground_glass_percent, consolidation_ml" in rows[0]["notes"]
    assert sizes in rows[0]["notes"]
    picture = Image.open(tmp_path / "out" / "slices" / "classes" / "s0.png")
    mask = np.asarray(Image.open(tmp_path / "out" / "slices" / "mask" / "s0.png"))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture) > 0, mask > 0)
    (path,) = (tmp_path / "out" / rows[1]["scan"]).glob("classes.dcm")
    found = pydicom.dcmread(path)
    labels = [item.SegmentLabel for item in found.SegmentSequence]
    assert labels == ["Ground-glass", "Consolidation"]
    places = {image.SOPInstanceUID: image.ImagePositionPatient for image in images}
    for frame in found.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert places[source.ReferencedSOPInstanceUID] == place
    assert rows[1]["ground_glass_ml"] is not None
    # A network of one class leaves no trace of classes.
    (row,) = process(inputs[:1], tmp_path / "plain", bright)
    assert not set(FIELDS) & {*row, *table(tmp_path / "plain")[0]}
    assert not list((tmp_path / "plain").rglob("classes*"))


def test_infection_is_what_is_not_background(halves):
    values = np.random.default_rng(0).random((2, 48, 40), np.float32)
    found = list(Segmenter(halves).labelled(iter(values), "grey8", 2))
    plain = list(Segmenter(halves)(iter(values), "grey8", 2))
    for (probability, classes), alone in zip(found, plain, strict=True):
        np.testing.assert_array_equal(probability, alone)
        assert (classes[:20] == 2).all()
        assert (classes[28:] == 1).all()
    image = values[:, :32, :32, None]
    each = predictor.Predictor(halves.model, {}, tta=True, by_class=True)(image)
    np.testing.assert_allclose(each.sum(axis=-1), 1, rtol=1e-5)
    alone = predictor.Predictor(halves.model, {}, tta=True)(image)
    np.testing.assert_allclose(1 - each[..., 0], alone, atol=1e-6)


def test_volumes_by_hand():
    found = findings.Findings()
    labels = [np.array([[0, 1, 1, 1]]), np.array([[2, 0, 0, 0]])]
    names = ("ground-glass", "consolidation")
    findings.add_classes(found, labels, names, (10.0, 10.0, 5.0))
    assert found.values == {
        "ground_glass_ml": 1.5,
        "ground_glass_percent": 75.0,
        "consolidation_ml": 0.5,
        "consolidation_percent": 25.0,
    }
    empty = findings.Findings()
    findings.add_classes(empty, [0 * labels[0]], names, None)
    assert set(empty.values.values()) == {None}
    assert empty.reasons["consolidation_percent"] == "there is no lesion"
    assert "voxels" in empty.reasons["consolidation_ml"]


def test_the_file_of_a_guided_network_holds_its_guide(tmp_path):
    config = configuration.load(f"{CONFIGS / 'multiclass.py'}:net=fcn8s")
    small = ("guide.width=8", "labeller.width=4", "labeller.blocks=(1, 1, 1, 1, 1)")
    configuration.override(config, [f"--config.model.{setting}" for setting in small])
    config.data.size = (32, 32)
    model = runs.build_model(config)
    variables = models.initialise(model, (32, 32, 1), 0)
    run = runs.Run(tmp_path, config, model, variables, 1)
    weights.save(tmp_path / "guided.safetensors", run, {})
    loaded = weights.load(tmp_path / "guided.safetensors")
    assert loaded.model == model
    assert loaded.variables["params"].keys() == {"guide", "labeller"}
