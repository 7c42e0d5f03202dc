"""COVID-SemiSeg (Fan et al., 2020): 98 labelled CT slices and 1,600 without expert labels."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import schema, slice_files, splits, volume_files
from cosup_jax.data.builder import NO_DATA_NEEDED, Case, CtSliceBuilder
from cosup_jax.scans import images
from cosup_jax.scans.names import UNKNOWN_PATIENT, SliceName
from tfds_builders.covid_ct_seg import covid_ct_seg_dataset_builder as covid_ct_seg
from tfds_builders.medseg_covid import medseg_covid_dataset_builder as medseg_covid

DOCTOR = "TrainingSet/LungInfection-Train/Doctor-label"
DOCTOR_CLASSES = "TrainingSet/MultiClassInfection-Train"
PSEUDO = "TrainingSet/LungInfection-Train/Pseudo-label"
TEST = "TestingSet/LungInfection-Test"
TEST_CLASSES = "TestingSet/MultiClassInfection-Test"

PUBLISHED_SLICES = {DOCTOR: 50, PSEUDO: 1600, TEST: 48}
MASK_VALUES = {0: 0, 255: 1}
CLASS_VALUES = {0: 0, 1: 1, 2: 2}
PSEUDO_THRESHOLD = 128
VALIDATION_SHARE = 10
_SPLIT_SEED = "covid_semiseg"

_SLICE_OF_VOLUME = re.compile(r"Data-1_(.+)_([0-9]{1,9})")


@dataclasses.dataclass(eq=False)
class CovidSemiSegConfig(tfds.core.BuilderConfig):
    """Which labels to train on.

    Attributes:
      pseudo: train on the 1,600 slices with the published pseudo labels, instead of on the experts'
        labels.
    """

    pseudo: bool = False


@dataclasses.dataclass(frozen=True)
class _Slice:
    """One slice's files: the binary mask and its classes, or a soft pseudo label, or neither.

    With `from_back`, its columns run from back to front.
    """

    slice_index: int
    image: Path
    from_back: bool = False
    mask: Path | None = None
    classes: Path | None = None
    pseudo: Path | None = None


class Builder(CtSliceBuilder):
    """Reads COVID-SemiSeg in the layout of its authors."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "2.0.0": "Slices stand upright; they are published lying on their side.",
        "1.0.0": "Initial release.",
    }
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        CovidSemiSegConfig(
            name="default", version=VERSION, description="expert labels, and 1,600 slices without"
        ),
        CovidSemiSegConfig(
            name="pseudo",
            version=VERSION,
            description="training on the 1,600 slices with the published pseudo labels",
            pseudo=True,
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Unpack COVID-SemiSeg from https://github.com/DengPingFan/Inf-Net so that the folder, or "
        "one folder in it, holds\n"
        f"  {DOCTOR}/{{Imgs,GT}}\n"
        f"  {DOCTOR_CLASSES}/GT\n"
        f"  {PSEUDO}/{{Imgs,GT}}\n"
        f"  {TEST}/{{Imgs,GT}}\n"
        f"  {TEST_CLASSES}/GT\n"
        "All of it comes in one download. Give the folder with --config.data.source=FOLDER, or to "
        f"tfds build with --manual_dir=FOLDER. {NO_DATA_NEEDED}"
    )
    collection = medseg_covid.COLLECTION

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists train, validation, test and, in the configuration `default`, unlabelled."""
        root = volume_files.find_root(self.source_folder(dl_manager), "TrainingSet", "TestingSet")
        doctor = self._expert_cases(root, DOCTOR, DOCTOR_CLASSES)
        test = self._expert_cases(root, TEST, TEST_CLASSES)
        _check_slices_apart(doctor, test)
        chosen = validation_names(list(doctor))
        cases = {
            "train": [case for name, case in doctor.items() if name not in chosen],
            "validation": [case for name, case in doctor.items() if name in chosen],
            "test": list(test.values()),
        }
        if self.builder_config.pseudo:
            return {**cases, "train": self._volume_cases(root, pseudo=True)}
        return {**cases, "unlabelled": self._volume_cases(root, pseudo=False)}

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a case."""
        for piece in case.source:
            image = images.read_grey(piece.image)
            mask = _read_mask(piece, image)
            yield schema.make_example(
                upright(image, from_back=piece.from_back),
                intensity="grey8",
                case_id=case.case_id,
                patient_id=case.patient_id,
                slice_index=piece.slice_index,
                mask=None if mask is None else upright(mask, from_back=piece.from_back),
            )

    def _files(self, root: Path, part: str, *, masks: bool = False) -> dict[str, Path]:
        folder = root / part
        if not folder.is_dir():
            raise self.layout_error(f"{folder}: no such folder")
        return slice_files.list_slices(folder, root, masks=masks)

    def _images(self, root: Path, part: str) -> dict[str, Path]:
        files = self._files(root, f"{part}/Imgs")
        if len(files) != PUBLISHED_SLICES[part]:
            logging.warning(
                "covid_semiseg: %s holds %d images, but %d were published; the copy is incomplete "
                "or altered",
                root / part / "Imgs",
                len(files),
                PUBLISHED_SLICES[part],
            )
        return files

    def _masks(self, root: Path, part: str, files: Mapping[str, Path]) -> dict[str, Path]:
        masks = self._files(root, f"{part}/GT", masks=True)
        slice_files.match(files, masks, root / part / "GT")
        return masks

    def _expert_cases(self, root: Path, part: str, class_part: str) -> dict[str, Case]:
        files = self._images(root, part)
        masks = self._masks(root, part, files)
        classes = self._masks(root, class_part, files)
        return {
            stem: Case(
                f"slice_{stem}",
                UNKNOWN_PATIENT,
                (_Slice(0, path, mask=masks[stem], classes=classes[stem]),),
            )
            for stem, path in files.items()
        }

    def _volume_cases(self, root: Path, *, pseudo: bool) -> list[Case]:
        files = self._images(root, PSEUDO)
        labels = self._masks(root, PSEUDO, files) if pseudo else {}
        grouped: dict[str, list[_Slice]] = {}
        patients = {}
        for stem, path in files.items():
            name = volume_name(stem)
            if not name.case_known:
                logging.warning("covid_semiseg: %s: the name does not tell the patient", path)
            patients[name.case_id] = name.patient_id
            from_back = is_from_back(name.case_id)
            piece = _Slice(name.slice_index, path, from_back, pseudo=labels.get(stem))
            grouped.setdefault(name.case_id, []).append(piece)
        return [
            Case(case_id, patients[case_id], tuple(sorted(group, key=lambda s: s.slice_index)))
            for case_id, group in sorted(grouped.items())
        ]


def validation_names(names: Sequence[str]) -> set[str]:
    """Chooses the tenth of the names that is validated on (5 of the 50), whatever their order.

    A permutation seeded by hashing, the same with every version of Python and NumPy: the names with
    the smallest SHA-256 of `covid_semiseg:<name>`.
    """
    return set(splits.ranked(names, _SPLIT_SEED)[: max(1, len(names) // VALIDATION_SHARE)])


def volume_name(stem: str) -> SliceName:
    """Reads case, patient and position of one of the 1,600 slices from its name.

    Cases and patients are named as those of `covid_ct_seg`, the 20 volumes they were taken from.

    >>> volume_name("Data-1_radiopaedia_org_covid-19-pneumonia-29_86491_1-dcm_7").patient_id
    'radiopaedia_29'
    """
    if (found := _SLICE_OF_VOLUME.fullmatch(stem)) and (case := covid_ct_seg.case_name(found[1])):
        return SliceName(case, covid_ct_seg.patient_id(case), int(found[2]))
    return SliceName(stem, UNKNOWN_PATIENT, 0, case_known=False)


def is_from_back(case: str) -> bool:
    """Whether the columns of a volume's slices run from back to front."""
    return case.startswith("coronacases")


def upright(stored: np.ndarray, *, from_back: bool) -> np.ndarray:
    """Returns a published picture (H, W) in the radiological view, with the front above.

    The rows of the published pictures run from the patient's right to the left, the columns from
    front to back, or from back to front in those made of the coronacases.
    """
    turned = stored.T
    return turned[::-1] if from_back else turned


def merge_classes(infected: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns classes that agree with the binary mask, which decides.

    Args:
      infected: (H, W) bool.
      classes: (H, W) uint8, 0 background, 1 ground-glass, 2 consolidation.

    Returns:
      (H, W) uint8: 0 outside of `infected`; inside, the class, or 1 where there is none.
    """
    inside = np.maximum(classes, np.uint8(1))
    return np.where(infected, inside, np.uint8(0))


def _read_mask(piece: _Slice, image: np.ndarray) -> np.ndarray | None:
    if piece.pseudo is not None:
        soft = images.read_codes(piece.pseudo)
        images.check_same_size(image, soft, piece.image, piece.pseudo)
        if soft.dtype != np.uint8:
            raise images.ImageError(f"{piece.pseudo}: 16-bit; expected a soft label of 0..255")
        return soft >= PSEUDO_THRESHOLD
    if piece.mask is None or piece.classes is None:
        return None
    infected = images.read_labels(piece.mask, MASK_VALUES)
    images.check_same_size(image, infected, piece.image, piece.mask)
    classes = images.read_labels(piece.classes, CLASS_VALUES)
    images.check_same_size(image, classes, piece.image, piece.classes)
    differ = int(((classes > 0) != (infected > 0)).sum())
    if differ:
        logging.warning(
            "covid_semiseg: %s and %s disagree on %d pixels; the former decides",
            piece.mask,
            piece.classes,
            differ,
        )
    return merge_classes(infected > 0, classes)


def _check_slices_apart(doctor: Mapping[str, Case], test: Mapping[str, Case]) -> None:
    # Both sets number their slices after the same 100 of the Italian radiologists' collection.
    shared = sorted(set(doctor) & set(test))
    if shared:
        raise splits.PatientOverlapError(
            f"covid_semiseg: slice {shared[0]!r} stands in both {DOCTOR} and {TEST} "
            f"({len(shared)} such); expected each in one of the two, as published"
        )
