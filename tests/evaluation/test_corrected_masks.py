"""Corrected masks whose headers say something else than those of their scans."""

import hashlib

import nibabel as nib
import numpy as np
import pytest

from cosup_jax.evaluation import dates
from cosup_jax.scans.source import Source
from tests.dummy.volume_folder import write_json
from tests.scans.nifti_files import AFFINE, forge

HU = np.random.default_rng(0).integers(-1000, -900, (12, 24, 6), dtype=np.int16)
HU[8:, :8, 3:] = 200
MASK = (HU == 200).astype(np.uint8)  # 96 voxels of 0.75 × 0.75 × 5 mm
ML = 96 * 0.0028125
ITK = np.diag([-0.75, -0.75, 5.0, 1.0])  # what is written of a header that places nothing


def result(folder, **fields):
    """What `predict` leaves of a scan, and a place for the mask that somebody has corrected."""
    scan = forge(folder / "ct.nii", HU, **fields)
    content = Source(scan, "nifti", (scan,)).digest()
    place = folder / "results" / "ct"
    place.mkdir(parents=True)
    record = {
        "made_of": {"input": content, "weights": "5" * 64, "settings": {}, "version": "0.1.0"},
        "row": {"status": "done", "input": str(scan)},
        "sizes": {"mask.nii.gz": 1},
        "digests": {"mask.nii.gz": hashlib.sha256(b"another").hexdigest()},
    }
    write_json(place / "findings.json", record)
    return place


def corrected(place, mask, affine):
    nib.save(nib.Nifti1Image(mask, affine), place / "mask.nii.gz")
    return dates.read(place, "now")


def test_a_mask_on_the_voxels_of_its_scan_is_measured_there(tmp_path):
    date = corrected(result(tmp_path), MASK, AFFINE)
    assert date.values["lesion_ml"] == pytest.approx(ML)
    assert (date.values["lesions"], date.values["lesion_mean_hu"]) == (1, 200)


UNPLACED = {"sform_code": 0, "qform_code": 0}
SHIFTED = {"qform_code": 1, "quatern_d": 1, "qoffset_x": 3}
QFORM = np.diag([-0.75, -0.75, 5.0, 1.0]) + np.array([[0, 0, 0, 3]] + [[0] * 4] * 3)


@pytest.mark.parametrize(("fields", "affine"), [(UNPLACED, ITK), (SHIFTED, QFORM)])
def test_a_mask_that_a_tool_has_placed_otherwise_has_its_volume_alone(tmp_path, fields, affine):
    date = corrected(result(tmp_path, **fields), MASK, affine)
    assert date.values.pop("lesion_ml") == pytest.approx(ML)
    assert set(date.values.values()) == {None}
    assert "voxels away; expected the same grid" in date.notes[0]


def test_no_part_of_a_mask_is_looked_for_in_a_scan_that_lies_nowhere(tmp_path):
    date = corrected(result(tmp_path, **UNPLACED), MASK[6:], ITK)
    assert date.values.pop("lesion_ml") == pytest.approx(ML)
    assert set(date.values.values()) == {None}


def test_of_voxels_of_unknown_size_no_mask_tells_a_volume(tmp_path):
    place = result(tmp_path, **UNPLACED, pixdim=np.zeros(8))
    date = corrected(place, MASK, np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert set(date.values.values()) == {None}
    assert "nothing is known of it" in date.notes[0]
    (tmp_path / "metres").mkdir()
    place = result(tmp_path / "metres", xyzt_units=1)
    forge(place / "mask.nii.gz", MASK, xyzt_units=1)
    date = dates.read(place, "now")  # the same voxels, of which all but their size is known
    assert {name: value for name, value in date.values.items() if value is not None} == {
        "lesions": 1,
        "lesion_mean_hu": 200,
    }
    why = "sides in metre, which makes 750 × 750 × 5e+03 mm"
    assert any("no lesion_ml" in note and why in note for note in date.notes)


def test_a_mask_with_the_header_that_programs_write_by_default_has_no_volume(tmp_path):
    date = corrected(result(tmp_path), MASK, np.eye(4))
    assert set(date.values.values()) == {None}
    assert "no volume is known of it: the header has voxels of 1 × 1 × 1 mm" in date.notes[0]


def test_what_is_drawn_outside_of_the_scan_is_said(tmp_path):
    larger = np.pad(MASK, ((0, 4), (0, 0), (0, 0)))
    larger[-2:, 0, 0] = 1
    date = corrected(result(tmp_path), larger, AFFINE)
    assert date.values["lesion_ml"] == pytest.approx(ML)
    assert "2 voxels (0.00562 mL) are drawn outside of it and not counted" in date.notes[0]


def test_a_small_lesion_without_its_scan_is_not_nothing(tmp_path):
    place = result(tmp_path)
    (tmp_path / "ct.nii").unlink()
    speck = np.zeros_like(MASK)
    speck[3, 3, 3] = 1
    affine = np.diag([-0.3, -0.3, 0.5, 1.0])  # 0.000045 mL
    assert corrected(place, speck, affine).values["lesion_ml"] == pytest.approx(4.5e-5)
