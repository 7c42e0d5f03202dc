"""COVID-19-CT-Seg (Ma et al., 2020): 20 CT volumes with lung and infection masks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import splits, volume_files
from cosup_jax.data.builder import (
    NO_DATA_NEEDED,
    Case,
    CtSliceBuilder,
    DatasetLayoutError,
    fold_configs,
)
from cosup_jax.data.volume_files import LabelFile, VolumeFiles

# CT volumes, infection masks, lung masks.
FOLDERS = ("COVID-19-CT-Seg_20cases", "Infection_Mask", "Lung_Mask")
PUBLISHED_VOLUMES = 20
MASK_VALUES = {0: 0, 1: 1}
LUNG_VALUES = {0: 0, 1: 1, 2: 2}
FOLDS = 5
_SEED = "covid_ct_seg"

_CORONACASES = re.compile(r"(?:coronacases_(?:org_)?(?:case)?|case)([0-9]{3})")
_RADIOPAEDIA = re.compile(
    r"radiopaedia_(?:org_covid-19-pneumonia-)?([0-9]+)_([0-9]+_[0-9]+)(?:-dcm)?"
)
# By their headers the patients of radiopaedia lie face down, and this one stands on its head too.
_STORED_FROM_THE_HEAD = "radiopaedia_7_85703_0"


class Builder(CtSliceBuilder):
    """Reads the 20 volumes in the layout of their publisher."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = fold_configs(FOLDS)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download the archives of https://zenodo.org/records/3757476 and unpack each into a folder "
        "of its name, so that the folder, or one folder in it, holds\n"
        f"  {FOLDERS[0]}/coronacases_001.nii.gz ... radiopaedia_7_85703_0.nii.gz\n"
        f"  {FOLDERS[1]}/   20 files of the same names\n"
        f"  {FOLDERS[2]}/   20 files of the same names\n"
        "(Lung_and_Infection_Mask is not needed.) Give the folder with "
        "--config.data.source=FOLDER, or to tfds build with --manual_dir=FOLDER. "
        f"{NO_DATA_NEEDED}"
    )
    folders = FOLDERS

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists train, validation and test of the fold."""
        found = list_cases(self.source_folder(dl_manager), self.folders)
        return splits.fold_splits(found, self.builder_config.fold, FOLDS, _SEED)

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a case."""
        return read_case(case)


def list_cases(folder: Path, folders: Sequence[str] = FOLDERS) -> list[Case]:
    """Lists the volumes, `coronacases_001` to `radiopaedia_7_85703_0`.

    Args:
      folder: holds `folders`, itself or in one folder.
      folders: names of those with CT volumes, infection masks and lung masks.

    Raises:
      DatasetLayoutError: a folder or file is missing, or not named as any of the packings names it.
    """
    root = volume_files.find_root(folder, *folders)
    images, masks, lungs = (_by_case(root / name, root) for name in folders)
    volume_files.match(images, masks, root / folders[1])
    volume_files.match(images, lungs, root / folders[2])
    if len(images) != PUBLISHED_VOLUMES:
        logging.warning(
            "%s: holds %d volumes, but %d were published; the copy is incomplete or altered",
            root / folders[0],
            len(images),
            PUBLISHED_VOLUMES,
        )
    return [
        Case(
            case_id,
            patient_id(case_id),
            VolumeFiles(
                image,
                (
                    LabelFile(masks[case_id], mask=MASK_VALUES),
                    LabelFile(lungs[case_id], lung=LUNG_VALUES),
                ),
                _orientation(case_id),
            ),
        )
        for case_id, image in images.items()
    ]


def read_case(case: Case) -> Iterator[dict[str, Any]]:
    """Yields the slices of a volume, and warns where its values are not as they were published.

    Raises:
      VolumeError: naming the file and what is wrong with it.
    """
    published = "hu" if case.case_id.startswith("coronacases") else "grey8"
    for example in volume_files.read_case(case):
        if example["slice_index"] == 0 and example["intensity"] != published:
            logging.warning(
                "%s: its values are %s, but %s were published",
                case.source.image,
                example["intensity"],
                published,
            )
        yield example


def case_name(name: str) -> str | None:
    """Returns the one name of a volume that its packings name differently, or None.

    >>> case_name("radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm")
    'radiopaedia_10_85902_1'
    >>> case_name("coronacases_org_001")
    'coronacases_001'
    """
    if found := _CORONACASES.fullmatch(name):
        return f"coronacases_{found[1]}"
    if found := _RADIOPAEDIA.fullmatch(name):
        return f"radiopaedia_{found[1]}_{found[2]}"
    return None


def patient_id(case_id: str) -> str:
    """Returns the patient: the scan's number at coronacases, the case page at radiopaedia.

    >>> patient_id("radiopaedia_10_85902_1")
    'radiopaedia_10'
    """
    source, number = case_id.split("_")[:2]
    return f"{source}_{number}"


def _by_case(folder: Path, root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for stem, path in volume_files.list_volumes(folder, root).items():
        name = case_name(stem)
        if name is None:
            raise DatasetLayoutError(f"{path}: not the name of one of the published volumes")
        if name in found:
            raise DatasetLayoutError(f"{path}: the same volume as {found[name].name}")
        found[name] = path
    return dict(sorted(found.items()))


def _orientation(case_id: str) -> str:
    if case_id.startswith("coronacases"):
        return ""
    return "LPI" if case_id == _STORED_FROM_THE_HEAD else "LPS"
