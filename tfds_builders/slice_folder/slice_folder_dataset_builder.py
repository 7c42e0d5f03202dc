"""The user's own slices: a folder of images and masks per split."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data import schema, slice_files, sources
from cosup_jax.data.builder import NO_DATA_NEEDED, Case, CtSliceBuilder, DatasetLayoutError
from cosup_jax.data.splits import PatientOverlapError
from cosup_jax.scans import images
from cosup_jax.scans.names import SliceName

MASK_VALUES = {0: 0, 255: 1}
LUNG_VALUES = {0: 0, 1: 1, 2: 2, 255: 1}
# Folder names of each split, the first of which is the one to recommend.
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
_KINDS = ("image", "mask", "lung")
_LARGEST_VALUE = 65535


@dataclasses.dataclass(eq=False)
class SliceFolderConfig(tfds.core.BuilderConfig):
    """Which folder to read, and what its mask values mean.

    Attributes:
      folder: the folder with the splits; empty for TFDS's `manual_dir`.
      mask_values: stored value (0..65535) to class (0..3).
    """

    folder: str = ""
    mask_values: Mapping[int, int] = dataclasses.field(default_factory=lambda: dict(MASK_VALUES))

    def __post_init__(self):
        for value, label in self.mask_values.items():
            if not 0 <= value <= _LARGEST_VALUE or not 0 <= label <= schema.MAX_CLASS:
                raise ValueError(
                    f"mask_values {dict(self.mask_values)}: {value} means class {label}; expected "
                    f"values 0..{_LARGEST_VALUE} and classes 0..{schema.MAX_CLASS}"
                )


def folder_config(
    folder: str | Path, mask_values: Mapping[int, int] = MASK_VALUES
) -> SliceFolderConfig:
    """Returns the configuration of one folder in its present state.

    Its name has the digest of what the folder holds and of `mask_values`: two folders, or one
    before and after a change, are never confused, and copies of one are the same dataset.

    Raises:
      DatasetLayoutError: the folder does not exist or holds no split.
    """
    root = Path(folder).expanduser().resolve()
    return SliceFolderConfig(
        name=f"slices-{source_digest(root, mask_values)}",
        version=Builder.VERSION,
        description=f"the slices of the folder {root.name}",
        folder=str(root),
        mask_values=dict(mask_values),
    )


def source_digest(root: Path, mask_values: Mapping[int, int]) -> str:
    """Returns a digest of the files' names and contents, and of the mask values."""
    folders = find_splits(root)
    listed = {split: sorted(_source_files(folder)) for split, folder in folders.items()}
    return sources.digest([sorted(mask_values.items()), listed])


def _source_files(folder: Path) -> Iterator[tuple[str, Path]]:
    index = _index_path(folder)
    if index.is_file():
        yield "index", index
    for kind in _KINDS:
        for path in slice_files.visible(folder / kind) if (folder / kind).is_dir() else ():
            if path.is_file():
                yield f"{kind}/{schema.normal_name(path.name)}", path


def _index_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}_index.csv")


def find_splits(root: Path) -> dict[str, Path]:
    """Returns the folder of each split that there is.

    Raises:
      DatasetLayoutError: no such folder, no train or validation split, two names for one split, a
        split without images, or a split or index where none is looked for.
    """
    if not root.is_dir():
        raise _layout_error(f"looked in {root}, which is not a folder")
    found: dict[str, Path] = {}
    for split, names in SPLIT_FOLDERS.items():
        present = [root / name for name in names if (root / name / "image").is_dir()]
        if len(present) > 1:
            raise _layout_error(f"{present[0]} and {present[1]}: expected only one of the two")
        if present:
            found[split] = present[0]
        elif split != "test":
            raise _layout_error(f"looked in {root} for {names[0]}/image, and there is none")
    known = [folder.name for folder in found.values()]
    meant = {name for names in SPLIT_FOLDERS.values() for name in names}
    for path in sorted(root.iterdir()):
        if path.name not in known and (path / "image").is_dir():
            raise _layout_error(f"{path}: a split of another name; expected train, val or test")
        if path.name not in known and path.is_dir() and path.name.casefold() in meant:
            raise _layout_error(f"{path}: no folder `image` in it; expected one, or no such split")
        name = path.name.removesuffix("_index.csv")
        if name != path.name and name not in known:
            raise _layout_error(f"{path}: no split {name!r} here; expected one beside its index")
    slice_files.check_indexes(root, [_index_path(folder) for folder in found.values()])
    return found


def _layout_error(problem: str) -> DatasetLayoutError:
    return DatasetLayoutError(f"slice_folder: {problem}\n{Builder.MANUAL_DOWNLOAD_INSTRUCTIONS}")


@dataclasses.dataclass(frozen=True)
class _Slice:
    """One slice's files and position."""

    slice_index: int
    image: Path
    mask: Path
    lung: Path | None


class Builder(CtSliceBuilder):
    """Reads `<split>/image`, `<split>/mask` and, where there is one, `<split>/lung`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        SliceFolderConfig(
            name="default", version=VERSION, description="the folder given as manual_dir"
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The folder should hold\n"
        "  train/image/<case>_<slice>.png   8- or 16-bit grey PNG or TIFF, or JPEG\n"
        "  train/mask/<case>_<slice>.png    PNG or TIFF, 0 and 255 unless declared otherwise\n"
        "  train/lung/<case>_<slice>.png    optional: 0 outside, 255 (or 1 left, 2 right) inside\n"
        "  val/...                          the same for validation\n"
        "  test/...                         optional\n"
        "  train_index.csv, ...             optional: file,case,patient,slice\n"
        "Give it with --config.data.source=FOLDER, or to tfds build with --manual_dir=FOLDER. "
        f"{NO_DATA_NEEDED}"
    )

    @classmethod
    def config_from_source(
        cls, source: str, mask_values: Mapping[int, int] = MASK_VALUES
    ) -> SliceFolderConfig:
        """Returns the configuration of a folder; see `folder_config`."""
        return folder_config(source, mask_values)

    def source_digest(self, folder: Path) -> str:
        """Returns the digest of a folder, see the function of this name."""
        return source_digest(folder, self.builder_config.mask_values)

    def source_folder(self, dl_manager: tfds.download.DownloadManager) -> Path:
        """Returns the folder of the configuration, or the one that TFDS was given."""
        named = self.builder_config.folder
        return Path(named).resolve() if named else super().source_folder(dl_manager)

    def download_and_prepare(self, *, download_config=None, **kwargs) -> None:
        """Builds the dataset, or refuses to pass off what was built of another folder as this one.

        Raises:
          DatasetLayoutError: a dataset built of other files already lies under this name.
        """
        config = download_config or tfds.download.DownloadConfig()
        folder = self.builder_config.folder or config.manual_dir
        if folder and self.is_prepared() and not config.download_mode.overwrite_dataset:
            self.check_source(Path(folder))
        super().download_and_prepare(download_config=download_config, **kwargs)

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists the cases of each split, each with its slices in order."""
        root = self.source_folder(dl_manager).resolve()
        folders = find_splits(root)
        names = {}
        cases = {}
        seen: dict[str, tuple[str, Path]] = {}
        spelled: dict[str, tuple[str, str]] = {}
        for split, folder in folders.items():
            files = slice_files.list_slices(folder / "image", root)
            names[split] = _names(folder, root, files, spelled)
            if unread := slice_files.unread(folder, _KINDS):
                logging.warning("slice_folder: %s", unread)
            slice_files.check_pictures_apart(split, files.values(), seen)
            cases[split] = _group(names[split], _slices(folder, root, files, names[split]))
        _check_scans_apart(names)
        return cases

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Yields the slices of a case."""
        for piece in case.source:
            image = images.read_grey(piece.image)
            mask = images.read_labels(piece.mask, self.builder_config.mask_values)
            images.check_same_size(image, mask, piece.image, piece.mask)
            lung = None
            if piece.lung is not None:
                lung = images.read_labels(piece.lung, LUNG_VALUES)
                images.check_same_size(image, lung, piece.image, piece.lung)
            yield schema.make_example(
                image,
                intensity="grey16" if image.dtype == np.uint16 else "grey8",
                case_id=case.case_id,
                patient_id=case.patient_id,
                slice_index=piece.slice_index,
                mask=mask,
                lung=lung,
            )


def _names(
    folder: Path, root: Path, files: Mapping[str, Path], spelled: dict[str, tuple[str, str]]
) -> dict[str, SliceName]:
    if not files:
        raise _layout_error(f"the split {folder.name!r} is empty: no image in {folder / 'image'}")
    index = _index_path(folder)
    if index.exists() or index.is_symlink():
        slice_files.check_inside(index, root)
        names = slice_files.read_index(index, files, spelled)
    else:
        names = {stem: slice_files.name_of(stem) for stem in files}
        said = f"{index.name} is not there, so {slice_files.EACH_A_PATIENT}, by its files' names"
        logging.warning("slice_folder: %s", said)
    lone = sum(not name.case_known for name in names.values())
    if lone:
        logging.warning(
            "slice_folder: %d of %d files of %s are not named <case>_<slice>; each is one case",
            lone,
            len(names),
            folder.name,
        )
    return names


def _slices(
    folder: Path,
    root: Path,
    files: Mapping[str, Path],
    names: Mapping[str, SliceName],
) -> dict[str, _Slice]:
    masks = slice_files.list_slices(folder / "mask", root, masks=True)
    slice_files.match(files, masks, folder / "mask")
    lungs: Mapping[str, Path] = {}
    if (folder / "lung").exists():
        lungs = slice_files.list_slices(folder / "lung", root, masks=True)
        slice_files.match(files, lungs, folder / "lung")
    return {
        stem: _Slice(names[stem].slice_index, path, masks[stem], lungs.get(stem))
        for stem, path in files.items()
    }


def _group(names: Mapping[str, SliceName], slices: Mapping[str, _Slice]) -> list[Case]:
    grouped: dict[str, dict[int, _Slice]] = {}
    patients: dict[str, str] = {}
    for stem, name in names.items():
        group = grouped.setdefault(name.case_id, {})
        other = group.setdefault(name.slice_index, slices[stem])
        if other is not slices[stem]:
            raise DatasetLayoutError(
                f"{slices[stem].image}: case {name.case_id!r}, slice {name.slice_index}, as "
                f"{other.image} is; expected one file for each"
            )
        patient = patients.setdefault(name.case_id, name.patient_id)
        if patient != name.patient_id:
            raise DatasetLayoutError(
                f"{slices[stem].image}: patient {name.patient_id!r}, but other slices of case "
                f"{name.case_id!r} are of {patient!r}; expected one patient per case"
            )
    return [
        Case(case_id, patients[case_id], tuple(group[i] for i in sorted(group)))
        for case_id, group in sorted(grouped.items())
    ]


def _check_scans_apart(names: Mapping[str, Mapping[str, SliceName]]) -> None:
    seen: dict[str, str] = {}
    for split, group in names.items():
        for case_id in sorted({name.case_id for name in group.values() if name.case_known}):
            if case_id in seen:
                raise PatientOverlapError(
                    f"slice_folder: case {case_id!r} stands in both {seen[case_id]!r} and "
                    f"{split!r}. Move all its slices to one split. Where file names do not mean "
                    "<case>_<slice>, say in an index CSV which case and patient each file is of."
                )
            seen[case_id] = split
