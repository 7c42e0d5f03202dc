"""What a user hands over (files, folders, zips), as scans.

A scan is one NIfTI file, one DICOM series, or one folder of slices. What lies beside scans
(previews, label maps, results, overviews, indices of discs) is counted and set aside; it makes no
scan, and stops none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cosup_jax.scans import find_dicom, images, labels, walk
from cosup_jax.scans.names import clean_name, in_order, name_from_file, volume_name
from cosup_jax.scans.source import ScanError, Source
from cosup_jax.scans.walk import Aside, Given

_DRAWN = "picture of labels"


class Found(NamedTuple):
    """What is in the inputs.

    Attributes:
      scans: in the order of their paths.
      aside: what belongs to none of them; as text it is one line.
    """

    scans: list[Source]
    aside: Aside


def find_scans(
    inputs: Iterable[Path], ignore: Path, *, identify: bool = False, series: str | None = None
) -> Found:
    """Finds the scans in what a user gave.

    Files given one by one are taken together where they lie in one folder. A folder with pictures
    is one scan, unless all of them are named `<case>_<slice>` and there are several cases; every
    NIfTI file is one, and every DICOM series, in however many folders its files lie. Folders in
    folders are searched too, but not hidden ones, those of results and links to folders.

    Args:
      inputs: files and folders.
      ignore: a folder that is not searched, for what was written there.
      identify: DICOM scans are called by their folder or zip.
      series: which DICOM series are wanted, as `dicom_series.choose` takes it; None: all.

    Raises:
      ScanError: an input does not exist, or there is no scan in it.
    """
    seen: set[Path] = set()
    given: list[Given] = []
    for path in map(Path.expanduser, inputs):
        if not path.exists():
            raise ScanError(f"{path}: no such file or folder")
        if not (path.is_file() or path.is_dir()):
            raise ScanError(f"{path}: a pipe or device; expected a file or folder")
        given.append(walk.collect(path, ignore.resolve(), seen))
    aside = Aside()
    scans = find_dicom.find(given, aside, identify=identify, series=series)
    singles: dict[Path, list[Path]] = defaultdict(list)
    for one in given:
        if one.is_folder:
            scans += _in_folder(one, scans, aside)
        else:
            scans += [_volume(path) for path in one.volumes]
            for folder, pictures in one.pictures.items():
                singles[folder] += pictures
        _count(one.aside, aside)
    for folder, listed in singles.items():
        drawn = labels.label_pictures(folder, listed)
        pictures = [path for path in listed if path not in drawn]
        if pictures and drawn:
            aside.counts[_DRAWN] += len(drawn)
        else:
            pictures = listed
        scans += _cases(folder if len(pictures) > 1 else pictures[0], pictures)
    for one in given:
        _check_not_empty(one, scans, seen)
    return Found(_with_own_names(sorted(scans, key=_place)), aside)


def _place(source: Source) -> tuple:
    kinds = ("nifti", "dicom", "slices")
    folder = source.path if source.path.is_dir() else source.path.parent
    # Of one folder first the files, then what is all of it.
    whole = source.path.is_dir()
    return str(folder), whole, kinds.index(source.kind), str(source.path), source.name


def _count(found: Aside, into: Aside) -> None:
    into.counts += found.counts
    into.first = into.first or found.first


def _check_not_empty(one: Given, scans: Sequence[Source], seen: set[Path]) -> None:
    """Refuses an input in which there is nothing at all."""
    asked = [*one.volumes, *one.zips, *one.dicom, *(p for ps in one.pictures.values() for p in ps)]
    place = one.path.resolve()
    again = place in seen or any(place in path.parents for path in seen)
    if asked or (again and not len(one.aside)):
        return
    unreadable = one.aside.counts[walk.UNREADABLE]
    if unreadable and one.aside.first:
        raise ScanError(f"{one.aside.first}: cannot be read, and there is no scan beside it")
    first = one.path if one.path.is_file() else one.aside.first
    for kind, article in ((walk.ARCHIVE, "an "), (walk.HALF, "")):
        if one.aside.counts[kind]:
            raise ScanError(f"{first}: {article}{kind}, and there is no scan beside it")
    if one.aside.counts[walk.DISC]:
        raise ScanError(
            f"{one.path}: the {walk.DISC} (DICOMDIR) without its images; give the folder in which "
            "these lie"
        )
    raise ScanError(
        f"{one.path}: no scan in it; expected NIfTI files, DICOM files (or a zip of them), or "
        f"slices named {', '.join(images.IMAGE_SUFFIXES)}"
    )


def _with_own_names(sources: Sequence[Source]) -> list[Source]:
    """Cleans the names; of several in one place that become the same, each gets a digest."""
    cleaned = Counter((path, clean_name(n)) for path, n in {(s.path, s.name) for s in sources})
    result = []
    for given in sources:
        name = clean_name(given.name) if given.name else ""
        if cleaned[given.path, name] > 1:
            name = f"{name}-{sha256(given.name.encode()).hexdigest()[:6]}"
        result.append(replace(given, name=name))
    return result


def _volume(path: Path) -> Source:
    return Source(path, "nifti", (path,), volume_name(path))


def _in_folder(one: Given, dicom: Sequence[Source], aside: Aside) -> list[Source]:
    """Returns the volumes and pictures of a folder that are scans; the rest is set aside."""
    inside = [source for source in dicom if _below(source.path, one.path)]
    maps = [path for path in one.volumes if _is_label_map(path)]
    volumes = [path for path in one.volumes if path not in maps]
    groups = dict(one.pictures)
    holders = {path.parent for source in inside if source.stack for path in source.files}
    beside_volumes = {path.parent for path in volumes}
    for folder in list(groups):
        near = {*one.discs, *holders}
        if folder in beside_volumes or any(_below(folder, other) for other in near):
            aside.counts["picture beside scans"] += len(groups.pop(folder))
    drawn = {folder: labels.label_pictures(folder, paths) for folder, paths in groups.items()}
    greys = {folder: [p for p in groups[folder] if p not in drawn[folder]] for folder in groups}
    odd = [
        folder for folder, paths in greys.items() if paths and not any(map(labels.is_grey, paths))
    ]
    others = len(volumes) + len(inside) + sum(bool(p) for p in greys.values()) - len(odd)
    if others:
        if maps:
            aside.counts["label map"] += len(maps)
        if count := sum(map(len, drawn.values())):
            aside.counts[_DRAWN] += count
        groups = {folder: paths for folder, paths in greys.items() if paths}
        for folder in odd:
            aside.counts["picture that is no grey slice"] += len(groups.pop(folder))
    else:
        volumes = one.volumes
    found = [_volume(path) for path in volumes]
    for folder, paths in groups.items():
        found += _cases(folder, paths)
    return found


def _below(path: Path, folder: Path) -> bool:
    return folder.resolve() in (path.resolve(), *path.resolve().parents)


def _is_label_map(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return labels.is_label_volume(file, path.name)
    except OSError:
        return False


def _cases(folder: Path, pictures: Sequence[Path]) -> list[Source]:
    names = {path: name_from_file(path.stem) for path in pictures}
    cases: dict[str, list[Path]] = {}
    for path, name in names.items():
        cases.setdefault(name.case_id if name.case_known else "", []).append(path)
    if "" in cases or len(cases) == 1:
        cases = {folder.stem if folder in pictures else folder.resolve().name: list(pictures)}
    return [
        Source(folder, "slices", tuple(in_order(files)), case)
        for case, files in cases.items()
        if files
    ]
