"""What the page knows and says of a scan beside its voxels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cosup_jax.report.stacks import Stack

# Name, centre and width in HU.
WINDOWS = (("Lung", -600, 1500), ("Mediastinum", 40, 400), ("Bone", 400, 1800))


def geometry(shape: tuple[int, ...], spacing: Sequence[float] | None) -> str:
    """Returns the number and size of the voxels in words."""
    slices, height, width = shape
    voxels = f"{slices} slice{'' if slices == 1 else 's'} of {width} × {height} pixels"
    if spacing is None:
        return f"{voxels}; the size of the voxels is not known"
    return f"{voxels}, voxels of {' × '.join(f'{side:.2f}' for side in spacing[::-1])} mm"


def windows(
    volume: np.ndarray, levels: np.ndarray, intensity: str
) -> list[tuple[str, float, float]]:
    """Returns name, centre and width of the windows offered, the first of which is shown."""
    if intensity == "hu":
        return [*WINDOWS]
    some = volume[:: max(1, len(volume) // 16)]
    ends = {"Full": (levels[0], levels[-1]), "Contrast": np.percentile(some, [2, 98])}
    return [
        (name, float(low + high) / 2, max(float(high - low), 1e-6))
        for name, (low, high) in ends.items()
    ]


def burden(mask: np.ndarray, spacing: Sequence[float] | None) -> dict[str, Any]:
    """Returns the marked voxels of each slice, and the area of one in cm², or in pixels."""
    counts = np.count_nonzero(mask, axis=(1, 2)).tolist()
    if spacing is None:
        return {"unit": "pixels", "area": 1, "counts": counts}
    return {"unit": "cm²", "area": spacing[1] * spacing[2] / 100, "counts": counts}


def start(mask: np.ndarray) -> list[int]:
    """Returns (z, y, x) of a marked voxel, amid all that the slice with most of them has."""
    z = int(np.count_nonzero(mask, axis=(1, 2)).argmax())
    marked = np.argwhere(mask[z])
    if not len(marked):
        return [side // 2 for side in mask.shape]
    y, x = marked[np.square(marked - marked.mean(0)).sum(1).argmin()]
    return [z, int(y), int(x)]


def remarks(
    image: Stack,
    shape: tuple[int, ...],
    spacing: Sequence[float] | None,
    intensity: str,
    no_sides: str,
) -> list[str]:
    """Returns what a reader should know of how the volume is shown."""
    height, width = shape[1:]
    said = ["The mask is shown voxel for voxel."]
    if image.size != (height, width):
        said.append(
            f"To keep this file small, slices are shown at {image.size[1]} × {image.size[0]} "
            f"instead of {width} × {height} pixels."
        )
    if image.quality is not None:
        said.append(
            f"To keep this file small, slices are compressed with loss (WebP, quality "
            f"{image.quality}); values read from them are approximate."
        )
    if intensity == "hu":
        said.append(
            "Values are rounded: to 8 HU below −200 HU, to 4 HU up to 300 HU, to 40 HU above; "
            "outside of −1024 to 1380 HU they are clipped."
        )
    else:
        said.append("Values are grey levels, not Hounsfield units.")
    if spacing is None:
        said.append("The size of the voxels is not known; they are drawn as cubes.")
    if no_sides:
        said.append(
            f"What is right, front or head is assumed, hence the question marks: {no_sides}."
        )
    return said
