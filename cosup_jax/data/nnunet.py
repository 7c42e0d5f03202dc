"""Folders with a `dataset.json`: the raw ones of nnU-Net, and those of the Decathlon."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cosup_jax.data import label_names, slice_files, volume_cases
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.own_volumes import UNLABELLED, OwnVolume, image_files, mask_files, path_in
from cosup_jax.data.schema import normal_name
from cosup_jax.data.volume_lists import EACH_A_PATIENT, Listed
from cosup_jax.scans import nifti
from cosup_jax.scans.names import volume_name

DESCRIPTION, SPLITS = "dataset.json", "splits_final.json"
OLDER_SPLITS = "splits_final.pkl"
TRAIN, LABELS, TEST, TEST_LABELS = "imagesTr", "labelsTr", "imagesTs", "labelsTs"
_CHANNEL = re.compile(r"(.+)_([0-9]{4})")
_MAX_BYTES = 1 << 24


def is_here(root: Path) -> bool:
    """Whether a folder is one of these."""
    return (root / DESCRIPTION).is_file()


def label_values(folder: Path, option: str) -> Mapping[int, int] | None:
    """Returns stored value to class, of a folder of masks that nnU-Net has or has written.

    Args:
      folder: the folder.
      option: with which the user can say it.

    Returns:
      None where no `dataset.json` lies in the folder, or beside it where it is `labelsTr`.

    Raises:
      DatasetLayoutError: the labels of `dataset.json` say no class.
    """
    root = folder.resolve()
    if not is_here(root) and root.name in (LABELS, TEST_LABELS):
        root = root.parent
    if not is_here(root):
        return None
    path = root / DESCRIPTION
    return label_names.values(
        label_names.names(_json(path, root, dict).get("labels"), path), path, option
    )[0]


def read(root: Path, fold: int, declared: Mapping[int, int] | None) -> Listed:
    """Lists the volumes of a folder with a `dataset.json`.

    Args:
      root: the folder.
      fold: which one of `splits_final.json`, where there is one.
      declared: stored value to class, where the user says it; None: the labels' names say it.

    Raises:
      DatasetLayoutError: naming the file or key and what was expected of it.
    """
    path = root / DESCRIPTION
    about = _json(path, root, dict)
    channels = about.get("channel_names", about.get("modality", {}))
    channels = list(channels.values()) if isinstance(channels, dict) else channels
    channels = channels if isinstance(channels, list) else [channels]
    if len(channels) > 1:
        raise DatasetLayoutError(
            f"{path}: has the channels {', '.join(map(str, channels))}; expected one, CT"
        )
    names = label_names.names(about.get("labels"), path)
    values, lungs = (
        (declared, None) if declared is not None else label_names.values(names, path, "mask_values")
    )
    listed = about.get("training")
    decathlon = isinstance(listed, list) and "file_ending" not in about
    if decathlon and not any((root / TRAIN).glob("*_0000.nii*")):
        volumes, layout = _decathlon(root, about, path), "Medical Segmentation Decathlon"
    else:
        volumes, layout = _raw(root, about, path), "nnU-Net raw"
    volumes, splits = _with_splits(root, volumes, fold)
    notes = [EACH_A_PATIENT]
    notes += [f"the channel is called {c!r}, and taken for CT" for c in channels if not _is_ct(c)]
    if not splits and (root / OLDER_SPLITS).exists():
        notes.append(
            f"{OLDER_SPLITS} is not read, as a pickle may hold anything; {SPLITS} would be"
        )
    if any(volume.split == UNLABELLED for volume in volumes):
        notes.append(f"{TEST} has no labels here and is the unlabelled split")
    return Listed(layout, tuple(volumes), values, lungs, splits, tuple(notes))


def _is_ct(name: Any) -> bool:
    return bool(re.search(r"(^|[^a-z])(ct|hu)([^a-z]|$)", str(name).lower()))


def _json(path: Path, root: Path, kind: type) -> Any:
    slice_files.check_inside(path, root)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetLayoutError(f"{path}: {error}; expected JSON") from error
    if not isinstance(found, kind):
        raise DatasetLayoutError(f"{path}: is a {type(found).__name__}; expected {kind.__name__}")
    return found


def _raw(root: Path, about: Mapping[str, Any], path: Path) -> list[OwnVolume]:
    ending = about.get("file_ending", ".nii.gz")
    if ending not in nifti.SUFFIXES:
        raise DatasetLayoutError(
            f"{path}: file_ending is {ending!r}; expected {' or '.join(nifti.SUFFIXES)}"
        )
    volumes = _pairs(root, root / TRAIN, root / LABELS, ending, "")
    expected = about.get("numTraining", len(volumes))
    if str(expected) != str(len(volumes)):
        raise DatasetLayoutError(
            f"{path}: numTraining is {expected}, but {root / TRAIN} holds {len(volumes)} volumes; "
            "the copy is incomplete"
        )
    listed = about.get("training")
    entries = [entry for entry in listed if isinstance(entry, dict)] if type(listed) is list else []
    given = [str(entry["label"]) for entry in entries if "label" in entry]
    others = [label for label in given if Path(label).parent.name != LABELS]
    if others:
        raise DatasetLayoutError(
            f"{path}: names the labels {others[0]!r}, but nnU-Net reads those in {root / LABELS}; "
            "expected the ones that are meant there"
        )
    chosen = about.get("dataset")
    if isinstance(chosen, dict) and {*map(normal_name, chosen)} != {v.case_id for v in volumes}:
        raise DatasetLayoutError(
            f"{path}: names {len(chosen)} cases and their files under 'dataset', which are others "
            f"than the {len(volumes)} in {root / TRAIN}; expected the files there, and no others"
        )
    if not (root / TEST).is_dir():
        return volumes
    labels = root / TEST_LABELS
    if labels.is_dir():
        return volumes + _pairs(root, root / TEST, labels, ending, "test")
    return volumes + _pairs(root, root / TEST, None, ending, UNLABELLED)


def _pairs(
    root: Path, images: Path, labels: Path | None, ending: str, split: str
) -> list[OwnVolume]:
    if not images.is_dir():
        raise DatasetLayoutError(f"{images}: no such folder; expected one with volumes")

    def case_of(path: Path) -> str:
        named = _CHANNEL.fullmatch(path.name.removesuffix(ending))
        if not path.name.endswith(ending) or named is None:
            raise DatasetLayoutError(f"{path}: expected a file named <case>_0000{ending}")
        if named[2] != "0000":
            raise DatasetLayoutError(
                f"{path}: channel {int(named[2])} of {named[1]!r}; expected one channel, CT"
            )
        return named[1]

    found = volume_cases.by_name(slice_files.visible(images), case_of)
    if not found and split != UNLABELLED:
        raise DatasetLayoutError(f"{images}: is empty; expected files named <case>_0000{ending}")
    drawn = {} if labels is None else _labels(found, labels, ending)
    volumes = []
    for case, path in found.items():
        where = f"case {case!r}"
        mask: tuple[Path, ...] = ()
        if labels is not None:
            mask = mask_files(drawn.get(case, labels / f"{case}{ending}"), root, where)
        volumes.append(OwnVolume(case, case, image_files(path, root, where), mask, split=split))
    return volumes


def _labels(images: Mapping[str, Path], folder: Path, ending: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetLayoutError(f"{folder}: no such folder; expected the labels of {len(images)}")
    found = volume_cases.by_name(slice_files.visible(folder), lambda p: p.name.removesuffix(ending))
    for case, path in found.items():
        if case not in images:
            raise DatasetLayoutError(f"{path}: labels of no case; expected <case>{ending}")
    return found


def _decathlon(root: Path, about: Mapping[str, Any], path: Path) -> list[OwnVolume]:
    # nnU-Net never looks at it, so that in its folders it means nothing.
    if str(about.get("tensorImageSize", "3D")).upper() == "4D":
        raise DatasetLayoutError(f"{path}: tensorImageSize is 4D; expected volumes of three axes")
    volumes = []
    for entry in about["training"]:
        if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
            raise DatasetLayoutError(f"{path}: training holds {entry!r}; expected image and label")
        image, label = (_inside(root, entry[name], path) for name in ("image", "label"))
        case = volume_name(image)
        where = f"case {case!r}"
        volumes.append(
            OwnVolume(case, case, image_files(image, root, where), mask_files(label, root, where))
        )
    tested = about.get("test") or []
    if not isinstance(tested, list):
        raise DatasetLayoutError(f"{path}: test is {tested!r}; expected a list of images")
    for entry in tested:
        image = _inside(root, entry, path)
        case = volume_name(image)
        files = image_files(image, root, f"case {case!r}")
        volumes.append(OwnVolume(case, case, files, split=UNLABELLED))
    return volumes


def _inside(root: Path, name: Any, path: Path) -> Path:
    if not str(name).lower().endswith(nifti.SUFFIXES):
        raise DatasetLayoutError(f"{path}: {name!r}; expected the path of a NIfTI file")
    return path_in(root, name, str(path))


def _with_splits(
    root: Path, volumes: Sequence[OwnVolume], fold: int
) -> tuple[list[OwnVolume], str]:
    path = root / SPLITS
    if not path.exists():
        return list(volumes), ""
    rounds = _json(path, root, list)
    if not 0 <= fold < len(rounds):
        raise DatasetLayoutError(
            f"{path}: no fold {fold}; expected fold=0 to fold={len(rounds) - 1}"
        )
    chosen = rounds[fold]
    if not isinstance(chosen, dict) or not all(
        isinstance(chosen.get(name), list) for name in ("train", "val")
    ):
        raise DatasetLayoutError(f"{path}: fold {fold} has no lists train and val")
    split_of: dict[str, str] = {}
    for name, split in (("train", "train"), ("val", "validation")):
        for case in chosen[name]:
            if split_of.setdefault(normal_name(str(case)), split) != split:
                raise DatasetLayoutError(
                    f"{path}: case {case!r} stands in both lists of fold {fold}; expected it in one"
                )
    known = {volume.case_id for volume in volumes if volume.mask and not volume.split}
    for case in [*split_of, *sorted(known)]:
        if case not in known or case not in split_of:
            there = "labels" if case in known else "a list"
            raise DatasetLayoutError(
                f"{path}: case {case!r} is only in {there}; expected fold {fold} and {LABELS} to "
                "have the same cases"
            )
    given = [
        volume if volume.split else dataclasses.replace(volume, split=split_of[volume.case_id])
        for volume in volumes
    ]
    return given, f"fold {fold} of {SPLITS}"
