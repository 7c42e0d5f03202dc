"""Finds a dataset by its name, builds it where it has not been built yet, and describes it."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

import tfds_builders
from cosup_jax import locks
from cosup_jax.data import people, records, schema, splits
from cosup_jax.data.builder import quiet
from cosup_jax.data.records import Records

MASK_VALUES = "0:0,255:1"  # unless declared otherwise


@dataclass(frozen=True)
class SplitSummary:
    """How much a split holds; `patients` counts those that are known."""

    name: str
    slices: int
    patients: int


def parse_mask_values(text: str, name: str = "--config.data.mask_values") -> dict[int, int]:
    """Parses which value of a mask file means which class; `name` is what errors call it.

    Raises:
      ValueError: not of the form value:class[,value:class], a value twice, or none of infection.

    >>> parse_mask_values("0:0,255:1")
    {0: 0, 255: 1}
    """
    try:
        parts = [part.split(":") for part in text.split(",")]
        pairs = [(int(value), int(label)) for value, label in parts]
    except ValueError:
        raise ValueError(
            f"{name}={text!r}: expected value:class pairs such as {MASK_VALUES}"
        ) from None
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(value for value, _ in pairs if [v for v, _ in pairs].count(value) > 1)
        raise ValueError(
            f"{name}={text!r}: the value {twice} stands there twice; expected each once"
        )
    if not any(found.values()):
        raise ValueError(f"{name}={text!r}: no value is infection; expected one of class 1 to 3")
    return found


def make_builder(
    name: str,
    *,
    config: str = "",
    source: str = "",
    data_dir: str = "",
    mask_values: str = MASK_VALUES,
) -> tfds.core.DatasetBuilder:
    """Returns the builder of a dataset; nothing is read or written yet.

    Args:
      name: a folder of `tfds_builders`.
      config: one of the builder's configurations, or the options of a folder of one's own, where
        its builder has some; empty for its default.
      source: the folder with the publisher's or the user's files; empty where none is needed.
      data_dir: where built datasets lie; empty for TFDS's default (`TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`).
      mask_values: for folders of one's own, which grey value of a mask means which class.

    Raises:
      ValueError: no such dataset or configuration, or it takes no folder or mask values.
      DatasetLayoutError: the source folder is missing or not laid out as expected.
      DamagedDatasetError: it lies built, and its description is damaged.
    """
    builder_class = tfds_builders.load_class(name)
    known = [c.name for c in builder_class.BUILDER_CONFIGS]
    optional = bool(source) and hasattr(builder_class, "OPTIONS")
    if config and config not in known and not optional:
        raise ValueError(
            f"the dataset {name!r} has no configuration {config!r} (data.config); there are "
            f"{', '.join(known)}"
        )
    values = parse_mask_values(mask_values)
    own = hasattr(builder_class, "config_from_source")
    if source and not builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS:
        raise ValueError(
            f"the dataset {name!r} is made without files, but the folder {source!r} is given "
            "(data.source); for a folder of your own take data=slice_folder"
        )
    if values != parse_mask_values(MASK_VALUES) and not (own and source):
        raise ValueError(
            f"data.mask_values={mask_values!r} is for a folder of your own (data=slice_folder with "
            f"data.source); the dataset {name!r} would be read without it"
        )
    chosen = config or None
    if source and own:
        options = {"options": config} if optional else {}
        chosen = builder_class.config_from_source(source, values, **options)
    where = Path(data_dir or tfds.core.constants.DATA_DIR) / name
    with quiet(), records.describing(where / str(getattr(chosen, "name", chosen or ""))):
        builder = builder_class(
            config=chosen, data_dir=data_dir or None, file_format=tfds.core.FileFormat.ARRAY_RECORD
        )
        # TFDS reads one and forms the others when it is asked for them.
        builder.info.metadata  # noqa: B018
        for split in builder.info.splits.values():
            split.filepaths  # noqa: B018
    return builder


def open_dataset(data: Any) -> tfds.core.DatasetBuilder:
    """Returns the dataset that a configuration's section `data` names, built where it was not.

    Raises:
      ValueError: as `make_builder` and `prepare`.
    """
    builder = make_builder(
        data.name,
        config=data.config,
        source=data.source,
        data_dir=data.data_dir,
        mask_values=data.mask_values,
    )
    prepare(builder, data.source)
    return builder


def prepare(
    builder: tfds.core.DatasetBuilder,
    source: str = "",
    *,
    skip_bad: bool = False,
    beam_options: str = "",
) -> None:
    """Builds the dataset unless it lies built on disk.

    One process builds at a time, and others wait for it and use what it has built. A build that is
    cut off leaves nothing, or where the process was killed what the next build takes away.

    What lies there is taken only if it was built of what the source folder holds now: the content
    decides, not the path.

    Args:
      builder: from `make_builder`.
      source: the folder with the publisher's or the user's files; empty where none is needed.
      skip_bad: leave out cases with damaged files, and list them in the dataset's metadata, rather
        than refuse to build.
      beam_options: build on Apache Beam (extra `beam`) with these comma-separated options, such as
        `runner=FlinkRunner,flink_master=host:8081`; the stored bytes are the same.

    Raises:
      DatasetLayoutError: the source folder is missing or not laid out as expected, or what lies
        built is of other files.
      DamagedDatasetError: what lies built does not say whose its slices are.
      VolumeError, ImageError, ExampleError: a file is bad, and `skip_bad` is not set.
      ImportError: `beam_options` without Apache Beam installed.
    """
    was_there = builder.is_prepared() or not _build_alone(builder, source, skip_bad, beam_options)
    records.check_metadata(builder)
    if was_there and source:
        builder.check_source(Path(source).expanduser())


def _build_alone(
    builder: tfds.core.DatasetBuilder, source: str, skip_bad: bool, beam_options: str
) -> bool:
    """Builds, or waits for another process that does; returns whether this one has built."""
    place = Path(builder.data_dir)
    lock = place.with_name(f".{place.name}.lock")
    with locks.lock(lock, f"the build of {builder.info.full_name}", wait=True, remove=True):
        _remove_leftovers(builder)
        if builder.is_prepared():
            builder.info.read_from_directory(place)
            return False
        try:
            _build(builder, source, skip_bad, beam_options)
        except BaseException:
            _remove_leftovers(builder)
            raise
        return True


def _remove_leftovers(builder: tfds.core.DatasetBuilder) -> None:
    """Takes away what builds that did not end have left; `incomplete` is TFDS's word."""
    place = Path(builder.data_dir)
    for left in place.parent.glob(f"incomplete.*_{place.name}"):
        shutil.rmtree(left)
    # All configurations write here, so what is found may be of one that is just being built. It
    # had its lock then: asked for afterwards, a lock that is free tells that it has ended.
    dataset = place.parent.parent if builder.builder_config else place.parent
    built = any(dataset.glob("*/dataset_info.json")) or any(dataset.glob("*/*/dataset_info.json"))
    texts = list(dataset.glob(".config/incomplete.*" if built else ".config/*"))
    others = [*dataset.glob(".*.lock"), *dataset.glob("*/.*.lock")] if texts else []
    if not any(map(locks.may_be_held, others)):
        for left in texts:
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not there, or not empty
            (dataset / ".config").rmdir()


def _build(
    builder: tfds.core.DatasetBuilder, source: str, skip_bad: bool, beam_options: str
) -> None:
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
    patients = builder.info.metadata["patients"]
    warnings = [splits.unknown_patients_warning(patients), splits.alike_warning(patients)]
    warnings.append(records.infection_warning(builder))
    rows += [f"  note: {warning}" for warning in warnings if warning]
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and "source_digest" not in builder.info.metadata:
        rows.append(
            "  note: built by an earlier version, which did not keep of which files; nobody can "
            "say whether they are those of the folder named"
        )
    return "\n".join([f"dataset {builder.info.full_name}", *rows])


def fingerprint(
    builder: tfds.core.DatasetBuilder, split_names: Iterable[str], name: str | None = None
) -> str:
    """Returns a SHA-256 over the records of the given splits (16 hex digits).

    It depends on what is stored and its order alone, and not on the cut into files.

    Args:
      builder: a built dataset.
      split_names: its splits, TFDS slicing allowed.
      name: what the dataset is called in the digest; None for its full name.
    """
    digest = hashlib.sha256((name or builder.info.full_name).encode())
    for name in split_names:
        records = Records(builder, name, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        digest.update(f"{name}:{len(records)}".encode())
        for record in records:
            digest.update(record)
    return digest.hexdigest()[:16]


def holds(builder: tfds.core.DatasetBuilder, kept: Mapping[str, Any]) -> bool:
    """Tells whether a dataset holds the very records that a run has noted of its data.

    Args:
      builder: a built dataset, which may be called otherwise than it was then.
      kept: `dataset`, `splits` and `fingerprint`, as in the run's data.json; of one of an earlier
        version, which lacks some, nobody can tell.
    """
    if not {"dataset", "splits", "fingerprint"} <= kept.keys():
        return False
    try:
        for split in kept["splits"]:
            people.check_split(builder, split)
    except people.SplitError:
        return False
    return fingerprint(builder, kept["splits"], kept["dataset"]) == kept["fingerprint"]
