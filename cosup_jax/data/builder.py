"""What all builders share: from a list of cases per split to checked, keyed examples."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import schema, splits

REQUIRED_SPLITS = ("train", "validation")
NO_DATA_NEEDED = (
    "Without any data, `python train.py --config=configs/quickstart.py` trains on generated "
    "phantoms."
)


class DatasetLayoutError(ValueError):
    """The source files are missing or not laid out as the builder expects them."""


@dataclass(frozen=True)
class Case:
    """One scan, or one lone slice, before anything of it is read.

    Attributes:
      case_id: names the scan; unique within a dataset.
      patient_id: the person scanned, or `schema.UNKNOWN_PATIENT`.
      source: whatever the builder needs to read it (paths, a seed); small and picklable.
    """

    case_id: str
    patient_id: str
    source: Any


class CtSliceBuilder(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """A dataset of CT slices: a subclass lists its cases and reads one case.

    The listing comes first and reads no pixels, so that missing files, empty splits and patients in
    two splits are refused before anything is written. Split sizes in slices are TFDS's own; the
    patients of each split are kept in `info.metadata["patients"]`.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=schema.features(), metadata=tfds.core.MetadataDict()
        )

    @abc.abstractmethod
    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Returns the cases of each split; must hold `train` and `validation`."""

    @abc.abstractmethod
    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the examples of a case, made by `schema.make_example`."""

    def source_folder(self, dl_manager: tfds.download.DownloadManager) -> Path:
        """Returns the folder into which the user put the source files.

        Raises:
          DatasetLayoutError: it is missing or empty; the message names it, the layout it should
            have, and the command that needs no data.
        """
        try:
            return Path(dl_manager.manual_dir)
        except AssertionError as error:  # TFDS's text has the folder and our instructions
            raise DatasetLayoutError(f"{self.name}: {error}") from error
        except NotADirectoryError as error:
            raise self.layout_error(str(error)) from error

    def layout_error(self, problem: str) -> DatasetLayoutError:
        """Returns the error for a source folder of another layout, with the layout expected."""
        return DatasetLayoutError(f"{self.name}: {problem}\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        cases = self.cases(dl_manager)
        for name in (*REQUIRED_SPLITS, *cases):
            if not cases.get(name):
                raise DatasetLayoutError(f"{self.name}: the split {name!r} is empty")
        patients = {name: sorted({c.patient_id for c in group}) for name, group in cases.items()}
        splits.check_patients_apart(patients)
        if warning := splits.unknown_patients_warning(patients):
            logging.warning("%s: %s", self.name, warning)
        self.info.metadata["patients"] = patients
        return {name: self._generate_examples(group) for name, group in cases.items()}

    def _generate_examples(self, cases: Sequence[Case]):
        for case in cases:
            for example in self.read_case(case):
                yield f"{case.case_id}/{example['slice_index']:05d}", example
