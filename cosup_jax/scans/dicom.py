"""DICOM series of CT slices into volumes in HU (pydicom, from the extra `dicom`).

Files are sorted by where their slices lie in the body, never by name or number. No message names a
file, a person or a date: messages go into tables that are passed on. Nothing is decoded before what
the headers claim has been held against the file, the codec's own header included.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.valuerep import DSfloat

from cosup_jax.scans import (
    dicom_files,
    dicom_frames,
    dicom_headers,
    dicom_pixels,
    dicom_series,
    rescale,
    series_geometry,
)
from cosup_jax.scans.dicom_files import Part, Reader, naming
from cosup_jax.scans.dicom_headers import Aside, Image
from cosup_jax.scans.dicom_series import Stack
from cosup_jax.scans.dicom_stream import Budget
from cosup_jax.scans.geometry import Grid
from cosup_jax.scans.intensity import IntensityError
from cosup_jax.scans.nifti import MAX_SIDE, MAX_VOXELS, VolumeError

_PIXEL_GROUP = 0x7FE0


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
      must_be_hu: what an image says of its values that is true of HU alone; empty if nothing is.
    """

    grid: Grid
    stored: np.ndarray
    spacing: tuple[float, float, float]
    headers: tuple[pydicom.Dataset, ...]
    notes: tuple[str, ...]
    frames: tuple[int, ...] = ()
    no_density: str = ""
    must_be_hu: str = ""


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
            images += [one for one in found if isinstance(one, Image)]
            aside += [one for one in found if isinstance(one, Aside)]
        stacks, others = dicom_series.arrange(images, _contents(reader))
    return stacks, [*aside, *others]


def _contents(reader: Reader) -> Callable[[Image], Hashable]:
    """Returns what tells an image's values from others', however they are compressed."""
    known: dict[Part, dict[int | None, str]] = {}

    def content(image: Image) -> Hashable:
        if image.part not in known:
            known[image.part] = _digests(image.part, reader)
        return known[image.part].get(image.frame)

    return content


def _digests(part: Part, reader: Reader) -> dict[int | None, str]:
    """Returns a digest of the HU of each frame, or of what is stored where these cannot be read."""
    with naming(part.number), dicom_headers.lenient():
        budget = Budget(dicom_headers.READS)
        file = dicom_headers.load(part, reader, budget, pixels=True)
        if file is None:
            return {}
        frames = dicom_frames.split(file, budget)
    found: dict[int | None, str] = {}
    for i, header in enumerate([file] if frames is None else frames):
        frame = None if frames is None else i
        try:
            with naming(part.number), dicom_headers.lenient():
                plane = dicom_headers.plane(header)
                dicom_pixels.check(file, plane.rows, plane.columns, frame)
                values = dicom_pixels.hounsfield(header, file, frame).values
        except VolumeError:
            values = np.frombuffer(bytes(file.get("PixelData") or b""), np.uint8)
        found[frame] = hashlib.sha256(values.tobytes()).hexdigest()
    return found


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
        headers, stored, read = _read_pixels(images, reader, hu_offset)
    scales = [one.scale for one in read]
    try:
        said = [*notes, *stack.notes, *lie.notes, *rescale.differences(scales)]
    except IntensityError as error:
        raise VolumeError(str(error)) from error
    said += dicom_pixels.notes(read)
    for header, image in zip(headers, images, strict=True):
        if image.plane.thickness is None:
            header.SliceThickness = DSfloat(lie.distance, auto_format=True)
    frames = tuple(0 if image.frame is None else image.frame + 1 for image in images)
    return Series(
        *(lie.grid, stored, lie.spacing, tuple(headers), tuple(said), frames),
        no_density=rescale.no_density(scales),
        must_be_hu="white is 0" if any(one.inverted for one in read) else "",
    )


def _read_pixels(
    images: Sequence[Image], reader: Reader, hu_offset: float | None
) -> tuple[list[pydicom.Dataset], np.ndarray, list[dicom_pixels.Read]]:
    """Reads pixels.

    Returns:
      headers; (columns, rows, slices) int16 in HU; what is to be known of each image's values.
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
    read: list[dicom_pixels.Read] = [dicom_pixels.Read(np.empty(0), rescale.Rescale())] * len(
        images
    )
    left, upper = [*range(len(images))], None
    while left:
        for i, header, found in _read_each(images, left, reader, hu_offset, upper):
            stored[..., i] = found.values.T
            read[i] = found._replace(values=np.empty(0))
            headers[i] = _without_pixels(header)
        left = [i for i, one in enumerate(read) if one.undecided]
        upper = any(one.shifted for one in read)
    return headers, stored, read


def _read_each(
    images: Sequence[Image],
    which: Sequence[int],
    reader: Reader,
    hu_offset: float | None,
    upper: bool | None,
) -> Iterator[tuple[int, pydicom.Dataset, dicom_pixels.Read]]:
    """Yields some images by number with their headers and values, file by file."""
    by_part: dict[Part, list[int]] = defaultdict(list)
    for i in which:
        by_part[images[i].part].append(i)
    for part, places in by_part.items():
        with naming(part.number), dicom_headers.lenient():
            budget = Budget(dicom_headers.READS)
            file = dicom_headers.load(part, reader, budget, pixels=True)
            if file is None or "PixelData" not in file:
                raise VolumeError("without pixels, or of others than whole numbers")
            frames = dicom_frames.split(file, budget)
            for i in places:
                image = images[i]
                header = file if frames is None else frames[image.frame or 0]
                if dicom_headers.plane(header) != image.plane:
                    raise VolumeError("changed while it was read")
                dicom_pixels.check(file, image.plane.rows, image.plane.columns, image.frame)
                frame = None if frames is None else image.frame
                yield i, header, dicom_pixels.hounsfield(header, file, frame, hu_offset, upper)


def _without_pixels(header: pydicom.Dataset) -> pydicom.Dataset:
    kept = pydicom.Dataset()
    kept.update({tag: header[tag] for tag in header.keys() if tag.group != _PIXEL_GROUP})  # noqa: SIM118
    return kept
