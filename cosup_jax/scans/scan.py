"""One scan in memory, whatever files it came from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cosup_jax.scans.geometry import Grid


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan in memory.

    Attributes:
      slices: (H, W) int16, uint8 or uint16 in the axial view (from the feet to the head, where
        that is known); the true value is `stored * slope + intercept`.
      intensity: one of `kinds.INTENSITIES`.
      save: writes a result, called with a folder, `mask`, `probability` or `classes`, and (H, W)
        uint8 for each slice: 0 and 1 in a mask, 0 to 255 in a probability, classes of infection
        from 1 on.
      slope: see `slices`.
      intercept: see `slices`.
      spacing: (z, y, x) in mm, or None if unknown.
      notes: what the user should know about it.
      unknown: why something cannot be known of it: `size` of a voxel, `sides` of the patient,
        `density` in HU.
      shear: see `Grid.shear`; above 1 only where the header leaves open how large a voxel is.
      save_nifti: writes a result as NIfTI where `save` writes DICOM, else None.
      grid: where its voxels lie in the body; None for pictures.
      placed: its header says so; False where it is assumed.
    """

    slices: Sequence[np.ndarray]
    intensity: str
    save: Callable[[Path, str, Sequence[np.ndarray]], None]
    slope: float = 1.0
    intercept: float = 0.0
    spacing: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    shear: float = 1.0
    save_nifti: Callable[[Path, str, Sequence[np.ndarray]], None] | None = None
    grid: Grid | None = None
    placed: bool = True

    @property
    def no_sides(self) -> str:
        """Why which side is right, and which end the head, is a guess; empty where it is none."""
        return self.unknown.get("sides", "") or (
            "" if self.grid else "pictures do not say how they lie in the body"
        )

    def values(self, index: int) -> np.ndarray:
        """Returns a slice as (H, W) float32 in its true unit."""
        return self.slices[index].astype(np.float32) * np.float32(self.slope) + np.float32(
            self.intercept
        )

    def true_slices(self) -> list[np.ndarray]:
        """Returns all slices in their true unit, as they are stored where that is the same."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return list(self.slices)
        return [self.values(i) for i in range(len(self.slices))]
