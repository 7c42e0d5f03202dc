"""Which scans are to be corrected first: entropy and mirror images by hand, and the command."""

import csv
import dataclasses
import math

import numpy as np
import pytest

from cosup_jax import cli, weights
from cosup_jax.prediction import lungs, uncertainty
from cosup_jax.prediction.lung_tissue import NoLungsError
from cosup_jax.prediction.settings import Settings
from cosup_jax.scans.scan import Scan
from tests.prediction.scan_files import NETWORK, Brightest, dicom_folder, scan_file, slice_folder

pytestmark = pytest.mark.usefixtures("fake")
SPACING = (10.0, 2.0, 5.0)  # voxels of 0.1 mL


class Given:
    """Stands for a Segmenter whose probability is what a pixel says, on the left half only."""

    def __init__(self, network=None, *, tta=False):
        pass

    cut = None  # columns outside of which nothing is marked

    def boxes(self, slices, intensity):
        return self.cut and [((slice(None), self.cut),) for _ in slices]

    def labelled(self, slices, intensity, count, boxes=None):
        for pixels, (cut,) in zip(slices, boxes or [(np.s_[:, :],)] * count, strict=True):
            probability = np.zeros(pixels.shape, np.float32)
            probability[cut] = pixels[cut] / np.float32(100)
            probability[:, pixels.shape[1] // 2 :] = 0
            yield probability, np.ones(pixels.shape, np.uint8)


def scan_of(slices, intensity="hu", spacing=SPACING):
    return Scan(np.asarray(slices, np.int16), intensity, lambda *_: None, spacing=spacing)


def everywhere(volume, spacing):
    return lungs.Lungs(np.ones(np.shape(volume), np.uint8), False)


def nowhere(volume, spacing):
    raise NoLungsError("nothing looks like lung")


def bits(p):
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q)


def test_entropy_and_mirror_images_by_hand():
    """The mirror image's probability is that of the right half: 0.8 and 0.2, by left half 0.4."""
    scan = scan_of([[[40, 0, 0, 80], [0, 0, 0, 20]]])
    found = uncertainty.measure(scan, Given(), 0.3, everywhere)
    wanted = (bits(0.2) + bits(0.4) + bits(0.1)) / 8
    assert found.entropy_bits == pytest.approx(wanted, rel=1e-6)
    assert (found.mirror_percent, found.mirror_ml) == pytest.approx((25.0, 0.2))
    assert uncertainty.measure(scan, Given(), 0.5, everywhere).mirror_ml == pytest.approx(0.1)


def test_the_mirror_image_is_cut_where_the_slices_are():
    """Without the last column, and so without the first one of the mirror image."""
    segmenter = Given()
    segmenter.cut = slice(0, 3)
    found = uncertainty.measure(scan_of([[[40, 0, 0, 80]]]), segmenter, 0.3, everywhere)
    assert found.entropy_bits == pytest.approx(bits(0.2) / 4, rel=1e-6)
    assert found.mirror_percent == 25


def test_what_lies_outside_of_the_lungs_does_not_count():
    def left(volume, spacing):
        inside = np.zeros(np.shape(volume), np.uint8)
        inside[:, 0, 0] = 1
        return lungs.Lungs(inside, False)

    found = uncertainty.measure(scan_of([[[40, 0, 0, 80]], [[0, 0, 0, 80]]]), Given(), 0.3, left)
    assert found.entropy_bits == pytest.approx(bits(0.2) / 2, rel=1e-6)
    assert found.mirror_percent == 50


@pytest.mark.parametrize(
    ("scan", "find", "why"),
    [
        (scan_of([[[0]]]), nowhere, "nothing looks like lung"),
        (scan_of([[[0]]], "grey8"), everywhere, "in HU of a known spacing only"),
        (scan_of([[[0]]], spacing=None), everywhere, "in HU of a known spacing only"),
    ],
)
def test_without_lungs_there_are_no_figures_but_a_reason(scan, find, why):
    found = uncertainty.measure(scan, Given(), 0.5, find)
    assert found[:3] == (None, None, None)
    assert why in found.reason


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    """Four scans that can be measured, two that cannot, and a broken one."""
    monkeypatch.setattr(weights, "load_pretrained", lambda name: NETWORK)
    figures = {"a": (0.1, 5.0), "b": (0.3, 2.0), "c": (0.2, 9.0), "d": (0.0, 0.0)}
    folder = tmp_path / "in"
    paths = [scan_file(folder / f"{name}.nii", i) for i, name in enumerate(figures)]
    slice_folder(folder / "pictures")
    dicom_folder(folder / "series")
    (folder / "z.nii").write_bytes(b"nothing")
    seen = []

    def measure(scan, segmenter, threshold, find=None):
        name = figures.get(next((p.stem for p in paths if _same(scan, p)), ""))
        seen.append(scan)
        if name is None:
            return uncertainty.Doubt(None, None, None, "no lungs to measure it in: air only")
        return uncertainty.Doubt(*name, name[1] * 2)

    monkeypatch.setattr(uncertainty, "measure", measure)
    return folder, tmp_path / "out", seen


def _same(scan, path):
    import nibabel as nib

    volume = np.asarray(nib.load(path).dataobj)
    return scan.grid is not None and sorted(volume.ravel()) == sorted(np.ravel(scan.slices))


def predict(folder, out, count=2):
    return cli.main(["predict", str(folder), f"--out={out}", f"--uncertain={count}"])


def rows_of(out):
    with (out / "uncertain.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_names_the_first_ones_with_the_reason(cohort, capsys):
    folder, out, seen = cohort
    assert predict(folder, out) == 1
    said = capsys.readouterr().out
    assert (
        "worth correcting first:\n  c: mean entropy in the lungs 0.2000 bit, number 2 of 4" in said
    )
    assert "  b: mean entropy in the lungs 0.3000 bit, number 1 of 4; its mirror" in said
    assert "otherwise on 2.00 % of the lungs (4.0 mL), number 3" in said
    assert "  a: " not in said
    assert said.partition("not measured:\n")[2].count(": no lungs to measure it in: air only") == 2
    rows = rows_of(out)
    assert [row["scan"] for row in rows[:4]] == ["c", "b", "a", "d"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "", ""]
    assert {row["reason"] for row in rows[4:]} == {"no lungs to measure it in: air only"}
    assert len(seen) == 6


def test_what_is_measured_is_not_measured_again_and_what_is_corrected_is_left_out(cohort, capsys):
    folder, out, seen = cohort
    predict(folder, out)
    before = rows_of(out)
    predict(folder, out)
    assert len(seen) == 6
    assert rows_of(out) == before
    mask = out / "c" / "mask.nii.gz"
    mask.write_bytes(mask.read_bytes()[::-1])
    capsys.readouterr()
    predict(folder, out, 1)
    assert "worth correcting first:\n  b: mean entropy" in capsys.readouterr().out
    assert "c" not in {row["scan"] for row in rows_of(out)}
    (out / "uncertain.csv").write_text("scan\nx\n")
    predict(folder, out)
    assert len(rows_of(out)) == 5


def test_values_with_another_offset_are_measured_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "load_pretrained", lambda name: NETWORK)
    seen = []

    def measure(scan, segmenter, threshold, find=None):
        seen.append(float(scan.true_slices()[0].min()))
        return uncertainty.Doubt(0.5, -seen[-1], 1.0)

    monkeypatch.setattr(uncertainty, "measure", measure)
    scan_file(tmp_path / "a.nii")
    found = []
    for offset in ([], ["--hu-offset=-30"], ["--hu-offset=-30"], []):
        given = ["predict", str(tmp_path / "a.nii"), f"--out={tmp_path / 'out'}", "--uncertain=1"]
        assert cli.main([*given, *offset]) == 0
        found += [float(row["mirror_percent"]) for row in rows_of(tmp_path / "out")]
    assert np.subtract(found, found[0]).tolist() == [0, 30, 30, 0]
    assert len(seen) == 3


@pytest.mark.parametrize("crop", weights.CROPS)
def test_a_network_that_averages_over_mirror_images_is_shown_one_at_a_time(
    tmp_path, monkeypatch, crop
):
    shown = []
    monkeypatch.setattr(uncertainty, "Segmenter", lambda network: shown.append(network.crop))
    network = dataclasses.replace(NETWORK, crop=crop)
    assert uncertainty.rank([], [], tmp_path, network, Settings()) == []
    assert shown == [weights.VOLUME if crop == weights.MIRRORED else crop]


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5"])
def test_a_wrong_number_of_scans_ends_with_2(tmp_path, capsys, count):
    with pytest.raises(SystemExit) as stopped:
        predict(tmp_path, tmp_path / "out", count)
    assert stopped.value.code == 2
    assert "whole number from 1 on" in capsys.readouterr().err


def test_the_tables_are_no_scans(cohort):
    folder, _, _ = cohort
    predict(folder, folder)
    predict(folder, folder)
    assert all("uncertain" not in row["scan"] for row in rows_of(folder))


def test_a_network_that_sees_no_sides_is_sure_of_mirror_images(monkeypatch):
    scan = scan_of(np.random.default_rng(0).integers(-1000, 100, (2, 6, 8)))
    found = uncertainty.measure(scan, Brightest(NETWORK), 0.5, everywhere)
    assert found.mirror_percent == 0
    assert found.entropy_bits > 0
