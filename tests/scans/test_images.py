"""Reading PNG, TIFF and JPEG slices: without loss, or not at all."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cosup_jax.scans import images

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)
WITH_FRACTIONS = np.array([[-1000.25, -1], [0.5, 3000]], np.float32)
IN_TMP = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def png(width, height, depth, colour, rows):
    """A PNG written by hand, so that the header may say anything."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    pieces = (chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def tiff(array, *, photometric=1, kind="u2", order="<", size=None, packed=False):
    """A TIFF of one strip written by hand, of numbers of a kind (`u2`, `i2`, `i4`, `f4`)."""
    raw = array.astype(f"{order}{kind}").tobytes()
    raw = zlib.compress(raw) if packed else raw
    height, width = size or array.shape
    tags = [
        (256, width),
        (257, height),
        (258, 8 * int(kind[1])),
        (259, 8 if packed else 1),
        (262, photometric),
        (273, 8 + 2 + 10 * 12 + 4),
        (277, 1),
        (278, height),
        (279, len(raw)),
        (339, 1 + "uif".index(kind[0])),
    ]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return start + struct.pack(f"{order}H", len(tags)) + entries + struct.pack("<I", 0) + raw


def encoded(array, kind, **kwargs):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **kwargs)
    return buffer.getvalue()


def write(path, content):
    path.write_bytes(content)
    return path


@IN_TMP
@given(
    st.data(),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})]),
)
def test_png_and_tiff_keep_every_bit(tmp_path, data, dtype, kind):
    shape = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    array = data.draw(hnp.arrays(dtype, shape))
    path = write(tmp_path / "slice", encoded(array, kind[0], **kind[1]))
    for read in (images.read_grey, images.read_codes):
        got = read(path)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_16_bit_tiff(tmp_path, order):
    array = RAMP.astype(np.uint16) * 1000
    got = images.read_grey(write(tmp_path / "a.tif", tiff(array, order=order)))
    assert got.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize(("order", "packed"), [("<", False), (">", False), ("<", True)])
def test_a_slice_may_have_a_sign(tmp_path, order, packed):
    array = np.array([[-32768, -1024, -1], [0, 40, 32767]], np.int16)
    content = tiff(array, kind="i2", order=order, packed=packed)
    got = images.read_slice(write(tmp_path / "a.tif", content))
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, array)


def test_signed_slices_that_pillow_reads_wrong_are_refused(tmp_path):
    content = tiff(RAMP.astype(np.int16), kind="i2", order=">", packed=True)
    with pytest.raises(images.ImageError, match="kind 'I'; expected 8- or 16-bit grey"):
        images.read_slice(write(tmp_path / "a.tif", content))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits"])
def test_signed_bytes_are_not_taken_for_unsigned_ones(tmp_path, compression):
    array = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)

    def saved(values):
        picture = Image.fromarray(values.view(np.uint8))
        picture.save(tmp_path / "s.tif", tiffinfo={339: 2}, compression=compression)
        return tmp_path / "s.tif"

    np.testing.assert_array_equal(images.read_slice(saved(array)), array.astype(np.int16))
    for read in (images.read_grey, images.read_codes, images.read_map):
        with pytest.raises(images.ImageError, match=r"s\.tif: signed 8-bit pixels down to -128; "):
            read(saved(array))
    # A mask of few labels means the same with and without a sign.
    np.testing.assert_array_equal(images.read_codes(saved(np.maximum(array, 0))), array.clip(0))


def test_a_slice_without_a_sign_is_read_as_ever(tmp_path):
    for array in (RAMP, RAMP.astype(np.uint16) * 1000):
        got = images.read_slice(write(tmp_path / "a.tif", encoded(array, "TIFF")))
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_a_slice_may_have_32_bits(tmp_path, compression):
    for array in (np.array([[-(2**20), -1000], [40, 2**20]], np.int32), WITH_FRACTIONS):
        Image.fromarray(array).save(tmp_path / "a.tif", compression=compression)
        got = images.read_slice(tmp_path / "a.tif")
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)
        for read in (images.read_grey, images.read_codes, images.read_map):
            with pytest.raises(images.ImageError, match="expected 8- or 16-bit grey"):
                read(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["i4", "f4"])
def test_32_bits_as_imagej_writes_them_and_not_as_pillow_reads_them_wrong(tmp_path, kind):
    array = WITH_FRACTIONS.astype(kind)
    got = images.read_slice(write(tmp_path / "a.tif", tiff(array, kind=kind, order=">")))
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    packed = write(tmp_path / "b.tif", tiff(array, kind=kind, order=">", packed=True))
    with pytest.raises(images.ImageError, match="expected 8- or 16-bit grey"):
        images.read_slice(packed)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_slice_with_what_is_no_number_is_refused(tmp_path, value):
    Image.fromarray(np.array([[0, value]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(images.ImageError, match=r"a\.tif: holds NaN or infinite values"):
        images.read_slice(tmp_path / "a.tif")


def test_grey_jpeg_is_near_and_equal_channels_are_grey(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8) * 2
    got = images.read_grey(write(tmp_path / "a.jpg", encoded(smooth, "JPEG", quality=95)))
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - smooth).max() <= 4
    colour = np.repeat(RAMP[..., None], 3, axis=-1)
    np.testing.assert_array_equal(
        images.read_grey(write(tmp_path / "a.png", encoded(colour, "PNG"))), RAMP
    )


def test_palette_masks_are_read_by_index_and_one_bit_as_0_and_255(tmp_path):
    codes = (RAMP % 4).astype(np.uint8)
    picture = Image.fromarray(codes)
    picture.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0, 9, 9, 9])  # 0 and 3 look alike
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(images.read_codes(tmp_path / "palette.png"), codes)
    Image.fromarray(codes > 1).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(images.read_codes(tmp_path / "bits.png"), (codes > 1) * 255)


def test_declared_values_become_classes(tmp_path):
    stored = np.array([[0, 7, 65535], [7, 0, 0]], np.uint16)
    path = write(tmp_path / "m.png", encoded(stored, "PNG"))
    got = images.read_labels(path, {0: 0, 7: 3, 65535: 1})
    assert got.dtype == np.uint8
    assert got.tolist() == [[0, 3, 1], [3, 0, 0]]


def bad_files():
    whole = encoded(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8), "PNG")
    colour = np.stack([RAMP, RAMP, RAMP + 1], axis=-1)
    two_pages = io.BytesIO()
    page = Image.fromarray(RAMP)
    page.save(two_pages, "TIFF", save_all=True, append_images=[page])
    turned = Image.Exif()
    turned[0x0112] = 6
    ramp16 = RAMP.astype(np.uint16)
    return {
        "empty": (b"", "unreadable or truncated"),
        "text": (b"not a picture", "expected a whole PNG, TIFF or JPEG"),
        "truncated png": (whole[: len(whole) // 2], "unreadable or truncated"),
        "truncated tiff": (tiff(ramp16)[:-20], "unreadable or truncated"),
        "truncated jpeg": (encoded(RAMP, "JPEG")[:-30], "unreadable or truncated"),
        "another format": (encoded(RAMP, "GIF"), "unreadable or truncated"),
        "colour": (encoded(colour, "PNG"), "a colour picture; expected grey"),
        "alpha": (encoded(np.zeros((4, 4, 4), np.uint8), "PNG"), "transparent pixels"),
        "16-bit colour": (png(2, 2, 16, 2, [b"\1\2" * 6] * 2), "16-bit colour"),
        "float": (encoded(RAMP.astype(np.float32), "TIFF"), "kind 'F'"),
        "signed": (tiff(ramp16, kind="i2"), "kind 'I'; expected 8- or 16-bit grey"),
        "white is 0": (tiff(ramp16, photometric=0), "expected black as 0"),
        "pages": (two_pages.getvalue(), "several pages"),
        "turned": (encoded(RAMP, "JPEG", exif=turned), r"orientation 6\); expected it upright"),
        "wide": (png(4097, 1, 8, 0, [bytes(4097)]), "claims 4097 x 1 pixels; expected at most"),
        "bomb": (png(60000, 60000, 8, 0, []), "expected at most 4096 x 4096"),
        "bomb with a warning": (png(10000, 10000, 8, 0, []), "expected at most 4096 x 4096"),
    }


@pytest.mark.parametrize("kind", sorted(bad_files()))
def test_a_bad_image_is_refused_with_its_name_and_the_reason(tmp_path, kind):
    content, message = bad_files()[kind]
    path = write(tmp_path / "bad.png", content)
    with pytest.raises(images.ImageError, match=message) as caught:
        images.read_grey(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_other_clothes_is_read_as_grey(tmp_path, mode):
    picture = Image.fromarray(RAMP)
    if mode == "P":
        picture.putpalette([value for value in range(256) for _ in range(3)])
    else:
        picture = picture.convert(mode)
    assert picture.mode == mode
    picture.save(tmp_path / "grey.png")
    found = images.read_grey(tmp_path / "grey.png")
    np.testing.assert_array_equal(found, RAMP)
    assert found.dtype == np.uint8


def test_a_transparent_colour_of_a_palette_is_refused(tmp_path):
    picture = Image.fromarray(RAMP)
    picture.putpalette([value for value in range(256) for _ in range(3)])
    picture.save(tmp_path / "clear.png", transparency=7)
    with pytest.raises(images.ImageError, match="transparent pixels"):
        images.read_grey(tmp_path / "clear.png")


def test_colours_of_a_palette_and_one_bit_are_for_masks_only(tmp_path):
    picture = Image.fromarray(RAMP)
    picture.putpalette(list(range(256)) * 3)
    picture.save(tmp_path / "p.png")
    with pytest.raises(images.ImageError, match="a colour picture"):
        images.read_grey(tmp_path / "p.png")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_jpeg_mask_is_refused_even_in_disguise(tmp_path, kind):
    kwargs = {"compression": "jpeg"} if kind == "TIFF" else {}
    path = write(tmp_path / "mask.png", encoded(RAMP, kind, **kwargs))
    with pytest.raises(images.ImageError, match=r"mask\.png: a mask cannot be a JPEG"):
        images.read_codes(path)


def test_undeclared_values_are_counted(tmp_path):
    path = write(tmp_path / "m.png", encoded(np.array([[0, 255, 7, 7, 9]], np.uint8), "PNG"))
    with pytest.raises(images.ImageError, match=r"7 \(2 px\), 9 \(1 px\); expected only \[0, 255"):
        images.read_labels(path, {0: 0, 255: 1})


def test_sizes_are_compared():
    with pytest.raises(images.ImageError, match="m: 3 x 2 pixels, but its image i has 2 x 3"):
        images.check_same_size(np.zeros((3, 2)), np.zeros((2, 3)), "i", "m")
