"""NIfTI volumes of every type and orientation: read right side up, and labels put back exactly."""

import logging
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cosup_jax.scans import nifti, nifti_labels
from tests.scans.nifti_files import AFFINE, ORIENTATIONS, affine_of, ct, forge, oblique_affines

SUFFIXES = (".nii", ".nii.gz")
IN_TMP = settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6)


def true_values(volume):
    return volume.stored.astype(np.float64) * volume.slope + volume.intercept


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_masks_turn_with_their_image_and_return_to_where_they_were(tmp_path, orientation):
    @IN_TMP
    @given(SHAPES, oblique_affines(orientation), st.sampled_from(SUFFIXES), st.integers(0, 99))
    def check(shape, affine, suffix, seed):
        random = np.random.default_rng(seed)
        marked = random.integers(0, 3, shape, dtype=np.uint8)
        scan = random.integers(0, 100, shape, dtype=np.int16) - 1000 * (marked > 0)
        scan.flat[:2] = (-1000, 0)
        marked.flat[:2] = (1, 0)
        file = forge(tmp_path / f"image{suffix}", scan, affine)
        image = nifti.read_volume(file)
        labels = nifti_labels.read_labels(
            forge(tmp_path / f"mask{suffix}", marked, affine), {0: 0, 1: 1, 2: 2}, image
        )
        np.testing.assert_array_equal(image.stored, scan)
        slices = image.grid.to_axial(image.stored)
        np.testing.assert_array_equal(labels > 0, slices < -500)

        written = tmp_path / f"written{suffix}"
        nifti.write_labels(written, labels, file)
        back = nib.load(written)
        assert back.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(back.dataobj), marked)
        np.testing.assert_array_equal(back.affine, nib.load(file).affine)

    check()


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("order", ["<", ">"])
def test_written_labels_have_the_geometry_of_the_image_and_nothing_else_of_it(
    tmp_path, kind, order
):
    words = dict.fromkeys(("descrip", "aux_file", "intent_name"), b"DOE^JANE")
    scan = ct()
    geometry = kind(endianness=order)
    geometry.set_qform(affine_of("PIR", (0.75, 1.25, 2), (10, 5, -8), (3, 4, 5)), code=2)
    fields = {"pixdim", "qform_code", "quatern_b", "quatern_c", "quatern_d"}
    fields |= {"qoffset_x", "qoffset_y", "qoffset_z"}
    source = forge(
        tmp_path / "image.nii",
        scan,
        affine_of("PIR", (0.75, 1.25, 2), (10, 5, -8), (3, 4, 5)),
        kind=kind,
        order=order,
        rest=b"DOE^JANE",
        **words,
        **{field: geometry[field] for field in fields},
        sform_code=4,
        xyzt_units=2,
    )
    grid = nifti.read_volume(source).grid
    written = tmp_path / "labels.nii"
    nifti.write_labels(written, grid.to_axial((scan > 0).astype(np.uint8)), source)

    expected, found = nib.load(source).header, nib.load(written).header
    assert (int(found["qform_code"]), int(found["sform_code"])) == (2, 4)
    assert found.get_zooms() == tuple(np.float32(expected.get_zooms()))
    assert found.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(found.get_sform(), np.float32(expected.get_sform()))
    np.testing.assert_allclose(found.get_qform(), expected.get_qform(), atol=1e-6)
    assert b"DOE" in source.read_bytes()
    assert b"DOE" not in written.read_bytes()
    assert b"DOE" not in b"".join(found[word].tobytes() for word in words)
    assert len(written.read_bytes()) == 352 + scan.size


def test_the_same_labels_give_the_same_bytes(tmp_path):
    source = forge(tmp_path / "image.nii.gz", ct())
    labels = np.ones((4, 5, 6), np.uint8)
    for name in ("a.nii.gz", "b.nii.gz"):
        nifti.write_labels(tmp_path / name, labels, source)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


WHOLE = {
    "int16": (ct(), {}),
    "uint8": (np.arange(120).astype(np.uint8).reshape(6, 5, 4), {}),
    "uint16 beyond int16": ((ct().astype(np.int32) + 60_000).astype(np.uint16), {}),
    "int32": (ct().astype(np.int32), {}),
    "int32 from -40,000": (ct().astype(np.int32) - 40_000, {}),
    "int64": (ct().astype(np.int64), {}),
    "float32": (ct().astype(np.float32), {}),
    "float64": (ct().astype(np.float64), {}),
    "big-endian": (ct(), {"order": ">"}),
    "NIfTI-2": (ct(), {"kind": nib.Nifti2Header}),
    "NIfTI-2, big-endian": (ct(), {"kind": nib.Nifti2Header, "order": ">"}),
    "one axis more": (ct()[..., None], {}),
    "two axes more": (ct()[..., None, None], {}),
    "bytes after the voxels": (ct(), {"rest": b"padding"}),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_of_every_type_are_kept_exactly(tmp_path, name, suffix):
    voxels, how = WHOLE[name]
    image = nifti.read_volume(forge(tmp_path / f"image{suffix}", voxels, **how))
    assert image.stored.dtype == np.int16
    assert image.slope == 1
    np.testing.assert_array_equal(true_values(image), voxels.reshape(6, 5, 4))
    assert image.grid.shape == (6, 5, 4)


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_is_unpacked_by_its_content_not_its_name(tmp_path, packed):
    path = forge(tmp_path / ("a.nii.gz" if packed else "a.nii"), ct())
    path = path.rename(tmp_path / ("a.nii" if packed else "a.nii.gz"))
    np.testing.assert_array_equal(nifti.read_volume(path).stored, ct())


def test_whole_numbers_may_be_scaled(tmp_path):
    file = forge(tmp_path / "a.nii", ct() + 1000, scl_slope=2, scl_inter=-1024)
    image = nifti.read_volume(file)
    assert (image.slope, image.intercept) == (1, 0)
    np.testing.assert_array_equal(image.stored, (ct().astype(np.int32) + 1000) * 2 - 1024)


@settings(IN_TMP, max_examples=60)
@given(
    st.data(),
    st.sampled_from([np.float32, np.float64]),
    st.floats(-1e4, 1e4, width=32),
    st.floats(1, 6e4, width=32),
)
def test_fractions_are_kept_to_half_a_step(tmp_path, data, dtype, lowest, span):
    shares = data.draw(hnp.arrays(np.float64, (2, 3, 2), elements=st.floats(0, 1)))
    shares.flat[:3] = (0, 1, 0.4567)
    voxels = (lowest + shares * span).astype(dtype)
    image = nifti.read_volume(forge(tmp_path / "a.nii", voxels))
    values = voxels.astype(np.float64)
    step = (values.max() - values.min()) / 65_535
    np.testing.assert_allclose(true_values(image), values, rtol=0, atol=0.5001 * step)


def test_a_small_span_far_from_zero_does_not_wrap_around(tmp_path):
    voxels = np.linspace(10_000, 10_001, 120, dtype=np.float32).reshape(6, 5, 4)
    image = nifti.read_volume(forge(tmp_path / "a.nii", voxels))
    np.testing.assert_allclose(true_values(image), voxels, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("lowest", "highest", "intensity"),
    [
        (-1000, 400, "hu"),
        (-500, 0, "hu"),
        (-499, 400, "unknown"),
        (-1, 255, "unknown"),
        (0, 1, "unknown"),
        (0, 255, "grey8"),
        (0, 256, "unknown"),
    ],
)
def test_the_range_tells_the_unit(tmp_path, lowest, highest, intensity):
    voxels = np.full((3, 3, 3), lowest, np.int16)
    voxels[1, 1, 1] = highest
    assert nifti.read_volume(forge(tmp_path / "a.nii", voxels)).intensity == intensity


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("slope", [1, 0.1])
def test_labels_of_any_type_become_the_declared_classes(tmp_path, dtype, slope):
    drawn = np.random.default_rng(1).integers(0, 3, (6, 5, 4))
    image = nifti.read_volume(forge(tmp_path / "image.nii", ct()))
    file = forge(tmp_path / "mask.nii", (drawn / slope).round().astype(dtype), scl_slope=slope)
    labels = nifti_labels.read_labels(file, {0: 0, 1: 3, 2: 0}, image)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, image.grid.to_axial(np.where(drawn == 1, 3, 0)))


def test_labels_whose_header_is_known_to_lie_are_taken_voxel_by_voxel(tmp_path):
    image = nifti.read_volume(forge(tmp_path / "image.nii", ct()))
    file = forge(tmp_path / "mask.nii", (ct() > 0).astype(np.uint8), affine_of("RAI"))
    with pytest.raises(nifti.VolumeError, match="voxels away"):
        nifti_labels.read_labels(file, {0: 0, 1: 1}, image)
    labels = nifti_labels.read_labels(file, {0: 0, 1: 1}, image, header_lies=True)
    np.testing.assert_array_equal(labels, image.grid.to_axial(ct() > 0))


def test_of_two_transforms_that_disagree_the_sform_counts(tmp_path, caplog):
    turned = nib.Nifti1Header()
    turned.set_qform(affine_of("RAS"), code=1)
    qform = {field: turned[field] for field in ("qform_code", "quatern_b", "quatern_d")}
    file = forge(tmp_path / "a.nii", ct(), **qform)
    with caplog.at_level(logging.WARNING):
        image = nifti.read_volume(file)
    (text,) = caplog.messages
    assert text.startswith(f"{file}: sform (LPS) and qform (RAS) disagree by ")
    assert text.endswith("; the sform is used")
    np.testing.assert_allclose(image.grid.affine, AFFINE)


def test_a_header_without_any_transform_is_taken_as_nibabel_does_with_a_warning(tmp_path, caplog):
    file = forge(tmp_path / "a.nii", ct(), sform_code=0)
    with caplog.at_level(logging.WARNING):
        image = nifti.read_volume(file)
    assert caplog.messages == [f"{file}: the header has no orientation; LAS assumed"]
    assert image.grid.orientation == "LAS"


def test_transforms_that_agree_give_no_warning(tmp_path, caplog):
    path = tmp_path / "a.nii"
    file = nib.Nifti1Image(ct(), AFFINE)
    file.set_qform(AFFINE, code=1)
    nib.save(file, path)
    with caplog.at_level(logging.WARNING):
        nifti.read_volume(path)
    assert caplog.messages == []


def test_extensions_are_passed_over(tmp_path):
    path = tmp_path / "a.nii.gz"
    file = nib.Nifti1Image(ct(), AFFINE)
    file.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    nib.save(file, path)
    np.testing.assert_array_equal(nifti.read_volume(path).stored, ct())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_memory_stays_under_two_and_a_half_times_the_volume(tmp_path, monkeypatch, suffix):
    """The slabs are made smaller in proportion to a scan of 512 × 512 × 800."""
    shape = (128, 128, 100)
    monkeypatch.setattr(nifti, "_SLAB", nifti._SLAB * int(np.prod(shape)) // (512 * 512 * 800))
    scan = np.zeros(shape, np.int16)
    scan[::3] = -1000
    image_file = forge(tmp_path / f"image{suffix}", scan)
    mask_file = forge(tmp_path / f"mask{suffix}", (scan < 0).astype(np.float64))
    tracemalloc.start()
    try:
        image = nifti.read_volume(image_file)
        nifti_labels.read_labels(mask_file, {0: 0, 1: 1}, image)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * scan.nbytes
