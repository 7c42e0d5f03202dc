"""UESTC-COVID-19 (Wang et al., 2020): 50 volumes labelled by experts, 70 by others."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import splits, volume_files
from cosup_jax.data.builder import NO_DATA_NEEDED, Case, CtSliceBuilder
from cosup_jax.data.volume_files import LabelFile, VolumeFiles

FOLDS = 5
NOISY, EXPERT = "part1", "part2"
PUBLISHED_VOLUMES = {NOISY: 70, EXPERT: 50}
MASK_VALUES = {0: 0, 1: 1}

_SEED = "uestc_covid19"


@dataclasses.dataclass(eq=False)
class UestcConfig(tfds.core.BuilderConfig):
    """Which labels to train on, and which patients to test on.

    Attributes:
      fold: 0..4, the experts' fold tested on; the next one is validated on.
      noisy: train on the labels of non-experts instead of the remaining three folds.
    """

    fold: int = 0
    noisy: bool = False


class Builder(CtSliceBuilder):
    """Reads UESTC-COVID-19 as it is handed out."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        *(
            UestcConfig(
                name=f"fold{fold}",
                description=f"experts' labels, tested on fold {fold} of {FOLDS}",
                fold=fold,
            )
            for fold in range(FOLDS)
        ),
        UestcConfig(
            name="noisy",
            description="trained on labels of non-experts, tested on those of experts",
            noisy=True,
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Ask for the UESTC-COVID-19 Dataset at "
        "http://faculty.uestc.edu.cn/HiLab/en/article/379152/list/index.htm and unpack it so that "
        "the folder, or one folder in it, holds\n"
        "  part2/image/*.nii.gz, part2/label/*.nii.gz   50 volumes labelled by experts\n"
        "  part1/image/*.nii.gz, part1/label/*.nii.gz   70 by others, only for `noisy`\n"
        "with the same file names in image and label. Give the folder with "
        "--config.data.source=FOLDER, or to tfds build with --manual_dir=FOLDER. "
        f"{NO_DATA_NEEDED}"
    )

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists train, validation and test."""
        folder = self.source_folder(dl_manager)
        config = self.builder_config
        expert = part_cases(folder, EXPERT)
        cases = splits.fold_splits(expert, config.fold, FOLDS, _SEED)
        if config.noisy:
            return {**cases, "train": part_cases(folder, NOISY)}
        return cases

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a case."""
        yield from volume_files.read_case(case)


def part_cases(folder: Path, part: str) -> list[Case]:
    """Lists the volumes of one part, each of a patient of its own.

    Raises:
      DatasetLayoutError: a folder is missing, or a volume or label of a pair.
    """
    root = volume_files.find_root(folder, part)
    images, labels = (
        volume_files.list_volumes(root / part / kind, root) for kind in ("image", "label")
    )
    volume_files.match(images, labels, root / part / "label")
    if len(images) != PUBLISHED_VOLUMES[part]:
        logging.warning(
            "uestc_covid19: %s holds %d volumes, but %d were published; the copy is incomplete or "
            "altered, and its splits are others",
            root / part,
            len(images),
            PUBLISHED_VOLUMES[part],
        )
    return [
        Case(
            f"{part}_{name}",
            f"{part}_{name}",
            # The headers of the labels are known to be wrong; their voxels are in order.
            VolumeFiles(image, (LabelFile(labels[name], mask=MASK_VALUES, header_lies=True),)),
        )
        for name, image in images.items()
    ]
