"""The co-supervision paper's own dataset (Hu et al., §4.1): medseg_covid and covid_ct_seg."""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tqdm import tqdm

from cosup_jax.data import splits
from cosup_jax.data.builder import BAD_SOURCES, NO_DATA_NEEDED, Case, CtSliceBuilder
from tfds_builders.covid_ct_seg import covid_ct_seg_dataset_builder as covid_ct_seg
from tfds_builders.medseg_covid import medseg_covid_dataset_builder as medseg_covid

SOURCES = ("medseg_covid", "covid_ct_seg")
PAPER_SLICES = 4449
PAPER_TEST_SLICES = 449
FOLDS = 5
_SEED = "cosup_covid"


@dataclass(frozen=True)
class _Part:
    """The slices of a case that are in a split; all of them where `positions` is None."""

    case: Case
    read: Callable[[Case], Iterator[dict[str, Any]]]
    positions: frozenset[int] | None = None


class Builder(CtSliceBuilder):
    """Reads both sources, and takes all kinds of infection for one."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(
            name="patient", description="validated and tested on patients who are not trained on"
        ),
        tfds.core.BuilderConfig(
            name="paper", description="449 slices held out at random, of patients trained on"
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Make a folder that holds\n"
        f"  {SOURCES[0]}/   tr_im.nii.gz, tr_mask.nii.gz, rp_im, rp_msk, rp_lung_msk\n"
        f"  {SOURCES[1]}/   {', '.join(covid_ct_seg.FOLDERS)}\n"
        "each filled as the dataset of that name expects it. "
        "Give the folder with --config.data.source=FOLDER, or to tfds build with "
        f"--manual_dir=FOLDER. {NO_DATA_NEEDED}"
    )
    collection = medseg_covid.COLLECTION

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.patients_apart = self.builder_config.name != "paper"

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists train, validation and test."""
        cases = self.source_cases(dl_manager)
        return split_by_patient(cases) if self.patients_apart else split_by_slice(cases)

    def source_cases(self, dl_manager: tfds.download.DownloadManager) -> Sequence[Case]:
        """Lists the cases before slices are counted, which takes reading all of them."""
        folder = self.source_folder(dl_manager)
        for name in SOURCES:
            if not (folder / name).is_dir():
                raise self.layout_error(f"{folder / name}: no such folder")
        return list_cases(folder)

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a case that are in its split, with mask 1 for any infection."""
        part = case.source
        for example in part.read(part.case):
            if part.positions is None or example["slice_index"] in part.positions:
                yield {**example, "mask": (example["mask"] > 0).astype(np.uint8)}

    def _download_and_prepare(self, dl_manager, download_config):
        super()._download_and_prepare(dl_manager, download_config)
        logging.warning(
            "cosup_covid holds %s slices; the paper counts %s, and its figures do not add up: it "
            "takes them from two sources of more than 900 and of 3,686 slices, which is more",
            f"{sum(split.num_examples for split in self.info.splits.values()):,}",
            f"{PAPER_SLICES:,}",
        )


def list_cases(folder: Path) -> list[Case]:
    """Lists the 100 slices, the nine volumes and the 20 volumes.

    Args:
      folder: holds `medseg_covid` and `covid_ct_seg`.

    Raises:
      DatasetLayoutError: a file is missing.
    """
    medseg, ct_seg = (folder / name for name in SOURCES)
    sources = (
        (medseg_covid.cases_slices100(medseg), medseg_covid.read_case),
        (medseg_covid.cases_volumes9(medseg), medseg_covid.read_case),
        (covid_ct_seg.list_cases(ct_seg), covid_ct_seg.read_case),
    )
    return [replace(case, source=_Part(case, read)) for cases, read in sources for case in cases]


def split_by_patient(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Tests on a fifth of the coronacases patients, validates on another, trains on all others.

    All that may be of radiopaedia is trained on, because nobody can tell whether MedSeg's slices
    and volumes are of the same people as the radiopaedia volumes of covid_ct_seg.
    """
    apart = [case for case in cases if case.case_id.startswith("coronacases")]
    result = splits.fold_splits(apart, 0, FOLDS, _SEED)
    result["train"] += [case for case in cases if case not in apart]
    return result


def split_by_slice(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Tests on 449 slices chosen at random, or on the same share of fewer, as the paper does.

    The paper has no validation; as many slices of its training set are set apart for it. A case
    that cannot be read goes to the training set, where the build will find out.
    """
    counts = {case.case_id: _count(case) for case in tqdm(cases, "counting slices", leave=False)}
    slices = [(case_id, i) for case_id, count in counts.items() for i in range(count)]
    keys = {f"{case_id}/{i:05d}": (case_id, i) for case_id, i in slices}
    order = splits.ranked(keys, _SEED)
    held_out = min(PAPER_TEST_SLICES, round(len(order) * PAPER_TEST_SLICES / PAPER_SLICES))
    chosen = {
        "train": order[2 * held_out :],
        "validation": order[held_out : 2 * held_out],
        "test": order[:held_out],
    }
    result = {split: _parts(cases, [keys[name] for name in chosen[split]]) for split in chosen}
    result["train"] += [case for case in cases if not counts[case.case_id]]
    return result


def _count(case: Case) -> int:
    try:
        return sum(1 for _ in case.source.read(case.source.case))
    except BAD_SOURCES:
        return 0


def _parts(cases: Sequence[Case], slices: Sequence[tuple[str, int]]) -> list[Case]:
    positions = collections.defaultdict(set)
    for case_id, i in slices:
        positions[case_id].add(i)
    return [
        replace(case, source=replace(case.source, positions=frozenset(positions[case.case_id])))
        for case in cases
        if case.case_id in positions
    ]
