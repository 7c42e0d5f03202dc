"""DICOM series of CT slices into volumes in HU (pydicom, from the extra `dicom`).

Files are sorted by where their slices lie in the body, never by name or number. No message names a
file, a person or a date: messages go into tables that are passed on. Nothing is decoded before what
the headers claim has been held against the file, the codec's own header included.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import get_decoder, pixel_array
from pydicom.valuerep import DSfloat

from cosup_jax.scans import (
    codestreams,
    dicom_files,
    dicom_frames,
    dicom_headers,
    dicom_series,
    rescale,
    series_geometry,
)
from cosup_jax.scans.dicom_files import Budget, Part, Reader, naming
from cosup_jax.scans.dicom_headers import Aside, Image
from cosup_jax.scans.dicom_series import Stack
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.intensity import IntensityError
from cosup_jax.scans.nifti import MAX_SIDE, MAX_VOXELS, VolumeError
from cosup_jax.scans.rescale import Rescale

_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_LOSSLESS = (
    *(uid.RLELossless, uid.JPEGLossless, uid.JPEGLosslessSV1),
    *(uid.JPEGLSLossless, uid.JPEG2000Lossless),
)
_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000)
_FAMILIES = {
    uid.RLELossless: codestreams.RLE,
    uid.JPEG2000Lossless: codestreams.JPEG_2000,
    uid.JPEG2000: codestreams.JPEG_2000,
}
_PIXEL_GROUP = 0x7FE0
# The kinds of pixels that the standard names; an unknown one is not repeated in a message.
_KINDS = (
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"),
    *("YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420"),
)


@dataclass(frozen=True, eq=False)
class Series:
    """One CT series.

    Attributes:
      grid: where the voxels lie; stored axes are column, row, slice.
      stored: (columns, rows, slices) int16 in HU.
      spacing: (z, y, x) of the axial view in mm, between planes also where the gantry is tilted.
      headers: the data sets without pixels, in the order of the slices; those of frames of one file
        as if each were a file.
      notes: what the user should know; no identifiers.
      frames: of each slice its place in its file from 1, or 0 where its file is one slice.
      no_density: why means of the values are no HU; empty where they are.
    """

    grid: Grid
    stored: np.ndarray
    spacing: tuple[float, float, float]
    headers: tuple[pydicom.Dataset, ...]
    notes: tuple[str, ...]
    frames: tuple[int, ...] = ()
    no_density: str = ""


def scan_headers(parts: Sequence[Part]) -> tuple[list[Stack], list[Aside]]:
    """Finds the CT series among some files.

    Returns:
      the stacks that make a scan each, and the files that belong to none.
    """
    images: list[Image] = []
    aside: list[Aside] = []
    with Reader() as reader:
        for part in parts:
            try:
                with naming(part.number):
                    found = dicom_headers.read(part, reader)
            except VolumeError as error:
                aside.append(Aside(part, "file that cannot be read", fault=str(error)))
                continue
            if isinstance(found, Aside):
                aside.append(found)
            else:
                images += found
        stacks, others = dicom_series.arrange(images, _contents(reader))
    return stacks, [*aside, *others]


def _contents(reader: Reader) -> Callable[[Image], Hashable]:
    known: dict[Part, str] = {}

    def content(image: Image) -> Hashable:
        if image.part not in known:
            with naming(image.part.number):
                found = dicom_headers.load(image.part, reader, pixels=True)
            pixels = b"" if found is None else bytes(found.get("PixelData") or b"")
            known[image.part] = hashlib.sha256(pixels).hexdigest()
        return known[image.part], image.frame, image.order, tuple(image.choice.items())

    return content


def read_series(
    files: Sequence[Path], series: str | int | None = None, hu_offset: float | None = None
) -> Series:
    """Reads the one CT series of a folder or zip.

    Args:
      files: DICOM files, or one zip.
      series: which one to read where there are several, as `dicom_series.choose` takes it.
      hu_offset: as for `read_stack`.

    Raises:
      VolumeError: no CT series, or several; images that are missing, doubled, of different shape or
        turned against each other; a damaged file, or headers that claim what is not there.
    """
    stacks, aside = scan_headers(dicom_files.list_parts(files))
    notes = dicom_series.set_aside(aside)
    if not stacks:
        raise VolumeError(dicom_series.nothing_found(aside))
    chosen = stacks if series is None else dicom_series.choose(stacks, str(series))
    if len(chosen) != 1:
        listed = dicom_series.listed(stacks)
        if series is not None:
            raise VolumeError(f"{len(chosen)} series {series}; there are: {listed}")
        raise VolumeError(f"several series: {listed}; choose one, or give a folder of one")
    left = len(stacks) - len(chosen)
    notes += [f"other series left out: {left}"] * bool(left)
    return read_stack(chosen[0], notes, hu_offset)


def read_stack(stack: Stack, notes: Sequence[str] = (), hu_offset: float | None = None) -> Series:
    """Reads the images of one scan.

    Args:
      stack: from `scan_headers`.
      notes: what is known of it besides.
      hu_offset: what is to be added to make HU of the values.

    Raises:
      VolumeError: the images are no whole volume; a damaged file, or headers that claim what is not
        there.
    """
    if stack.fault:
        raise VolumeError(stack.fault)
    lie = series_geometry.sort([image.plane for image in stack.images])
    images = [stack.images[i] for i in lie.order]
    with Reader() as reader:
        headers, stored, lossy, scales = _read_pixels(images, reader, hu_offset)
    try:
        said = [*notes, *stack.notes, *lie.notes, *rescale.differences(scales)]
    except IntensityError as error:
        raise VolumeError(str(error)) from error
    if lossy:
        said.append(f"{lossy} of {len(images)} images are compressed with loss")
    for header in headers:
        if not header.get("SliceThickness"):
            header.SliceThickness = DSfloat(lie.distance, auto_format=True)
    frames = tuple(0 if image.frame is None else image.frame + 1 for image in images)
    return Series(
        *(lie.grid, stored, lie.spacing, tuple(headers), tuple(said), frames),
        no_density=rescale.no_density(scales),
    )


def _read_pixels(
    images: Sequence[Image], reader: Reader, hu_offset: float | None
) -> tuple[list[pydicom.Dataset], np.ndarray, int, list[Rescale]]:
    """Reads pixels.

    Returns:
      headers; (columns, rows, slices) int16 in HU; how many images have lost something; how the
      header of each makes HU.
    """
    rows, columns = images[0].plane.rows, images[0].plane.columns
    voxels = rows * columns * len(images)
    if not 0 < min(rows, columns) <= max(rows, columns) <= MAX_SIDE or voxels > MAX_VOXELS:
        raise VolumeError(
            f"its header claims {columns} × {rows} pixels; expected at most {MAX_SIDE} a side "
            f"and {MAX_VOXELS:,} in all {len(images)} images"
        )
    # A file that is there for every claimed slice bounds nothing yet: compressed ones are small.
    stored = np.empty((columns, rows, len(images)), np.int16, order="F")
    headers: list[pydicom.Dataset] = [pydicom.Dataset()] * len(images)
    scales = [Rescale()] * len(images)
    lossy = 0
    by_part: dict[Part, list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        by_part[image.part].append(i)
    for part, places in by_part.items():
        with naming(part.number), dicom_headers.lenient():
            budget = Budget(dicom_headers.READS)
            file = dicom_headers.load(part, reader, budget, pixels=True)
            if file is None or "PixelData" not in file:
                raise VolumeError("without pixels")
            frames = dicom_frames.split(file, budget)
            for i in places:
                image = images[i]
                header = file if frames is None else frames[image.frame or 0]
                if dicom_headers.plane(header) != image.plane:
                    raise VolumeError("changed while it was read")
                _check(file, rows, columns, image.frame)
                lossy += file.file_meta.TransferSyntaxUID in _LOSSY
                frame = None if frames is None else image.frame
                values, scales[i] = _hounsfield(header, file, frame, hu_offset)
                stored[..., i] = values.T
                headers[i] = _without_pixels(header)
    return headers, stored, lossy, scales


def _without_pixels(header: pydicom.Dataset) -> pydicom.Dataset:
    kept = pydicom.Dataset()
    kept.update({tag: header[tag] for tag in header.keys() if tag.group != _PIXEL_GROUP})  # noqa: SIM118
    return kept


def _check(image: pydicom.Dataset, rows: int, columns: int, frame: int | None) -> None:
    """Refuses pixels that are none of a CT, or not those that the header claims."""
    frames = int(image.get("NumberOfFrames") or 1)
    kind, samples = image.get("PhotometricInterpretation"), image.get("SamplesPerPixel")
    if kind == "MONOCHROME1" and samples == 1:
        raise VolumeError(
            "inverted pixels (MONOCHROME1), of which nothing says whether the rescale slope means "
            "them so; convert them to MONOCHROME2"
        )
    if kind != "MONOCHROME2" or samples != 1 or (frames != 1 and frame is None):
        shown = kind if kind in _KINDS else "of an unknown kind"
        raise VolumeError(
            f"samples, kind and frames of its pixels are ({samples}, {shown}, {frames}); expected "
            "1, MONOCHROME2, 1"
        )
    if image.BitsAllocated not in (8, 16) or not 0 < image.BitsStored <= image.BitsAllocated:
        raise VolumeError(
            f"{image.BitsStored} of {image.BitsAllocated} bits a pixel; expected 8 or 16"
        )
    bytes_claimed = rows * columns * image.BitsAllocated // 8
    syntax = image.file_meta.TransferSyntaxUID
    if syntax in _NATIVE:
        if len(image.PixelData) < bytes_claimed * frames:
            raise VolumeError(
                f"truncated: {len(image.PixelData):,} bytes of pixels; its header claims "
                f"{bytes_claimed * frames:,}"
            )
        return
    if syntax not in (*_LOSSLESS, *_LOSSY):
        known = uid.UID(syntax).name
        shown = repr(known) if known != syntax else "that nobody knows"
        raise VolumeError(f"of transfer syntax {shown}, which is not read")
    if not get_decoder(syntax).is_available:
        raise VolumeError(
            f"compressed as {syntax.name!r}, for which there is no decoder here; install one "
            "with: pip install 'cosup-jax[dicom]'"
        )
    family = _FAMILIES.get(syntax, codestreams.JPEG)
    stream = pydicom.encaps.get_frame(image.PixelData, frame or 0, number_of_frames=frames)
    codestreams.check(stream, family, (rows, columns), bytes_claimed)


def _hounsfield(
    header: pydicom.Dataset, file: pydicom.Dataset, frame: int | None, offset: float | None
) -> tuple[np.ndarray, Rescale]:
    """Returns (rows, columns) int16 in HU of a frame, and how its header makes HU."""
    pixels = pixel_array(file, index=frame)
    try:
        scale = rescale.read(header)
        raw = None
        if scale.needs_all_bits and file.file_meta.TransferSyntaxUID in _NATIVE:
            order = ">" if file.file_meta.TransferSyntaxUID == _NATIVE[-1] else "<"
            kind = np.dtype(f"{order}{'i' if scale.signed else 'u'}{scale.bits[0] // 8}")
            start = (frame or 0) * pixels.size * kind.itemsize
            raw = np.frombuffer(file.PixelData, kind, pixels.size, start).reshape(pixels.shape)
        return rescale.hounsfield(pixels, scale, raw=raw, offset=offset), scale
    except IntensityError as error:
        raise VolumeError(str(error)) from error
