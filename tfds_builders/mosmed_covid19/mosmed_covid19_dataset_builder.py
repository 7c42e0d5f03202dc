"""MosMedData (Morozov et al., 2020): the 50 annotated studies of 1,110, in five patient folds."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import splits, volume_cases, volume_files
from cosup_jax.data.builder import NO_DATA_NEEDED, Case, CtSliceBuilder, fold_configs
from cosup_jax.data.volume_files import LabelFile, VolumeFiles
from cosup_jax.scans.names import volume_name

FOLDS = 5
PUBLISHED_MASKS = 50
# Ground-glass and consolidation are not told apart.
MASK_VALUES = {0: 0, 1: 1}

_SEED = "mosmed_covid19"
_MASK_ENDING = "_mask"


class Builder(CtSliceBuilder):
    """Reads MosMedData as its archive unpacks it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = fold_configs(FOLDS)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Unpack MosMedData (COVID19_1110) from https://mosmed.ai/en/datasets/covid191110/ so that "
        "the folder, or one folder in it, holds\n"
        "  masks/study_0255_mask.nii.gz ...         50 files\n"
        "  studies/CT-1/study_0255.nii.gz ...       their studies; others are not read\n"
        "Give the folder with --config.data.source=FOLDER, or to tfds build with "
        f"--manual_dir=FOLDER. {NO_DATA_NEEDED}"
    )

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists train, validation and test of the fold."""
        cases = annotated_cases(self.source_folder(dl_manager))
        return splits.fold_splits(cases, self.builder_config.fold, FOLDS, _SEED)

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a case."""
        yield from volume_files.read_case(case)


def annotated_cases(folder: Path) -> list[Case]:
    """Lists the studies that have a mask, each of a patient of its own.

    Raises:
      DatasetLayoutError: a folder is missing, or the study of a mask, or a study has two masks.
    """
    root = volume_files.find_root(folder, "masks", "studies")
    listed = volume_files.list_volumes(root / "masks", root)
    masks = volume_cases.by_name(
        listed.values(), lambda path: volume_name(path).removesuffix(_MASK_ENDING), "one mask each"
    )
    studies = volume_files.list_volumes(root / "studies/CT-1", root)
    annotated = {name: path for name, path in studies.items() if name in masks}
    volume_files.match(annotated, masks, root / "masks")
    logging.info(
        "mosmed_covid19: %d studies of CT-1 have no mask, and are left out as CT-0 and CT-2 to "
        "CT-4 are",
        len(studies) - len(annotated),
    )
    if len(masks) != PUBLISHED_MASKS:
        logging.warning(
            "mosmed_covid19: %s holds %d masks, but %d were published; the copy is incomplete or "
            "altered, and its folds are others",
            root / "masks",
            len(masks),
            PUBLISHED_MASKS,
        )
    return [
        Case(name, name, VolumeFiles(image, (LabelFile(masks[name], mask=MASK_VALUES),)))
        for name, image in annotated.items()
    ]
