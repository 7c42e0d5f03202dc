"""Masks, maps and other files that are no scan, beside scans and alone."""

import os
import zipfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from cosup_jax.scans import find
from cosup_jax.scans.nifti import VolumeError
from cosup_jax.scans.source import ScanError
from tests.scans.nifti_files import ct, forge

LABELS = np.random.default_rng(0).integers(0, 3, ct().shape)


def scans_of(*inputs):
    return find.find_scans(inputs, find.Path("/nowhere"))


ALONE = {
    "of 8 bits": LABELS.astype(np.uint8),
    "of fractions": LABELS.astype(np.float32),
    "0 and 255": (LABELS > 0) * np.uint8(255),
    "many labels": np.random.default_rng(0).integers(0, 30, ct().shape).astype(np.int16),
}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_label_map_is_no_ct_though_it_is_called_so(tmp_path, name, zipped):
    path = forge(tmp_path / "ct.nii", ALONE[name])
    if zipped:
        with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
            archive.write(path, path.name)
        path = tmp_path / "ct.zip"
    (source,), _ = scans_of(path)
    with pytest.raises((ScanError, VolumeError), match="as label maps do; expected a CT volume"):
        source.read()


def test_voxels_of_no_known_type_stop_nobody(tmp_path):
    """Of two files one may be the other's mask, so both are looked into before they are read."""
    odd = forge(tmp_path / "ct_mask.nii", LABELS.astype(np.uint8))
    header = bytearray(odd.read_bytes())
    header[70:72] = b"\x33\x33"  # datatype
    odd.write_bytes(header)
    forge(tmp_path / "ct.nii", ct())
    sources, _ = scans_of(tmp_path)
    with pytest.raises(VolumeError, match=r"ct_mask\.nii"):
        [source.read() for source in sources]


def test_a_ct_in_a_window_is_no_label_map(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, ct().shape).astype(np.uint8)
    (source,), _ = scans_of(forge(tmp_path / "mask.nii", grey))
    assert source.read().intensity == "grey8"


def organs(count, run=12):
    """Labels 1 to `count` in pieces as wide as organs are, with 0 between them."""
    pieces = np.arange(-(-(count + 1) // 10) * 10).reshape(-1, 10) % (count + 1)
    return np.repeat(np.repeat(pieces, run, axis=0), 3, axis=1)[..., None].repeat(2, axis=2)


MAPS = {
    "33 values": ("s0001.nii.gz", np.uint8, 33),
    "many organs, named so": ("case1_totalseg.nii.gz", np.int16, 104),
    "many organs, not named so": ("case1.nii", np.float32, 104),
    "255 values": ("case1.multilabels.nii", np.uint8, 255),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_of_many_labels_are_told_by_their_runs(tmp_path, name):
    file, kind, count = MAPS[name]
    path = forge(tmp_path / file, organs(count).astype(kind))
    (alone,), _ = scans_of(path)
    with pytest.raises(ScanError, match="as label maps do; expected a CT volume"):
        alone.read()
    forge(tmp_path / "ct.nii", ct())
    (source,), others = scans_of(tmp_path)
    assert source.name == "ct"
    assert str(others) == "set aside: 1 label map"


def of_8_bits(low, high):
    """A smooth CT of 8 bits, most of it clipped to black or white in narrow windows."""
    x, y, _ = np.mgrid[-1:1:80j, -1:1:60j, -1:1:4j]
    hu = np.where(x**2 + y**2 < 0.8, np.where(abs(abs(x) - 0.4) + y**2 < 0.25, -850, 40), -1000)
    hu = hu + np.random.default_rng(0).normal(0, 15, hu.shape)
    return np.rint(255 * np.clip((hu - low) / (high - low), 0, 1)).astype(np.uint8)


@pytest.mark.parametrize("window", [(-1024, 1024), (-1350, 150), (-1000, -400), (-160, 240)])
def test_a_ct_of_8_bits_is_no_label_map_whatever_its_window_and_name(tmp_path, window):
    grey = of_8_bits(*window)
    for name in ("ct.nii", "medseg4.nii"):
        forge(tmp_path / name, grey)
    sources, others = scans_of(tmp_path)
    assert [source.name for source in sources] == ["ct", "medseg4"]
    assert not others
    np.testing.assert_array_equal(
        np.sort(np.stack(sources[0].read().slices).ravel()), np.sort(grey.ravel())
    )


def draw(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


GREY = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)
DRAWN = LABELS[:8, :8, 0]
DRAWINGS = {
    "0 and 255": (DRAWN > 0) * np.uint8(255),
    "0, 1 and 2": DRAWN.astype(np.uint8),
    "0 and 65535": (DRAWN > 0) * np.uint16(65535),
    "1 and 1000": np.where(DRAWN > 0, np.uint16(1000), np.uint16(1)),
    "eight classes": (GREY // 32) * np.uint8(30),
}


AWAY = np.hypot(*np.mgrid[-50:50, -50:50])
SOFT = np.rint(np.clip(128 * (26 - AWAY), 0, 255)).astype(np.uint8)  # of 34 values


@pytest.mark.parametrize("mask", [*DRAWINGS.values(), SOFT], ids=[*DRAWINGS, "a soft border"])
def test_few_values_in_all_slices_are_a_mask(tmp_path, mask):
    for i in range(3):
        draw(tmp_path / f"s{i}.png", mask)
    draw(tmp_path / "s3.png", np.full_like(mask, mask.min()))
    (source,), _ = scans_of(tmp_path)
    with pytest.raises(ScanError, match="few values, as masks do"):
        source.read()


def test_a_small_body_in_much_air_is_no_mask(tmp_path):
    body = np.random.default_rng(0).integers(1, 256, AWAY.shape)
    draw(tmp_path / "s.png", np.where(AWAY < 10, body, 0).astype(np.uint8))
    (source,), _ = scans_of(tmp_path)
    assert len(source.read().slices) == 1


@pytest.mark.parametrize("values", [(0, 0), (0, 7, 255), (9,)])
def test_flat_slices_are_no_masks(tmp_path, values):
    for i, value in enumerate(values):
        draw(tmp_path / f"s{i}.png", np.full((8, 8), value, np.uint8))
    (source,), _ = scans_of(tmp_path)
    scan = source.read()
    assert [int(pixels.max()) for pixels in scan.slices] == [*values]
    assert not [note for note in scan.notes if "masks" in note]


@pytest.mark.parametrize("name", DRAWINGS)
def test_masks_listed_with_their_slices_are_set_aside(tmp_path, name):
    grey = GREY.astype(DRAWINGS[name].dtype)
    for i in range(3):
        draw(tmp_path / f"s{i}.png", grey)
        draw(tmp_path / f"s{i}_mask.png", DRAWINGS[name])
    (source,), others = scans_of(*sorted(tmp_path.iterdir()))
    assert [path.name for path in source.files] == ["s0.png", "s1.png", "s2.png"]
    assert str(others) == "set aside: 3 picture of labels"
    (alone,), _ = scans_of(tmp_path / "s0_mask.png")
    with pytest.raises(ScanError, match="few values, as masks do"):
        alone.read()


def test_slices_among_which_some_may_be_masks_say_so(tmp_path):
    draw(tmp_path / "a0.png", np.zeros_like(GREY))
    for i in range(3):
        draw(tmp_path / f"a{i + 1}.png", GREY)
        draw(tmp_path / f"b{i}.png", DRAWINGS["0 and 255"])
    (source,), _ = scans_of(tmp_path)
    (note,) = (note for note in source.read().notes if "masks" in note)
    assert note.startswith("3 of 7 slices hold few values, as masks do (the first is number 5)")


SHARES = np.linspace(0, 1, LABELS.size, dtype=np.float32).reshape(LABELS.shape)
BESIDE = {
    "a mask that is scaled": ("ct_seg.nii", LABELS.astype(np.uint8), {"scl_slope": 1 / 255}),
    "probabilities": ("ct_probability.nii.gz", SHARES, {}),
    "probabilities of 8 bits": (
        "probs.nii",
        np.rint(255 * SHARES).astype(np.uint8),
        {"scl_slope": 1 / 255},
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_maps_of_a_ct_beside_it_are_set_aside(tmp_path, name):
    file, voxels, fields = BESIDE[name]
    forge(tmp_path / "ct.nii", ct())
    forge(tmp_path / file, voxels, **fields)
    (source,), others = scans_of(tmp_path)
    assert source.name == "ct"
    assert str(others) == "set aside: 1 label map"


def test_a_ct_whose_name_speaks_of_probabilities_is_kept(tmp_path):
    forge(tmp_path / "ct.nii", ct())
    forge(tmp_path / "prob_patient.nii", ct())
    assert len(scans_of(tmp_path)[0]) == 2


def test_masks_among_the_slices_are_set_aside_by_name_and_content(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)
    for i in range(3):
        Image.fromarray(grey).save(tmp_path / f"s{i}.png")
        Image.fromarray(grey).save(tmp_path / f"s{i}_lung.png")
        Image.fromarray((grey > 99) * np.uint8(255)).save(tmp_path / f"s{i}_mask.png")
    (source,), others = scans_of(tmp_path)
    # Of a name that speaks of lungs, but with the greys of a CT, nothing is taken away.
    assert len(source.files) == 6
    assert str(others) == "set aside: 3 picture of labels"


def test_a_link_to_nothing_and_a_pipe_are_counted(tmp_path):
    forge(tmp_path / "ct.nii", ct())
    (tmp_path / "gone.nii").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.nii")
    (source,), others = scans_of(tmp_path)
    assert source.name == "ct"
    assert "2 file or folder that cannot be read" in str(others)


def test_halves_of_a_volume_are_named(tmp_path):
    nib.save(nib.Nifti1Pair(ct(), np.eye(4)), tmp_path / "ct.hdr")
    with pytest.raises(ScanError, match=r"ct\.hdr: half of a volume in two files"):
        scans_of(tmp_path)
    forge(tmp_path / "other.nii", ct())
    (source,), others = scans_of(tmp_path)
    assert source.name == "other"
    assert "2 half of a volume" in str(others)
