"""Enhanced CT: a file of many slices, each turned into a header as that of a file of one slice."""

from collections.abc import Callable, Sequence
from io import BytesIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence

from cosup_jax.scans.dicom_stream import Bounded, Budget
from cosup_jax.scans.nifti import MAX_VOXELS, VolumeError

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# The functional groups whose attributes a file of one slice has in its header.
_MACROS = (
    *("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence"),
    *("FrameContentSequence", "CTImageFrameTypeSequence", "CTReconstructionSequence"),
    *("PixelValueTransformationSequence", "TemporalPositionSequence"),
    "CardiacSynchronizationSequence",
    # of Legacy Converted Enhanced CT: what else stood in the headers that it was made of
    *("UnassignedSharedConvertedAttributesSequence",),
    *("UnassignedPerFrameConvertedAttributesSequence",),
)
_ENCODING = "iso8859"  # no text that is taken here has other letters
# Of these the file itself has its own.
_NOT_TAKEN = {"SOPInstanceUID", "SOPClassUID", "InstanceNumber", "SeriesInstanceUID"}
_RENAMED = {
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
}


_LEFT = {*map(tag_for_keyword, (*GROUPS, "PixelData", "InstanceNumber"))}


# A frame has no more pieces than this to be read.
_READS = 300
# Most frames have as many bytes, and well compressed ones these; a file gets no more than for most.
_BYTES, FEWEST_BYTES, _MOST = 1 << 17, 1 << 13, 4096
_COUNT, _DESCRIBED = (tag_for_keyword(name) for name in ("NumberOfFrames", GROUPS[1]))
_LONGEST_COUNT = 12  # digits, as the standard has it


def allowing(stream: Bounded, size: int, budget: Budget, fewest: int) -> Callable[[int, int], None]:
    """Returns what is told of each element of a header, and lets more be read of many frames.

    How many there are is what the header says, but no more than the file has room for.

    Args:
      stream: from which the header is read.
      size: of the file in bytes.
      budget: of pieces that may be read of it.
      fewest: bytes of a frame with all that is said of it.
    """
    counted, allowed = 0, False

    def comes(tag: int, length: int) -> None:
        nonlocal counted, allowed
        if tag == _COUNT and length <= _LONGEST_COUNT:
            place = stream.tell()
            text = stream.read(length).strip(b" \0")
            stream.seek(place)
            counted = int(text) if text.isdigit() else 0
        elif tag == _DESCRIBED and not allowed:
            allowed = True
            frames = max(size // _BYTES, min(counted, size // fewest, _MOST))
            budget.allow(_READS * frames)

    return comes


def split(header: Dataset, budget: Budget) -> list[Dataset] | None:
    """Returns a header for each frame, with the frame's own attributes at its root.

    Args:
      header: of a file.
      budget: of pieces that may be read of it.

    Returns:
      as many headers as there are frames, or None for a file of one slice.

    Raises:
      VolumeError: it claims frames that it does not describe, or more than there can be.
    """
    if GROUPS[1] not in header:
        return None
    shared = Dataset()
    for item in _items(header, GROUPS[0], budget):
        _take(shared, item, budget)
    described = _items(header, GROUPS[1], budget)
    frames = int(header.get("NumberOfFrames") or 0)
    voxels = frames * int(header.Rows) * int(header.Columns)
    if frames != len(described) or not 0 < voxels <= MAX_VOXELS:
        raise VolumeError(
            f"{frames} frames, of which its functional groups describe {len(described)}; expected "
            f"as many, and at most {MAX_VOXELS:,} voxels"
        )
    root = Dataset()
    root.update({tag: header[tag] for tag in header.keys() if tag not in _LEFT})  # noqa: SIM118
    found = []
    for item in described:
        frame = Dataset()
        frame.update(root)
        frame.update(shared)
        _take(frame, item, budget)
        # A new element: those of the root are shared by all frames, and by the file.
        frame["NumberOfFrames"] = DataElement("NumberOfFrames", "IS", 1)
        found.append(frame)
    return found


def _items(header: Dataset, name: str, budget: Budget) -> Sequence[Dataset]:
    """Returns the items of a sequence; pydicom would read them without any bound."""
    if name not in header:
        return []
    element = header.get_item(name)
    if not isinstance(element, RawDataElement):
        return header[name].value or []
    with Bounded(BytesIO(element.value or b""), budget) as file:
        return read_sequence(
            file, element.is_implicit_VR, element.is_little_endian, element.length, _ENCODING
        )


def _take(into: Dataset, item: Dataset, budget: Budget) -> None:
    for macro in _MACROS:
        for values in _items(item, macro, budget)[:1]:
            for element in values:
                name = _RENAMED.get(element.keyword, element.keyword)
                if name and name not in _NOT_TAKEN and element.VR != "SQ":
                    into[name] = DataElement(name, element.VR, element.value)
