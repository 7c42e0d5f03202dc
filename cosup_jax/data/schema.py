"""The one feature schema of every dataset, and the checked way to make an example of it.

| field | type | meaning |
| --- | --- | --- |
| image | (H, W, 1) int16 | stored; the true value is `image * rescale_slope + rescale_intercept` |
| rescale_slope, rescale_intercept | float32 | 1 and 0 for whole numbers that fit int16 |
| intensity | label | `hu`, `grey8` (0..255), `grey16` (0..65535) or `unknown` |
| mask | (H, W, 1) uint8 | 1 ground-glass (or any infection), 2 consolidation, 3 effusion |
| has_mask | bool | False: nobody has labelled this slice and `mask` is all zero |
| lung | (H, W, 1) uint8 | 0 outside, 1 left or either lung, 2 right lung |
| has_lung | bool | False: `lung` is unknown and all zero |
| case_id, patient_id | text | `patient_id` is empty where the source does not say who it is |
| slice_index | int32 | position along the body axis within the case |
| spacing | (3,) float32 | voxel spacing (z, y, x) in mm, NaN where unknown |
"""

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cosup_jax.scans.kinds import CLASSES, INTENSITIES
from cosup_jax.scans.names import UNKNOWN_PATIENT

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

MAX_CLASS = len(CLASSES)
MAX_LUNG = 2
UINT16_OFFSET = 32768


class ExampleError(ValueError):
    """A slice that does not fit the schema; the message names the slice and what was expected."""


def normal_name(text: str) -> str:
    """Returns a name as names are compared: in Unicode's form NFC, without blanks around it.

    File systems and tables write one and the same name, such as `é`, in one character or in two.

    >>> normal_name("e\u0301 ") == "\u00e9"
    True
    """
    return unicodedata.normalize("NFC", text).strip()


def stored_name(text: str) -> str:
    """Returns a name in its normal form, if it can be stored.

    Raises:
      ExampleError: it is that of a file in another encoding than UTF-8.
    """
    name = normal_name(text)
    if name.encode("utf-8", "replace").decode() != name:
        raise ExampleError(
            f"the name {name!r} is no UTF-8 text, as of a file that another system has packed; "
            "rename what is called so"
        )
    return name


def features() -> "tfds.features.FeaturesDict":
    """Returns the feature dictionary, built of kinds that need no TensorFlow."""
    import tensorflow_datasets as tfds  # takes a second, which prediction need not wait for

    def raster(dtype: Any) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=(None, None, 1), dtype=dtype, encoding="zlib")

    return tfds.features.FeaturesDict(
        {
            "image": raster(np.int16),
            "rescale_slope": np.float32,
            "rescale_intercept": np.float32,
            "intensity": tfds.features.ClassLabel(names=list(INTENSITIES)),
            "mask": raster(np.uint8),
            "has_mask": np.bool_,
            "lung": raster(np.uint8),
            "has_lung": np.bool_,
            "case_id": tfds.features.Text(),
            "patient_id": tfds.features.Text(),
            "slice_index": np.int32,
            "spacing": tfds.features.Tensor(shape=(3,), dtype=np.float32),
        }
    )


def make_example(
    image: np.ndarray,
    *,
    intensity: str,
    case_id: str,
    patient_id: str = UNKNOWN_PATIENT,
    slice_index: int = 0,
    mask: np.ndarray | None = None,
    lung: np.ndarray | None = None,
    spacing: tuple[float, float, float] | None = None,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> dict[str, Any]:
    """Makes one checked example of the schema.

    Args:
      image: (H, W) int16, uint8 or uint16; kept without loss.
      intensity: one of `INTENSITIES`.
      case_id: the scan this slice belongs to; never empty.
      patient_id: the person scanned, or `UNKNOWN_PATIENT`.
      slice_index: position along the body axis.
      mask: (H, W) classes 0..3 of an integer or bool type, or None if not labelled.
      lung: (H, W) 0..2 of an integer or bool type, or None if unknown.
      spacing: voxel spacing (z, y, x) in mm, or None if unknown.
      slope: the true value of a pixel is `image * slope + intercept`.
      intercept: as said of `slope`.

    Raises:
      ExampleError: shapes differ, the image is empty, a type or value is outside the schema.
    """
    where = f"case {case_id!r}, slice {slice_index}"
    if not case_id:
        raise ExampleError("case_id is empty; every slice must name the scan it belongs to")
    if intensity not in INTENSITIES:
        raise ExampleError(f"{where}: intensity {intensity!r}, expected one of {INTENSITIES}")
    if image.ndim != 2 or image.size == 0:
        raise ExampleError(f"{where}: image of shape {image.shape}, expected (H, W) and not empty")
    if image.dtype == np.uint16:
        image = image.astype(np.int32) - UINT16_OFFSET
        intercept += slope * UINT16_OFFSET
    elif image.dtype not in (np.uint8, np.int16):
        raise ExampleError(f"{where}: image of {image.dtype}, expected int16, uint8 or uint16")
    return {
        "image": image.astype(np.int16)[..., None],
        "rescale_slope": slope,
        "rescale_intercept": intercept,
        "intensity": intensity,
        "mask": _labels(mask, image.shape, MAX_CLASS, f"{where}: mask"),
        "has_mask": mask is not None,
        "lung": _labels(lung, image.shape, MAX_LUNG, f"{where}: lung"),
        "has_lung": lung is not None,
        "case_id": case_id,
        "patient_id": patient_id,
        "slice_index": slice_index,
        "spacing": np.full(3, np.nan, np.float32)
        if spacing is None
        else np.asarray(spacing, np.float32),
    }


def _labels(
    labels: np.ndarray | None, shape: tuple[int, ...], largest: int, what: str
) -> np.ndarray:
    if labels is None:
        return np.zeros((*shape, 1), np.uint8)
    if labels.shape != shape:
        raise ExampleError(f"{what} of shape {labels.shape}, but the image is {shape}")
    if labels.dtype != np.bool_ and not np.issubdtype(labels.dtype, np.integer):
        raise ExampleError(f"{what} of {labels.dtype}, expected an integer type or bool")
    if labels.size and (labels.min() < 0 or labels.max() > largest):
        found = sorted(set(np.unique(labels).tolist()) - set(range(largest + 1)))
        raise ExampleError(f"{what} holds the values {found[:8]}, expected 0..{largest}")
    return labels.astype(np.uint8)[..., None]


def intensity_name(label: int) -> str:
    """Returns the name of an `intensity` label as it is read back from disk."""
    return INTENSITIES[label]


def true_values(example: Mapping[str, Any]) -> np.ndarray:
    """Returns the (H, W, 1) float32 image in its true unit (HU where `intensity` is `hu`)."""
    slope, intercept = (
        np.float32(example["rescale_slope"]),
        np.float32(example["rescale_intercept"]),
    )
    return example["image"].astype(np.float32) * slope + intercept
