"""Masks and probabilities as DICOM Segmentation objects (highdicom, from the extra `dicom`)."""

import hashlib
import warnings
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import config, uid
from pydicom.sr.codedict import codes

from cosup_jax import __version__
from cosup_jax.scans import kinds
from cosup_jax.scans.dicom import Series
from cosup_jax.scans.nifti import VolumeError

_MAKER = "cosup-jax"
_TYPES = {
    "mask": hd.seg.SegmentationTypeValues.BINARY,
    "classes": hd.seg.SegmentationTypeValues.BINARY,
    "probability": hd.seg.SegmentationTypeValues.FRACTIONAL,
}
_SERIES_NUMBERS = {"mask": 9101, "probability": 9102, "classes": 9103}
_INFECTION = "Lung infection"


def write(path: Path, frames: np.ndarray, series: Series, result: str) -> None:
    """Writes a Segmentation that refers to the images of a series.

    Patient and study are those of the images, as the standard wants. The same frames on the same
    images get the same identifiers.

    Args:
      path: the file to write.
      frames: (slices, rows, columns) uint8 in the order of `series.headers`; 0 and 1 of a mask, 0
        to 255 of a probability, the classes of infection from 1 on, each a segment.
      series: what `dicom.read_series` returned.
      result: `mask`, `probability` or `classes`.

    Raises:
      VolumeError: the headers do not have what a Segmentation needs.
    """
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            # Of an empty mask, highdicom says that all of its frames are kept.
            warnings.filterwarnings("ignore", category=UserWarning)
            _segmentation(frames, series, result).save_as(path)
    except OSError:
        raise
    # pydicom and highdicom raise nearly every built-in exception on odd headers.
    except Exception as error:
        raise VolumeError(
            f"the headers of the images do not allow for a Segmentation ({type(error).__name__})"
        ) from error


def _segmentation(frames: np.ndarray, series: Series, result: str) -> hd.seg.Segmentation:
    values = frames / np.float32(255) if result == "probability" else frames
    labels = kinds.CLASSES[: frames.max(initial=1)] if result == "classes" else (_INFECTION,)
    source = [str(header.SOPInstanceUID) for header in series.headers]
    named = [__version__, result, hashlib.sha256(frames.tobytes()).hexdigest(), *source]
    return hd.seg.Segmentation(
        source_images=list(series.headers),
        pixel_array=values,
        segmentation_type=_TYPES[result],
        segment_descriptions=[_description(i, label) for i, label in enumerate(labels, 1)],
        series_instance_uid=uid.generate_uid(entropy_srcs=["series", *named]),
        series_number=_SERIES_NUMBERS[result],
        sop_instance_uid=uid.generate_uid(entropy_srcs=["instance", *named]),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_MAKER,
        software_versions=__version__,
        device_serial_number="0",
        content_label="INFECTION",
        content_description="Research use only",
        omit_empty_frames=bool(values.any()),
    )


def _description(number: int, label: str) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.capitalize(),
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=_MAKER, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        anatomic_regions=[codes.SCT.Lung],
    )
