"""What all builders share: from a list of cases per split to checked, keyed examples."""

import abc
import collections
import contextlib
import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import writer
from tensorflow_datasets.proto import tf_example_pb2
from tqdm import tqdm

from cosup_jax.data import records, schema, sources, splits
from cosup_jax.scans.images import ImageError
from cosup_jax.scans.nifti import VolumeError

REQUIRED_SPLITS = ("train", "validation")
NO_DATA_NEEDED = (
    "Without any data, `python train.py --config=configs/quickstart.py` trains on generated "
    "phantoms."
)


BAD_SOURCES = (ImageError, VolumeError, schema.ExampleError)


class DatasetLayoutError(ValueError):
    """The source files are missing or not laid out as the builder expects them."""


class DealingError(DatasetLayoutError):
    """The layout is known, and what lies in it cannot be dealt into splits."""


@dataclass(frozen=True)
class Case:
    """One scan, or one lone slice, before anything of it is read.

    Attributes:
      case_id: names the scan; unique within a dataset.
      patient_id: the person scanned, or `schema.UNKNOWN_PATIENT`; both names in their normal form.
      source: whatever the builder needs to read it (paths, a seed); small and picklable.
    """

    case_id: str
    patient_id: str
    source: Any

    def __post_init__(self) -> None:
        """Brings both names into the form in which they are compared."""
        for name in ("case_id", "patient_id"):
            object.__setattr__(self, name, schema.stored_name(getattr(self, name)))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps absl from warning: of what was said before, or of what is meant so."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


class _StableWriter(writer.ExampleWriter):
    """Writes records whose bytes depend on nothing but what they hold.

    Protocol buffers put the fields of an example into another order in every process.
    """

    def write(self, path, examples):
        stable = (
            (key, tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True))
            for key, record in examples
        )
        return super().write(path, stable)


@dataclass(eq=False)
class FoldConfig(tfds.core.BuilderConfig):
    """Which patients to test on.

    Attributes:
      fold: the fold tested on; the next one is validated on, see `splits.fold_splits`.
    """

    fold: int = 0


def fold_configs(count: int) -> list[tfds.core.BuilderConfig]:
    """Returns the configurations `fold0`, `fold1`, … of a cross-validation over patients."""
    return [
        FoldConfig(
            name=f"fold{fold}",
            description=f"tested on the patients of fold {fold} of {count}",
            fold=fold,
        )
        for fold in range(count)
    ]


class CtSliceBuilder(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """A dataset of CT slices: a subclass lists its cases and reads one case.

    The listing comes first and reads no pixels, so that missing files, empty splits and patients in
    two splits are refused before anything is written. Split sizes in slices are TFDS's own; the
    patients of each split are kept in `info.metadata["patients"]`, and what was left out with
    `skip_bad` in `info.metadata["skipped"]` as case and reason. How many slices of each case are in
    all splits together stands in `info.metadata["slices"]`, and how many of each split hold
    infection in `info.metadata["infected"]`.

    Attributes:
      skip_bad: set before a build, leaves out the cases whose files are damaged or do not fit
        together, instead of refusing to build. Every case is then read once beforehand.
      patients_apart: False where a split by slices, as of a paper, knowingly has the same patients
        in two splits; the build then warns instead of refusing. `info.metadata` keeps it.
      collection: names those whose slices have an unknown patient, where other datasets hold slices
        of the same people; see `datasets.check_apart`.
    """

    skip_bad = False
    patients_apart = True
    collection = ""
    _on_beam = False

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

    def source_cases(self, dl_manager: tfds.download.DownloadManager) -> Sequence[Case]:
        """Returns the cases of all splits, of whose files the dataset is built."""
        return [case for group in self.cases(dl_manager).values() for case in group]

    def source_digest(self, folder: Path) -> str:
        """Returns a digest of all that a build reads of a folder: names of cases, and contents.

        Raises:
          DatasetLayoutError: the folder is not laid out as expected.
        """
        cases = self.source_cases(types.SimpleNamespace(manual_dir=folder))
        return sources.digest(sorted(cases, key=lambda case: case.case_id))

    def check_source(self, folder: Path) -> None:
        """Refuses to pass off what was built of other files as what a folder holds now.

        What an earlier version built does not know of what, and `datasets.describe` says so.

        Raises:
          DatasetLayoutError: they differ, or the folder is not laid out as expected.
        """
        built = self.info.metadata.get("source_digest")
        if not folder.exists():
            raise DatasetLayoutError(
                f"{self.name} is built, in {self.data_dir}, but {folder} is no folder; correct it, "
                "or give no folder to take the dataset as it is"
            )
        with quiet():
            if built is None or built == self.source_digest(folder.resolve()):
                return
        raise DatasetLayoutError(
            f"{self.data_dir} was built of other files than {folder} holds now; give another "
            "data_dir for this folder, or remove what is built, or give no folder to take that"
        )

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

    def _example_writer(self):
        return _StableWriter(file_format=self.info.file_format)

    def is_prepared(self) -> bool:
        """Whether it lies built on disk; that it does not is no warning to its user."""
        with quiet():
            return super().is_prepared()

    def _download_and_prepare(self, dl_manager, download_config):
        self._on_beam = bool(download_config.beam_runner or download_config.beam_options)
        super()._download_and_prepare(dl_manager, download_config)
        # Of what is written, for on Beam other processes write it; of no format that is not read.
        if self.info.file_format is tfds.core.FileFormat.ARRAY_RECORD:
            self.info.metadata[records.SLICES] = records.count_slices(self)
            self.info.metadata[records.INFECTED] = records.count_infected(self)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        cases = self._listed(dl_manager)
        skipped: list[tuple[str, str]] = []
        if self.skip_bad:
            cases = {name: self._good(group, skipped) for name, group in cases.items()}
        for name in (*REQUIRED_SPLITS, *cases):
            if not cases.get(name):
                raise DatasetLayoutError(f"{self.name}: the split {name!r} is empty")
        patients = {name: sorted({c.patient_id for c in group}) for name, group in cases.items()}
        if self.patients_apart:
            splits.check_patients_apart(patients)
        else:
            logging.warning(
                "%s: THE SAME PATIENTS ARE IN SEVERAL SPLITS of the configuration %r, by design. "
                "Its scores are flattered; do not compare them with those on unseen patients",
                self.name,
                self.builder_config.name,
            )
        for warning in (splits.unknown_patients_warning(patients), splits.alike_warning(patients)):
            if warning:
                logging.warning("%s: %s", self.name, warning)
        self.info.metadata.update(
            patients=patients, skipped=skipped, patients_apart=self.patients_apart
        )
        if self.MANUAL_DOWNLOAD_INSTRUCTIONS:
            self.info.metadata["source_digest"] = self._present_digest(dl_manager)
        return {name: self._generate_examples(group) for name, group in cases.items()}

    def _present_digest(self, dl_manager: tfds.download.DownloadManager) -> str:
        with quiet():
            return self.source_digest(self.source_folder(dl_manager))

    def _listed(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Sequence[Case]]:
        layout = self.MANUAL_DOWNLOAD_INSTRUCTIONS or ""
        try:
            return dict(self.cases(dl_manager))
        except DatasetLayoutError as error:
            if layout in str(error) or isinstance(error, DealingError):
                raise
            raise self.layout_error(str(error)) from error

    def _good(self, cases: Sequence[Case], skipped: list[tuple[str, str]]) -> list[Case]:
        """Returns the cases that can be read to the end, and adds the others to `skipped`."""
        good = []
        for case in tqdm(cases, desc="checking cases", unit="case", leave=False):
            try:
                collections.deque(self.read_case(case), maxlen=0)
            except BAD_SOURCES as error:
                skipped.append((case.case_id, str(error)))
            else:
                good.append(case)
        return good

    def _generate_examples(self, cases: Sequence[Case]):
        if not self._on_beam:
            return itertools.chain.from_iterable(map(self._keyed_examples, cases))
        import apache_beam as beam

        return beam.Create(cases) | beam.FlatMap(self._keyed_examples)

    def _keyed_examples(self, case: Case) -> Iterator[tuple[str, dict[str, Any]]]:
        for example in self.read_case(case):
            yield f"{case.case_id}/{example['slice_index']:05d}", example
