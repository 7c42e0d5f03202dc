"""From a stored slice to what the network sees; shared by training and inference. NumPy only.

The steps of the paper (§4.1): bilinear resize to the network's size, then z-score per slice, where
Inf-Net takes grey values in 0..1. Images in Hounsfield units are windowed first. Masks are resized
by nearest neighbour, all infection classes become one, and the edge truth of Eq. 1 is the
morphological gradient of that mask.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from cosup_jax.data import schema, shown_lungs

LUNG_WINDOW = (-600.0, 1500.0)
_MIN_STD = 1e-6
SCALINGS = ("z_score", "unit")
_GREY_MAXIMUM = {"grey8": 255.0, "grey16": 65535.0}
_OVERSHOOT = 0.05  # beyond 0..1, as resampling leaves it at sharp borders


class UnlabelledSliceError(ValueError):
    """A slice without a mask stands where a labelled one is needed."""


class ClassError(ValueError):
    """A mask has a class that the network does not tell apart."""


@dataclass(frozen=True)
class Preprocessing:
    """The settings that decide what the network sees; the same in training and inference.

    Attributes:
      size: (height, width) in pixels.
      window: (centre, width) in HU, applied only to images in HU.
      scaling: `z_score`: mean 0 and deviation 1 in every slice; `unit`: 0..1 is the window, or the
        range of the grey values (where that is not known, of the slice, unless it lies in 0..1).
      lungs: whether what lies beyond the lungs is half as bright, by which alone a network of one
        channel is told where lung is.

    Raises:
      ValueError: an unknown scaling.
    """

    size: tuple[int, int] = (256, 256)
    window: tuple[float, float] = LUNG_WINDOW
    scaling: str = "z_score"
    lungs: bool = False

    def __post_init__(self) -> None:
        """Refuses a scaling that does not exist."""
        if self.scaling not in SCALINGS:
            raise ValueError(
                f"data.scaling is {self.scaling!r}, expected one of {', '.join(SCALINGS)}"
            )


def apply_window(hu: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Maps the HU window (centre, width) linearly to 0..1 and clips what lies outside.

    Raises:
      ValueError: the width is not above 0, as where ends stand for centre and width.

    >>> apply_window(np.array([-2000.0, -600.0, 150.0]), (-600.0, 1500.0)).tolist()
    [0.0, 0.5, 1.0]
    """
    centre, width = window
    if not width > 0:
        raise ValueError(f"window is {window}, expected (centre, width) in HU, a width above 0")
    return np.clip((hu - (centre - width / 2)) / width, 0.0, 1.0)


def windowed(values: np.ndarray, intensity: str, window: tuple[float, float]) -> np.ndarray:
    """Returns values of any kind as grey ones: HU within the window, all others as they are."""
    return apply_window(values, window) if intensity == "hu" else values


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) float32 bilinearly (half-pixel centres; averages when it shrinks)."""
    if image.shape == tuple(size):
        return image.astype(np.float32)
    resized = Image.fromarray(image.astype(np.float32)).resize(
        size[::-1], Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) uint8 labels by nearest neighbour (half-pixel centres)."""
    if labels.shape == tuple(size):
        return labels
    return np.asarray(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST))


def z_score(image: np.ndarray) -> np.ndarray:
    """Subtracts the mean and divides by the standard deviation; a constant image becomes 0.

    >>> z_score(np.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    >>> z_score(np.full((1, 2), 7.0)).tolist()
    [[0.0, 0.0]]
    """
    centred = image - image.mean()
    std = centred.std()
    # Rounding leaves a constant image with a tiny spread, which must not be blown up.
    if std <= _MIN_STD * max(1.0, float(np.abs(image).max())):
        return np.zeros_like(centred)
    return centred / std


def unit_range(image: np.ndarray, intensity: str) -> np.ndarray:
    """Maps grey values of a known range linearly to 0..1, others by their minimum and maximum.

    Those of an unknown range that lie in 0..1 are left as they are; the little beyond that
    resampling makes is cut off.

    >>> unit_range(np.array([[51.0, 255.0]]), "grey8").tolist()
    [[0.2, 1.0]]
    >>> unit_range(np.array([[51.0, 255.0]]), "unknown").tolist()
    [[0.0, 1.0]]
    >>> unit_range(np.array([[0.25, 0.5]]), "unknown").tolist()
    [[0.25, 0.5]]
    >>> unit_range(np.array([[-0.01, 0.5, 1.01]]), "unknown").tolist()
    [[0.0, 0.5, 1.0]]
    """
    if intensity in _GREY_MAXIMUM:
        return image / _GREY_MAXIMUM[intensity]
    darkest = image.min()
    if darkest >= -_OVERSHOOT and image.max() <= 1 + _OVERSHOOT:
        return np.clip(image, 0, 1)
    return (image - darkest) / max(float(np.ptp(image)), _MIN_STD)


def edges(mask: np.ndarray) -> np.ndarray:
    """Returns the morphological gradient of a (H, W) mask: dilation minus erosion by a cross.

    The line is two pixels wide, one inside and one outside (4-neighbours); beyond the image border
    the mask goes on as it is, so an infection cut by the border has no edge there. uint8 0/1.

    >>> edges(np.pad(np.ones((1, 1), np.uint8), 1)).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    inside = mask > 0
    grown, shrunk = inside.copy(), inside.copy()
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
        grown[here] |= inside[there]
        shrunk[here] &= inside[there]
        grown[:, here] |= inside[:, there]
        shrunk[:, here] &= inside[:, there]
    return (grown & ~shrunk).astype(np.uint8)


def prepare_image(
    values: np.ndarray,
    intensity: str,
    settings: Preprocessing,
    lung: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the network's input (h, w, 1) float32 of a slice (H, W) in its true unit.

    Args:
      values: (H, W) float32; HU where `intensity` is `hu`, grey values otherwise.
      intensity: one of `schema.INTENSITIES`.
      settings: size, window, scaling, and whether lungs are shown.
      lung: (H, W) bool, the lungs and what touches them (`shown_lungs.taken`); needed where they
        are shown.

    Raises:
      ValueError: they are to be shown, and not given.
    """
    if intensity == "hu":
        values = apply_window(values, settings.window)
    elif settings.scaling == "unit":
        values = unit_range(values, intensity)
    if settings.lungs:
        if lung is None:
            raise ValueError("the network is shown where lung is; give the lungs of the slice")
        values = shown_lungs.darkened(values, lung)
    resized = resize_image(values, settings.size)
    scaled = z_score(resized) if settings.scaling == "z_score" else resized
    return scaled.astype(np.float32)[..., None]


def cut(example: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    """Returns the part of values (H, W) of an example that lies in its `box`; all without one."""
    return values[example["box"]] if "box" in example else values


def prepare_example(
    example: Mapping[str, Any],
    settings: Preprocessing,
    *,
    classes: int = 1,
    lungs: Callable[[np.ndarray, str], np.ndarray] | None = None,
) -> dict[str, Any]:
    """Returns image, mask and edge truth of a labelled example of the schema, and where it is from.

    Args:
      example: a stored example. Where it has a `box` (`chest.Box`), image and mask are cut to it.
      settings: size, window, scaling, and whether lungs are shown.
      classes: 1 joins all classes of infection in the mask; more leaves them apart, the
        background being one of them.
      lungs: finds them, (H, W) bool, in all of a slice of an intensity; asked where they are shown.

    Returns:
      `image` (h, w, 1) float32, `mask` and `edge` (h, w, 1) uint8 0/1 (with several classes the
      mask has 0..classes−1, and the edge is that of all infection), `case_id`, `patient_id` str,
      `slice_index` int.

    Raises:
      UnlabelledSliceError: the example has no mask.
      ClassError: its mask has a class more.
    """
    case_id = example["case_id"].decode()
    if not example["has_mask"]:
        raise UnlabelledSliceError(
            f"case {case_id!r}, slice {example['slice_index']} has no mask; training and "
            "evaluation need labelled splits (an unlabelled split serves prediction only)"
        )
    intensity = schema.intensity_name(example["intensity"])
    labels = example["mask"][..., 0]
    if classes == 1:
        labels = (labels > 0).astype(np.uint8)
    elif labels.max() >= classes:
        raise ClassError(
            f"case {case_id!r}, slice {example['slice_index']} has class {labels.max()}, but the "
            f"network tells 0..{classes - 1} apart; give more --config.model.classes"
        )
    mask = resize_labels(cut(example, labels), settings.size)
    values, lung = schema.true_values(example)[..., 0], None
    if settings.lungs and lungs is not None:
        values, near = shown_lungs.taken(values, intensity, lungs(values, intensity))
        lung = cut(example, near)
    return {
        "image": prepare_image(cut(example, values), intensity, settings, lung),
        "mask": mask[..., None],
        "edge": edges(mask)[..., None],
        "case_id": case_id,
        "patient_id": example["patient_id"].decode(),
        "slice_index": int(example["slice_index"]),
    }
