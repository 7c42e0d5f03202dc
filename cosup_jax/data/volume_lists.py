"""What every layout of volumes of one's own ends in, and a folder of them matched by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cosup_jax.data import slice_files, splits, volume_cases
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.own_volumes import OwnVolume, image_files, mask_files
from cosup_jax.scans import masks, nifti
from cosup_jax.scans.names import volume_name

PLAIN = "a plain folder"
IMAGES, MASKS, LUNGS = "images", "masks", "lungs"
EACH_A_PATIENT = "each volume is taken for a patient of its own"
_BY_SUBJECT = f"{EACH_A_PATIENT}, but for names of BIDS, whose sub-… is the patient"


@dataclass(frozen=True)
class Listed:
    """The volumes of a folder.

    Attributes:
      layout: what the folder is called by those who made it.
      volumes: in the order of their names.
      mask_values: stored value to class, where the folder says it; else None.
      lungs_in_mask: stored value to lung, where the masks have the lungs too; else None.
      splits: by what the splits are given; empty where they are not.
      notes: what the user should know.
      provenance: by case, who made its mask; empty where nobody knows.
    """

    layout: str
    volumes: tuple[OwnVolume, ...]
    mask_values: Mapping[int, int] | None = None
    lungs_in_mask: Mapping[int, int] | None = None
    splits: str = ""
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def by_subject(listed: Listed) -> Listed:
    """Gives volumes whose names are BIDS's the patient that these name, unless a table names them.

    Scans of one person, as `sub-07_ses-1_ct` and `sub-07_ses-2_ct`, so stay in one split.
    """
    if EACH_A_PATIENT not in listed.notes:
        return listed
    volumes = [replace(v, patient_id=splits.subject_of(v.case_id)) for v in listed.volumes]
    if all(volume.patient_id == volume.case_id for volume in volumes):
        return listed
    notes = [_BY_SUBJECT if note == EACH_A_PATIENT else note for note in listed.notes]
    return replace(listed, volumes=tuple(volumes), notes=tuple(notes))


def read_plain(root: Path) -> Listed:
    """Lists `images/`, `masks/` and, where there is one, `lungs/`, matched by name.

    Raises:
      DatasetLayoutError: naming the first file that is none, or has no image.
    """
    images = _by_name(root / IMAGES)
    drawn = {name: _by_name(root / name) for name in (MASKS, LUNGS) if (root / name).is_dir()}
    for name, paths in drawn.items():
        lone = [path for stem, path in paths.items() if stem not in images]
        if lone:
            raise DatasetLayoutError(
                f"{lone[0]}: no image of this name in {root / IMAGES}{masks.to_do(lone[0])}; "
                f"expected one for every file in {name} ({len(lone)} of {len(paths)} without)"
            )
    volumes = []
    for stem, path in images.items():
        where = f"case {stem!r}"
        labels = {
            name: mask_files(paths[stem], root, where) if stem in paths else ()
            for name, paths in drawn.items()
        }
        volumes.append(
            OwnVolume(
                stem,
                stem,
                image_files(path, root, where),
                labels.get(MASKS, ()),
                labels.get(LUNGS, ()),
            )
        )
    return Listed(PLAIN, tuple(volumes), notes=(EACH_A_PATIENT,))


def _by_name(folder: Path) -> dict[str, Path]:
    found = volume_cases.by_name(
        slice_files.visible(folder), stem_of, "one file or folder a volume"
    )
    if not found:
        raise DatasetLayoutError(f"{folder}: is empty; expected volumes in it")
    return found


def stem_of(path: Path) -> str:
    """Returns the name of a volume without the suffix of its file.

    >>> stem_of(Path("images/a.b.nii.gz")), stem_of(Path("masks/a.b.dcm"))
    ('a.b', 'a.b')
    """
    if path.name.lower().endswith(nifti.SUFFIXES):
        return volume_name(path)
    return path.name if path.is_dir() else path.stem
