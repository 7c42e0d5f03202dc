"""Finds a dataset by its name, builds it where it has not been built yet, and describes it."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

import tfds_builders
from cosup_jax.data import schema, splits


@dataclass(frozen=True)
class SplitSummary:
    """How much a split holds; `patients` counts those that are known."""

    name: str
    slices: int
    patients: int


def parse_mask_values(text: str) -> dict[int, int]:
    """Parses which grey value of a mask file means which class.

    Raises:
      ValueError: not of the form value:class[,value:class].

    >>> parse_mask_values("0:0,255:1")
    {0: 0, 255: 1}
    """
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {int(value): int(label) for value, label in pairs}
    except ValueError:
        raise ValueError(
            f"--config.data.mask_values={text!r}: expected value:class pairs such as 0:0,255:1"
        ) from None


def make_builder(
    name: str,
    *,
    config: str = "",
    source: str = "",
    data_dir: str = "",
    mask_values: str = "0:0,255:1",
) -> tfds.core.DatasetBuilder:
    """Returns the builder of a dataset; nothing is read or written yet.

    Args:
      name: a folder of `tfds_builders`.
      config: one of the builder's configurations; empty for its default.
      source: the folder with the publisher's or the user's files; empty where none is needed.
      data_dir: where built datasets lie; empty for TFDS's default (`TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`).
      mask_values: for folders of one's own, which grey value of a mask means which class.

    Raises:
      ValueError: no such dataset or configuration.
      DatasetLayoutError: the source folder is missing or not laid out as expected.
    """
    builder_class = tfds_builders.load_class(name)
    known = [c.name for c in builder_class.BUILDER_CONFIGS]
    if config and config not in known:
        raise ValueError(f"dataset {name!r} has no configuration {config!r}; there are {known}")
    chosen = config or None
    if source and hasattr(builder_class, "config_from_source"):
        chosen = builder_class.config_from_source(source, parse_mask_values(mask_values))
    with _quiet():
        return builder_class(
            config=chosen, data_dir=data_dir or None, file_format=tfds.core.FileFormat.ARRAY_RECORD
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS from warning of a configuration made on the spot, as a user's folder needs one."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def prepare(
    builder: tfds.core.DatasetBuilder,
    source: str = "",
    *,
    skip_bad: bool = False,
    beam_options: str = "",
) -> None:
    """Builds the dataset unless it lies built on disk. A build that is cut off leaves nothing.

    Args:
      builder: from `make_builder`.
      source: the folder with the publisher's or the user's files; empty where none is needed.
      skip_bad: leave out cases with damaged files, and list them in the dataset's metadata, rather
        than refuse to build.
      beam_options: build on Apache Beam (extra `beam`) with these comma-separated options, such as
        `runner=FlinkRunner,flink_master=host:8081`; the stored bytes are the same.

    Raises:
      DatasetLayoutError: the source folder is missing or not laid out as expected.
      VolumeError, ImageError, ExampleError: a file is bad, and `skip_bad` is not set.
      ImportError: `beam_options` without Apache Beam installed.
    """
    if builder.is_prepared():
        return
    builder.skip_bad = skip_bad
    manual_dir = str(Path(source).expanduser().resolve()) if source else None
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=manual_dir,
            beam_options=beam_pipeline(beam_options) if beam_options else None,
        )
    )


def beam_pipeline(options: str) -> Any:
    """Returns Beam's `PipelineOptions` of a text such as `runner=DirectRunner,key=value`.

    Raises:
      ImportError: Apache Beam is not installed.
    """
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ImportError(
            "--beam_pipeline_options needs Apache Beam: pip install 'cosup-jax[beam]'"
        ) from error
    return PipelineOptions(flags=[f"--{option}" for option in options.split(",")])


def summarise(builder: tfds.core.DatasetBuilder) -> list[SplitSummary]:
    """Returns slices and patients of each split without opening any slice."""
    patients = builder.info.metadata["patients"]
    return [
        SplitSummary(name, info.num_examples, len(set(patients[name]) - {schema.UNKNOWN_PATIENT}))
        for name, info in builder.info.splits.items()
    ]


def describe(builder: tfds.core.DatasetBuilder) -> str:
    """Returns what a run says first: the dataset, its splits, and what is unsafe about them."""
    rows = [
        f"  {s.name}: {s.slices} slices of {s.patients or 'unknown'} patients"
        for s in summarise(builder)
    ]
    warning = splits.unknown_patients_warning(builder.info.metadata["patients"])
    if warning:
        rows.append(f"  note: {warning}")
    return "\n".join([f"dataset {builder.info.full_name}", *rows])


def people(builder: tfds.core.DatasetBuilder, split: str) -> dict[str, Any]:
    """Returns whose slices a split holds, to be kept with a run trained on it.

    Args:
      builder: a built dataset.
      split: its name, TFDS slicing allowed; of a part, all patients of the whole are returned.

    Returns:
      `dataset`, its full name; `patients`, their ids; `collection`, the builder's.
    """
    names = re.findall(r"\w+", re.sub(r"\[.*?\]", "", split))
    known = builder.info.metadata["patients"]
    return {
        "dataset": builder.info.full_name,
        "patients": sorted(set().union(*(known[name] for name in names))),
        "collection": builder.collection,
    }


def check_apart(
    builder: tfds.core.DatasetBuilder, split: str, trained_on: Mapping[str, Any]
) -> str:
    """Refuses to score a network on patients of another dataset that it was trained on.

    Several datasets are of the same people: those of `covid_ct_seg` are in `covid_chestct`,
    `cosup_covid` and `covid_semiseg` too. Splits of one dataset were compared when it was built.

    Args:
      builder: the dataset to score on.
      split: its split.
      trained_on: `people` of the split trained on.

    Returns:
      A sentence of warning where patients are shared by design or not all known, or nothing.

    Raises:
      PatientOverlapError: naming some of the patients that both datasets hold.
    """
    scored = people(builder, split)
    # Of another version, the splits are still the same.
    same = scored["dataset"].rpartition("/")[0] == trained_on["dataset"].rpartition("/")[0]
    if same and not builder.info.metadata["patients_apart"]:
        return f"{scored['dataset']} has the same patients in several splits, by design"
    shared = set(scored["patients"]) & set(trained_on["patients"])
    unknown = schema.UNKNOWN_PATIENT in shared
    shared -= {schema.UNKNOWN_PATIENT}
    if not same:
        if unknown and scored["collection"] == trained_on["collection"] != "":
            shared.add(scored["collection"])
        if shared:
            raise splits.PatientOverlapError(
                f"{split} of {scored['dataset']} holds patients that were trained on, in "
                f"{trained_on['dataset']}: {', '.join(sorted(shared)[:5])}. Such a score says "
                "nothing; score on other data"
            )
    return splits.unknown_patients_warning(
        {f"the data trained on ({trained_on['dataset']})": trained_on["patients"]}
        | {f"{split} of {scored['dataset']}": scored["patients"]}
    )


def evaluation_split(builder: tfds.core.DatasetBuilder, wanted: str, validation: str) -> str:
    """Returns the split to report on: `wanted`, or the validation split where there is no such."""
    return wanted if wanted in builder.info.splits else validation


def fingerprint(builder: tfds.core.DatasetBuilder, split_names: Iterable[str]) -> str:
    """Returns a SHA-256 over the records of the given splits (16 hex digits).

    It depends on what is stored and its order alone, and not on the cut into files.
    """
    digest = hashlib.sha256(builder.info.full_name.encode())
    for name in split_names:
        records = builder.as_data_source(
            split=name, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        digest.update(f"{name}:{len(records)}".encode())
        for record in records:
            digest.update(record)
    return digest.hexdigest()[:16]
