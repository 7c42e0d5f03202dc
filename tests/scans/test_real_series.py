"""A real series: the same voxels whatever was done to its headers and its folders."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest

from cosup_jax.scans import find
from tests.scans.enhanced import make_enhanced

REAL = Path(os.environ.get("COSUP_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
SLICES = 12
IDENTIFIERS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


@pytest.fixture(scope="module")
def images():
    folder = REAL / "ct_hu" / "covid_a"
    if not folder.is_dir():
        pytest.skip(f"no real series in {folder}; set COSUP_REAL_DATA to the folder of all sets")
    headers = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in folder.iterdir()}
    paths = sorted(headers, key=lambda path: headers[path].ImagePositionPatient[2])[20:]
    return [pydicom.dcmread(path) for path in paths[:SLICES]]


@pytest.fixture(scope="module")
def voxels(images):
    """HU by pydicom alone; the slices run from the feet to the head already."""
    return np.stack([image.pixel_array.astype(int) - 1024 for image in images])


def write(folder, objects, places=("",)):
    for i, image in enumerate(objects):
        place = folder / places[i % len(places)]
        place.mkdir(parents=True, exist_ok=True)
        image.save_as(place / f"{7 * i % 13:02}.dcm", enforce_file_format=False)
    return folder


def changed(images, names, *, drop=False):
    copies = [pydicom.Dataset(dict(image._dict)) for image in images]
    for copy, image in zip(copies, images, strict=True):
        copy.file_meta = image.file_meta
        for name in names:
            if drop:
                del copy[name]
            else:
                copy[name] = pydicom.DataElement(name, "UI", "")
    return copies


def as_they_are(images):
    return images


def unnamed(images):
    return changed(images, IDENTIFIERS)


def without_class(images):
    return changed(images, ["SOPClassUID"], drop=True)


def enhanced(images):
    for image in images:
        image.decompress()
    return [make_enhanced(images)]


@pytest.mark.parametrize(
    ("change", "places"),
    [
        (as_they_are, ("S0", "S1/A", "S1/B")),
        (unnamed, ("",)),
        (unnamed, ("S0", "S1")),
        (without_class, ("",)),
        (enhanced, ("",)),
    ],
)
def test_the_same_voxels(images, voxels, tmp_path, change, places):
    write(tmp_path / "in", change(images), places)
    (source,), others = find.find_scans([tmp_path / "in"], tmp_path / "out")
    scan = source.read()
    np.testing.assert_array_equal(np.stack(scan.slices), voxels)
    assert scan.spacing == pytest.approx((4.0, 0.748046875, 0.748046875))
    assert scan.intensity == "hu"
    assert not others
