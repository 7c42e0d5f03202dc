"""DICOM Segmentations of any tool into labels on a grid (pydicom, from the extra `dicom`).

Binary and fractional ones and label maps; planes on which nothing is drawn may be missing. Of the
header nothing counts but where the frames lie and of which segment each is.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import pixel_array

from cosup_jax.scans import (
    codestreams,
    dicom_files,
    dicom_headers,
    dicom_planes,
    dicom_read,
    series_geometry,
)
from cosup_jax.scans.dicom_files import Reader
from cosup_jax.scans.dicom_stream import MAX_FRAMES_BYTES, Budget
from cosup_jax.scans.geometry import Grid, GridError
from cosup_jax.scans.nifti import MAX_SIDE, MAX_VOXELS, VolumeError

CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_FRACTIONAL = "FRACTIONAL"
_KINDS = ("BINARY", _FRACTIONAL, "LABELMAP")
_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_COMPRESSED = {
    uid.RLELossless: codestreams.RLE,
    uid.JPEGLSLossless: codestreams.JPEG,
    uid.JPEG2000Lossless: codestreams.JPEG_2000,
}
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_SAME = 1e-3  # of a direction, or mm of a pixel
_FEWEST_FRAME_BYTES = 1 << 9  # of small planes with what is said of them


class Drawing(NamedTuple):
    """What a Segmentation holds, before anything of it means a class.

    Attributes:
      grid: stored axes are column, row, plane; its planes are those between the first and the last
        one that the file has.
      names: segment number to its label.
      planes: of each frame, the place of its plane on the grid.
      segments: of each frame, its segment; 0 in a label map, whose values are segments.
      file: the data set.
      depth_known: it is said how far planes lie apart; else it is the least distance of two.
    """

    grid: Grid
    names: Mapping[int, str]
    planes: tuple[int, ...]
    segments: tuple[int, ...]
    file: pydicom.FileDataset
    depth_known: bool

    def classes(self, values: Mapping[int, int]) -> np.ndarray:
        """Returns (columns, rows, planes) uint8 classes; where segments overlap the higher one.

        Args:
          values: segment number to class; 0 stands for nothing.

        Raises:
          VolumeError: a segment without a class, truncated or damaged pixels.
        """
        _check_declared(set(self.names), values)
        stored = np.zeros(self.grid.shape, np.uint8, order="F")
        top = _top(self.file)
        for i, (plane, segment) in enumerate(zip(self.planes, self.segments, strict=True)):
            pixels = _pixels(self.file, i, len(self.planes)).T
            if segment:
                drawn = (pixels > top / 2) * np.uint8(values[segment])
            else:
                _check_declared(set(np.unique(pixels).tolist()) - {0}, values)
                drawn = np.zeros(pixels.shape, np.uint8)
                for value, label in values.items():
                    drawn[pixels == value] = label
            stored[..., plane] = np.maximum(stored[..., plane], drawn)
        return stored


def _pixels(file: pydicom.FileDataset, index: int, count: int) -> np.ndarray:
    if family := _COMPRESSED.get(file.file_meta.TransferSyntaxUID):
        stream = pydicom.encaps.get_frame(file.PixelData, index, number_of_frames=count)
        size = file.Rows * file.Columns * file.BitsAllocated // 8
        codestreams.check(stream, family, (file.Rows, file.Columns), size)
    elif file.BitsAllocated == 1:  # pydicom loses bits of frames that begin inside a byte
        size = file.Rows * file.Columns
        first, end = index * size // 8, -(-(index + 1) * size // 8)
        packed = np.frombuffer(file.PixelData[first:end], np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[index * size % 8 :]
        return bits[:size].reshape(file.Rows, file.Columns)
    return pixel_array(file, index=index if count > 1 else None)


def _top(file: pydicom.Dataset) -> float:
    """Returns the number that stands for all of a voxel, or for certainty."""
    if file.get("SegmentationType") != _FRACTIONAL:
        return 1.0
    top = dicom_headers.numbers(file, "MaximumFractionalValue", 1)
    if not top or top[0] <= 0:
        raise VolumeError(
            "FRACTIONAL, but without MaximumFractionalValue, which alone says what its numbers mean"
        )
    return top[0]


def _check_declared(found: set[int], values: Mapping[int, int]) -> None:
    if strange := sorted(found - set(values)):
        raise VolumeError(
            f"holds the segments {', '.join(map(str, strange[:5]))}; expected only {sorted(values)}"
        )


def read(path: Path) -> Drawing:
    """Reads a Segmentation, without its pixels being decoded.

    Raises:
      VolumeError: no Segmentation, damaged, or its frames are no planes of one volume.
    """
    try:
        with dicom_headers.lenient():
            return _drawing(_load(path))
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
    # pydicom raises nearly every built-in exception on damaged files.
    except Exception as error:
        raise VolumeError(f"{path}: unreadable or damaged ({type(error).__name__})") from error


def _load(path: Path) -> pydicom.FileDataset:
    if path.stat().st_size > MAX_FRAMES_BYTES:
        raise VolumeError(f"larger than {MAX_FRAMES_BYTES:,} bytes; expected a Segmentation")
    part = dicom_files.list_parts([path])[0]
    with Reader() as reader:
        found = dicom_read.read(
            part, reader, Budget(dicom_headers.READS), fewest=_FEWEST_FRAME_BYTES
        )
    if found.get("SOPClassUID") not in CLASSES:
        raise VolumeError("is no DICOM Segmentation")
    return found


def _drawing(file: pydicom.FileDataset) -> Drawing:
    kind = str(file.get("SegmentationType", "BINARY"))
    if kind not in _KINDS:
        raise VolumeError(f"a Segmentation of a kind that is not one of {', '.join(_KINDS)}")
    frames = int(file.get("NumberOfFrames") or 1)
    _check_pixels(file, frames)
    groups = list(file.PerFrameFunctionalGroupsSequence)
    if len(groups) != frames:
        raise VolumeError(f"{frames} frames, but places of {len(groups)}")
    shared = file.get("SharedFunctionalGroupsSequence")
    common = shared[0] if shared else pydicom.Dataset()
    orientation = np.array([_numbers(_of(g, common, "PlaneOrientation"), 6) for g in groups])
    measures = [_of(group, common, "PixelMeasures") for group in groups]
    spacing = np.array([[float(n) for n in m.PixelSpacing] for m in measures])
    if np.ptp(orientation, axis=0).max() > _SAME or np.ptp(spacing, axis=0).max() > _SAME:
        raise VolumeError("frames that are turned against each other, or of several spacings")
    positions = np.array([_position(_of(group, common, "PlanePosition")) for group in groups])
    between, thickness = (
        abs((dicom_headers.numbers(measures[0], name, 1) or (0.0,))[0])
        for name in ("SpacingBetweenSlices", "SliceThickness")
    )
    across, down = series_geometry.perpendicular(orientation[0])
    normal = np.cross(across, down)
    planes, step, known = dicom_planes.find(positions, normal, between, thickness)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * spacing[0][1], down * spacing[0][0]
    affine[:3, 2], affine[:3, 3] = step, positions[int(np.argmin(planes))]
    affine[:3] *= _TO_RAS[:, None]
    shape = (int(file.Columns), int(file.Rows), int(planes.max()) + 1)
    if math.prod(shape) > MAX_VOXELS:
        raise VolumeError(f"its header claims {shape} voxels; expected at most {MAX_VOXELS:,}")
    try:
        grid = Grid(shape, affine)
    except GridError as error:
        raise VolumeError(str(error)) from error
    names = {int(s.SegmentNumber): str(s.get("SegmentLabel", "")) for s in file.SegmentSequence}
    segments = [0 if kind == "LABELMAP" else _segment(group, common, names) for group in groups]
    return Drawing(grid, names, tuple(int(p) for p in planes), tuple(segments), file, known)


def _check_pixels(file: pydicom.FileDataset, frames: int) -> None:
    rows, columns, bits = int(file.Rows), int(file.Columns), int(file.BitsAllocated)
    if (
        not 0 < min(rows, columns) <= max(rows, columns) <= MAX_SIDE
        or not 0 < frames <= dicom_planes.MAX_FRAMES
    ):
        raise VolumeError(f"its header claims {frames} frames of {columns} × {rows} pixels")
    if bits not in (1, 8, 16) or int(file.get("SamplesPerPixel") or 1) != 1:
        raise VolumeError(f"{bits} bits a pixel; expected 1, 8 or 16, of one sample")
    claimed = -(-rows * columns * frames * bits // 8)
    syntax = file.file_meta.TransferSyntaxUID
    if syntax not in _NATIVE and (syntax not in _COMPRESSED or bits == 1):
        raise VolumeError("compressed in a way that is not read in a Segmentation")
    if syntax in _NATIVE and len(file.PixelData) < claimed:
        raise VolumeError(
            f"truncated: {len(file.PixelData):,} bytes of pixels; its header claims {claimed:,}"
        )


def _of(group: pydicom.Dataset, common: pydicom.Dataset, name: str) -> pydicom.Dataset:
    """Returns what is said of a frame, or else of all frames."""
    return (group.get(f"{name}Sequence") or common[f"{name}Sequence"].value)[0]


def _numbers(item: pydicom.Dataset, count: int) -> list[float]:
    found = [float(n) for n in item.ImageOrientationPatient]
    if len(found) != count or not np.isfinite(found).all():
        raise VolumeError("an orientation that is none")
    return found


def _position(item: pydicom.Dataset) -> list[float]:
    found = [float(n) for n in item.ImagePositionPatient]
    if len(found) != 3 or not np.isfinite(found).all():
        raise VolumeError("a position that is none")
    return found


def _segment(group: pydicom.Dataset, common: pydicom.Dataset, names: Mapping[int, str]) -> int:
    number = int(_of(group, common, "SegmentIdentification").ReferencedSegmentNumber)
    if number not in names:
        raise VolumeError(f"a frame of segment {number}, which is not described")
    return number
