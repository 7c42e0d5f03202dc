"""What a call of `predict` is asked for."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cosup_jax.metrics import THRESHOLD
from cosup_jax.scans import kinds

NIFTI, DICOM_SEG, BOTH = FORMATS = ("nifti", "dicom-seg", "both")


class CohortError(ValueError):
    """Settings, or a folder for results, that cannot be used; the message says why."""


@dataclass(frozen=True)
class Settings:
    """What decides the results besides scan and weights.

    Attributes:
      threshold: probability above which a voxel is infection.
      peak: probability that a voxel of each part of it must reach (`hysteresis`); 0: none.
      tta: average over each slice and its mirror image.
      probability: write the probabilities too.
      report: write a page for each scan.
      identify: DICOM scans keep the name of their folder or zip in the table and in file names.
      series: which DICOM series were asked for; None: all.
      hu_offset: what is to be added to the values to make them HU; None: the scan tells.
      within_lungs: marks outside of the lungs are removed, where they are few.
      unlimited: marks above or below all lung, and parts nowhere near it or, in pictures, touching
        none, are kept too.
      format: how results of DICOM scans are written, one of `FORMATS`.
    """

    threshold: float = THRESHOLD
    peak: float = 0.0
    tta: bool = False
    probability: bool = False
    report: bool = False
    identify: bool = False
    series: str | None = None
    hu_offset: float | None = None
    within_lungs: bool = False
    unlimited: bool = False
    format: str = DICOM_SEG

    def __post_init__(self) -> None:
        """Checks what can be wrong."""
        if not 0 < self.threshold < 1:
            raise CohortError(f"--threshold={self.threshold}: expected a number between 0 and 1")
        if not 0 <= self.peak < 1:
            raise CohortError(f"--peak={self.peak}: expected a number from 0 to below 1")
        most = kinds.LARGEST_OFFSET
        if self.hu_offset is not None and not -most <= self.hu_offset <= most:
            raise CohortError(
                f"--hu-offset={self.hu_offset}: expected a number of HU, of {most:,} at most"
            )
        if self.format not in FORMATS:
            raise CohortError(f"--format={self.format}: expected one of {', '.join(FORMATS)}")

    def kept(self) -> dict[str, Any]:
        """Returns the settings as a record has them."""
        return dataclasses.asdict(self)

    def joined(self, before: Mapping[str, Any]) -> "Settings":
        """Returns these settings, with all that `before` had written too."""
        form = self.format if before.get("format", self.format) == self.format else BOTH
        return dataclasses.replace(
            self,
            format=form,
            report=self.report or bool(before.get("report")),
            probability=self.probability or bool(before.get("probability")),
        )
