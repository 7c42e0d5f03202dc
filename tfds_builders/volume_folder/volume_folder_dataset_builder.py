"""The user's own volumes, in the layouts in which people keep them."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import own_volumes, schema, sources, volume_layouts
from cosup_jax.data.builder import NO_DATA_NEEDED, Case, CtSliceBuilder, DatasetLayoutError
from cosup_jax.data.own_volumes import Reading
from cosup_jax.data.volume_layouts import Dealing
from cosup_jax.data.volume_lists import Listed

# Of pictures, whose masks nobody has declared; volumes then say it themselves.
_UNDECLARED = {0: 0, 255: 1}


@dataclasses.dataclass(eq=False)
class VolumeFolderConfig(tfds.core.BuilderConfig):
    """Which folder to read, and how.

    Attributes:
      folder: the folder or table; empty for TFDS's `manual_dir`.
      mask_values: stored value, or number of a segment, to class (0..3); None: the folder says it.
      options: see `Options`.
    """

    folder: str = ""
    mask_values: Mapping[int, int] | None = None
    options: "Options" = dataclasses.field(default_factory=lambda: Options())

    def __post_init__(self):
        for value, label in (self.mask_values or {}).items():
            if value < 0 or not 0 <= label <= schema.MAX_CLASS:
                raise ValueError(
                    f"mask_values {dict(self.mask_values or {})}: {value} means class {label}; "
                    f"expected values from 0 on and classes 0..{schema.MAX_CLASS}"
                )


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user may choose, as `name=value[,name=value]` in `data.config`.

    Attributes:
      fold: of `splits_final.json`, or of those into which patients are dealt.
      folds: how many folds patients are dealt into.
      seed: names the dealing of patients.
      resample: `nearest` brings masks of another grid to the image's; else they are refused.
      slices: `lungs` leaves out slices without lungs.
      scans: where the scans lie whose results are read; empty: the records say it.
      hu_offset: what is to be added to values to make them HU; None: the scans tell.
      masks: `corrected` takes, of results, those only whose masks somebody has corrected.
      test: `no` deals patients into splits without one to test on.
    """

    fold: int = 0
    folds: int = 5
    seed: str = "0"
    resample: str = "no"
    slices: str = "all"
    scans: str = ""
    hu_offset: float | None = None
    masks: str = "all"
    test: str = "dealt"

    @classmethod
    def parse(cls, text: str) -> "Options":
        """Parses `name=value[,name=value]`.

        Raises:
          ValueError: an unknown name or value; the message lists the valid ones.

        >>> Options.parse("fold=2,resample=nearest").fold
        2
        """
        given: dict[str, Any] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or name not in _PARSERS or name in given:
                raise ValueError(
                    f"data.config of volume_folder: {part!r}; expected name=value, each once, with "
                    f"name one of {', '.join(_PARSERS)}"
                )
            expected, parse = _PARSERS[name]
            try:
                given[name] = parse(value)
            except ValueError:
                raise ValueError(
                    f"data.config of volume_folder: {part!r}; expected {expected}"
                ) from None
        return cls(**given)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 4:
        raise ValueError(text)
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _one_of(*words: str) -> Any:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return f"one of {', '.join(words)}", parse


_PARSERS: dict[str, tuple[str, Any]] = {
    "fold": ("a whole number", _number),
    "folds": ("a whole number", _number),
    "seed": ("a word", str),
    "resample": _one_of("no", "nearest"),
    "slices": _one_of("all", "lungs"),
    "scans": ("a folder", str),
    "hu_offset": ("a number", _finite),
    "masks": _one_of("all", "corrected"),
    "test": _one_of("dealt", "no"),
}


class Builder(CtSliceBuilder):
    """Reads volumes and masks, and deals their patients into splits where none are given."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        VolumeFolderConfig(
            name="default", version=VERSION, description="the folder given as manual_dir"
        )
    ]
    OPTIONS: ClassVar[type] = Options
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The folder should be one of\n"
        "  dataset.json, imagesTr/*_0000.nii.gz, labelsTr/    nnU-Net raw, or the Decathlon's\n"
        "  images/, masks/, lungs/ (optional)                 matched by name\n"
        "  volumes.csv (or any CSV file): image,mask,lung,case,patient,split\n"
        "  results of predict                                 mask.nii.gz or mask.dcm a scan\n"
        "with NIfTI volumes, folders or zips of one DICOM series, DICOM Segmentations. Give it "
        "with --config.data.source=FOLDER, or to tfds build with --manual_dir=FOLDER. "
        f"{NO_DATA_NEEDED}"
    )

    @classmethod
    def config_from_source(
        cls, source: str, mask_values: Mapping[int, int] | None = None, options: str = ""
    ) -> VolumeFolderConfig:
        """Returns the configuration of one folder or table in its present state.

        Args:
          source: the folder, or the CSV file.
          mask_values: stored value to class; None: the folder says it.
          options: see `Options`.

        Raises:
          DatasetLayoutError: it does not exist or is not laid out as expected.
          ValueError: an unknown option.
        """
        values = None if mask_values is None or dict(mask_values) == _UNDECLARED else mask_values
        root = Path(source).expanduser().resolve()
        chosen = Options.parse(options)
        listed = _listed(root, chosen, values)
        return VolumeFolderConfig(
            name=f"volumes-{_digest(listed, chosen, values)}",
            version=cls.VERSION,
            description=f"the volumes of {root.name}, {listed.layout}",
            folder=str(root),
            mask_values=values,
            options=chosen,
        )

    def source_digest(self, folder: Path) -> str:
        """Returns a digest of what a folder holds, and of all that is chosen."""
        config = self.builder_config
        listed = _listed(folder, config.options, config.mask_values)
        return _digest(listed, config.options, config.mask_values)

    def source_folder(self, dl_manager: tfds.download.DownloadManager) -> Path:
        """Returns the folder or table of the configuration, or the one that TFDS was given."""
        named = self.builder_config.folder
        return Path(named).resolve() if named else super().source_folder(dl_manager).resolve()

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists the volumes of each split."""
        config = self.builder_config
        options = config.options
        listed = _listed(self.source_folder(dl_manager), options, config.mask_values)
        groups, notes = volume_layouts.deal(
            listed, Dealing(options.fold, options.folds, options.seed, options.test != "no")
        )
        sheared = own_volumes.sheared(v for group in groups.values() for v in group)
        if sheared:
            notes.append(
                f"evaluations have no distances of {', '.join(sheared)}: the grid is sheared, as a "
                "tilted gantry leaves it"
            )
        notes = [*listed.notes, *notes]
        for note in notes:
            logging.warning("%s: %s", self.name, note)
        self.info.metadata.update(
            layout=listed.layout,
            notes=notes,
            options=dataclasses.asdict(options),
            cases={name: [v.case_id for v in group] for name, group in groups.items()},
            provenance=dict(listed.provenance),
            sheared=sheared,
        )
        return {
            name: [Case(v.case_id, v.patient_id, (v, self._reading(listed))) for v in group]
            for name, group in groups.items()
        }

    def _reading(self, listed: Listed) -> Reading:
        options = self.builder_config.options
        return Reading(
            mask_values=self.builder_config.mask_values or listed.mask_values,
            lungs_in_mask=listed.lungs_in_mask,
            nearest=options.resample == "nearest",
            lungs_only=options.slices == "lungs",
        )

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a volume."""
        volume, reading = case.source
        return own_volumes.read(volume, reading)


def _listed(root: Path, options: Options, values: Mapping[int, int] | None) -> Listed:
    scans = Path(options.scans).expanduser().resolve() if options.scans else None
    try:
        only = options.masks == "corrected"
        listed = volume_layouts.find(root, options.fold, values, scans, corrected=only)
    except OSError as error:
        raise DatasetLayoutError(f"{error.filename}: {error.strerror}") from error
    seen: set[str] = set()
    for volume in listed.volumes:
        if volume.case_id in seen:
            raise DatasetLayoutError(
                f"case {volume.case_id!r} is there twice; expected a name for each volume"
            )
        seen.add(volume.case_id)
    if options.hu_offset is None:
        return listed
    shifted = [dataclasses.replace(v, hu_offset=options.hu_offset) for v in listed.volumes]
    return dataclasses.replace(listed, volumes=tuple(shifted))


def _digest(listed: Listed, options: Options, values: Mapping[int, int] | None) -> str:
    """Returns a digest of the files' contents, whose they are, and all that is chosen."""
    chosen = dataclasses.replace(options, scans="")
    return sources.digest([chosen, sorted((values or {}).items()), listed])
