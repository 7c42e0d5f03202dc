"""One DICOM file as a data set, of which no more is read than its size allows for."""

import io
from collections.abc import Callable, Container

import pydicom
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_partial, read_preamble

from cosup_jax.scans import dicom_frames
from cosup_jax.scans.dicom_files import Part, Reader
from cosup_jax.scans.dicom_stream import Bounded, Budget, inflated


def read(
    part: Part,
    reader: Reader,
    budget: Budget,
    *,
    tags: list[int] | None = None,
    ends: Container[int] = (),
    fewest: int = dicom_frames.FEWEST_BYTES,
) -> pydicom.FileDataset:
    """Reads a file, a deflated one as it was before.

    Args:
      part: the file.
      reader: by which it is opened.
      budget: of pieces that may be read of it; of one of many frames more may be.
      tags: the elements that are wanted; None: all.
      ends: the elements before which reading ends.
      fewest: bytes of a frame with all that is said of it.

    Raises:
      VolumeError: damaged, or deflated from more than can be of use.
    """

    def end_of(stream: Bounded, size: int) -> Callable[[int, str | None, int], bool]:
        comes = dicom_frames.allowing(stream, size, budget, fewest)

        def is_end(tag: int, vr: str | None, length: int) -> bool:
            comes(tag, length)
            return int(tag) in ends

        return is_end

    with reader.open(part, budget) as file:
        preamble = read_preamble(file, True)
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
            file.seek(0)
            return read_partial(file, end_of(file, part.size), force=True, specific_tags=tags)
        # By itself pydicom would inflate a file to any size.
        with inflated(file, part.size, budget) as content:
            size = content.seek(0, io.SEEK_END)
            content.seek(0)
            ends_at = end_of(content, size)
            body = read_dataset(content, False, True, stop_when=ends_at, specific_tags=tags)
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian  # as it is now
    return pydicom.FileDataset("", body, preamble, FileMetaDataset(meta), False, True)
