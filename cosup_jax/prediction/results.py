"""The results of one scan: mask, classes, probabilities, findings and page, in one folder."""

import errno
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from cosup_jax import __version__, metrics, models, report, weights
from cosup_jax.prediction import findings, hysteresis, limits, lungs, unlike
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.prediction.settings import DICOM_SEG, NIFTI, Settings
from cosup_jax.scans import kinds
from cosup_jax.scans.scan import Scan

_DIGITS = {"lesion_mean_hu": 1, "lung_ml": 1}
_FIGURES = 3  # at least, since a lesion may be of one voxel
# What a disk says that has no room or takes nothing; no other file would fare better there.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Maker:
    """Makes results with one network and one set of settings.

    Attributes:
      network: from `load_pretrained`.
      segmenter: of this network.
      settings: what is found, and what is written of it.
    """

    network: weights.Pretrained
    segmenter: Segmenter
    settings: Settings

    def make(self, scan: Scan, folder: Path, name: str, content: str) -> dict[str, Any]:
        """Writes the results of a scan into a folder and returns its findings and notes.

        Args:
          scan: the scan.
          folder: an empty folder.
          name: what the scan is called on its page.
          content: SHA-256 of the scan.

        Raises:
          ValueError, OSError: there is no mask of it, or the disk takes nothing any more.
        """
        true = scan.true_slices()
        known: dict[str, Any] = {"intensity": scan.intensity, "spacing": scan.spacing}
        with ThreadPoolExecutor(1) as beside:
            if scan.intensity == "hu" and scan.spacing is not None:
                known["find"] = lungs.begun(lungs.find_by_both, true, scan.spacing, beside)
            masks, labels, kept, near = self._mark(scan, name)
        done = unlike.doubt(near, sum(int(np.count_nonzero(mask)) for mask in masks))
        feet_first = not scan.no_sides
        done += unlike.flags(true, **known, feet_first=feet_first)
        done += unlike.lost(true, feet_first=feet_first)
        for limit in self._limits():
            masks, note = limit(true, masks, **known)
            done += [note] * bool(note)
        labels = [a * b for a, b in zip(labels, masks, strict=False)]
        names = classes(self.network)
        result = findings.describe(*(true, masks), unknown=scan.unknown, shear=scan.shear, **known)
        if names:
            findings.add_classes(result, labels, names, scan.spacing, scan.unknown)
        notes = [*scan.notes, *done, *result.notes]
        self._save(scan, folder, "mask", [mask.astype(np.uint8) for mask in masks], notes)
        if names:
            self._save(scan, folder, "classes", labels, notes)
        if self.settings.probability:
            self._save(scan, folder, "probability", kept, notes)
        if self.settings.report:
            self._page(folder, scan, true, masks, kept, result, notes, name, content)
        notes += result.whys()
        return {**_rounded(result.values), "notes": "; ".join(dict.fromkeys(notes))}

    def _mark(self, scan: Scan, name: str) -> "_Marked":
        count = len(scan.slices)
        found, near = _Marked([], [], [], 0), 0
        sure: list[np.ndarray] = []
        several = bool(classes(self.network))
        boxes = self.segmenter.boxes((scan.values(i) for i in range(count)), scan.intensity)
        values = (scan.values(i) for i in range(count))
        each = self.segmenter.labelled(values, scan.intensity, count, boxes)
        for probability, likeliest in tqdm(each, total=count, desc=name, unit="slice", leave=False):
            found.masks.append(probability > self.settings.threshold)
            sure.append(probability >= self.settings.peak)
            near += unlike.near_threshold(probability, self.settings.threshold)
            if several:
                found.labels.append(likeliest * found.masks[-1])
            if self.settings.probability or self.settings.report:
                found.probabilities.append(np.rint(probability * 255).astype(np.uint8))
        return found._replace(masks=hysteresis.holding(found.masks, sure), near=near)

    def _limits(self) -> list[limits.Limit]:
        wanted = [] if self.settings.unlimited else list(limits.USUAL)
        return wanted + [limits.within_lungs] * self.settings.within_lungs

    def _save(
        self,
        scan: Scan,
        folder: Path,
        result: str,
        slices: Sequence[np.ndarray],
        notes: list[str],
    ) -> None:
        """Writes one result in each form that is wanted; a form that fails is replaced by another.

        The mask must be there in some form; of the others it is noted that they are not.
        """
        wanted = self.settings.format
        try:
            if scan.save_nifti is None:
                scan.save(folder, result, slices)
                return
            refused = ""
            if wanted != NIFTI:
                try:
                    scan.save(folder, result, slices)
                except Exception as error:
                    _raise_if_full(error)
                    (folder / f"{result}.dcm").unlink(missing_ok=True)
                    refused = _told(error)
            if refused:
                notes.append(f"NIfTI in place of a DICOM Segmentation: {refused}")
            if refused or wanted != DICOM_SEG:
                scan.save_nifti(folder, result, slices)
        except Exception as error:
            _raise_if_full(error)
            if result == "mask":
                raise
            notes.append(f"no {result} file: {_told(error)}")

    def _command(self) -> str:
        """Returns the command that makes a page again; a path may tell whose scan it is."""
        settings, shipped = self.settings, self.network.name in weights.names()
        options = [f"--weights={self.network.name if shipped else 'WEIGHTS'}"]
        options += [f"--threshold={settings.threshold}", f"--peak={settings.peak}"]
        options += ["--tta"] * settings.tta
        options += ["--within-lungs"] * settings.within_lungs
        options += ["--unlimited"] * settings.unlimited
        if settings.hu_offset is not None:
            options.append(f"--hu-offset={settings.hu_offset}")
        return f"python -m cosup_jax predict SCAN --out FOLDER --report {' '.join(options)}"

    def _page(
        self,
        folder: Path,
        scan: Scan,
        slices: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        probabilities: Sequence[np.ndarray],
        result: findings.Findings,
        notes: list[str],
        name: str,
        content: str,
    ) -> None:
        provenance = {
            "input": f"sha256 {content}",
            "weights": f"{self.network.name}, sha256 {self.network.digest}",
            "version": f"cosup-jax {__version__}",
            "command": self._command(),
        }
        try:
            report.write_page(
                folder / "report.html",
                title=name,
                volume=_stack(slices),
                mask=_stack(masks),
                probability=_stack(probabilities) / np.float32(255),
                spacing=scan.spacing,
                no_sides=scan.no_sides,
                intensity="hu" if scan.intensity == "hu" else "grey",
                findings=_rounded(result.values),
                reasons=result.reasons,
                provenance=provenance,
                notes=list(dict.fromkeys(notes)),
            )
        except Exception as error:
            _raise_if_full(error)
            notes.append(f"no page: {_told(error)}")


class _Marked(NamedTuple):
    """What a network marks: each list has something for each slice, or nothing where not wanted."""

    masks: list[np.ndarray]
    labels: list[np.ndarray]  # of a network that tells classes apart
    probabilities: list[np.ndarray]  # 0 to 255
    near: int  # voxels whose probability is near the threshold


def classes(network: weights.Pretrained) -> tuple[str, ...]:
    """Returns the classes of infection that a network tells apart; nothing where it has one."""
    return kinds.CLASSES[: models.count_classes(network.model) - 1]


def _told(error: Exception) -> str:
    """Returns what one of our own errors says; of others their kind, as they may name somebody."""
    own = type(error).__module__.partition(".")[0] == "cosup_jax"
    return str(error) if own else type(error).__name__


def _raise_if_full(error: Exception) -> None:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in NO_ROOM:
        raise error


def _rounded(values: Mapping[str, float | int | None]) -> dict[str, float | int | None]:
    return {
        name: round(value, metrics.places(value, _DIGITS.get(name, 3), _FIGURES))
        if isinstance(value, float)
        else value
        for name, value in values.items()
    }


def _stack(slices: Sequence[np.ndarray]) -> np.ndarray:
    """Returns (Z, H, W); slices smaller than others lie in the upper left corner."""
    shape = np.max([pixels.shape for pixels in slices], axis=0)
    stacked = np.zeros((len(slices), *shape), np.result_type(*slices))
    for place, pixels in zip(stacked, slices, strict=True):
        place[: pixels.shape[0], : pixels.shape[1]] = pixels
    return stacked
