"""The user's own volumes, in the layouts in which people keep them."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import own_volumes, schema, slice_files, sources, volume_layouts
from cosup_jax.data.builder import NO_DATA_NEEDED, Case, CtSliceBuilder, DatasetLayoutError
from cosup_jax.data.own_volumes import Reading
from cosup_jax.data.volume_layouts import Dealing
from cosup_jax.data.volume_lists import IMAGES, LUNGS, MASKS, PLAIN, Listed
from cosup_jax.volume_options import Options

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
    options: Options = dataclasses.field(default_factory=Options)

    def __post_init__(self):
        for value, label in (self.mask_values or {}).items():
            if value < 0 or not 0 <= label <= schema.MAX_CLASS:
                raise ValueError(
                    f"mask_values {dict(self.mask_values or {})}: {value} means class {label}; "
                    f"expected values from 0 on and classes 0..{schema.MAX_CLASS}"
                )


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
        root = self.source_folder(dl_manager)
        listed = _listed(root, options, config.mask_values)
        groups, notes = volume_layouts.deal(
            listed, Dealing(options.fold, options.folds, options.seed, options.test != "no")
        )
        sheared = own_volumes.sheared(v for group in groups.values() for v in group)
        if sheared:
            notes.append(
                f"evaluations have no distances of {', '.join(sheared)}: the grid is sheared, as a "
                "tilted gantry leaves it"
            )
        if listed.layout == PLAIN and (unread := slice_files.unread(root, (IMAGES, MASKS, LUNGS))):
            notes.append(unread)
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
    return sources.digest([options.chosen, sorted((values or {}).items()), listed])
