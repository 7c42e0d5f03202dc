"""The DICOM series, and the volumes in zips, among the files that a user gave."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cosup_jax.scans import dicom_files, zips
from cosup_jax.scans.dicom_files import Part
from cosup_jax.scans.source import Source
from cosup_jax.scans.walk import UNREADABLE, Aside, Given

if TYPE_CHECKING:
    from cosup_jax.scans.dicom_headers import Aside as Other
    from cosup_jax.scans.dicom_series import Stack

_SINGLE = "files"  # the container of all files that are given one by one
_LOST = 4  # so many files of a folder that cannot be read are a scan that is lost


def find(
    given: Sequence[Given], aside: Aside, *, identify: bool, series: str | None
) -> list[Source]:
    """Finds DICOM series in folders, files and zips, and NIfTI volumes in zips.

    Args:
      given: the inputs.
      aside: to which everything is added that belongs to no scan.
      identify: scans are called by their folder or zip.
      series: which are wanted; None: all.
    """
    found: list[Source] = []
    parts: list[Part] = []
    homes: dict[str, Path] = {}  # of each container
    for number, one in enumerate(given):
        for path in one.zips:
            content = zips.look(path)
            aside.counts.update(content.aside)
            found += _volumes(path, content.volumes)
            if content.fault:
                name = path.stem if identify else ""
                found.append(Source(path, "dicom", (path,), name, fault=content.fault))
            parts += content.rest
            if content.rest and not content.volumes:
                homes[str(path)] = path
        container = str(number) if one.is_folder else _SINGLE
        listed = _listed(one.dicom, container, aside)
        if listed:
            homes[container] = one.path if one.is_folder or len(given) == 1 else one.path.parent
        parts += listed
    if not parts:
        return found
    try:
        from cosup_jax.scans import dicom, dicom_series
    except ImportError as error:
        fault = f"reading DICOM needs {error.name}; install it with: pip install 'cosup-jax[dicom]'"
        return found + [
            Source(home, "dicom", _paths(parts, name), fault=fault) for name, home in homes.items()
        ]
    stacks, others = dicom.scan_headers(parts)
    lost = _lost_folders(stacks, others)
    for container, home in homes.items():
        inside = [s for s in stacks if any(i.part.container == container for i in s.images)]
        volumes = container not in (_SINGLE, str(home)) and _has_more(given[int(container)])
        if not inside and not volumes and not any(_below(f, home) for f in lost):
            things = [thing for thing in others if thing.part.container == container]
            fault = dicom_series.nothing_found(things)
            name = home.stem if identify else ""
            found.append(Source(home, "dicom", _paths(parts, container), name, fault=fault))
    for folder, things in lost.items():
        name = folder.name if identify else ""
        files = tuple(thing.part.path for thing in things)
        fault = dicom_series.nothing_found(things)
        found.append(Source(folder, "dicom", files, name, fault=fault))
    aside.counts.update(thing.kind for thing in others)
    kept = _chosen(stacks, series, homes, parts, found, aside)
    return found + _sources(kept, others, given, identify)


def _listed(paths: Iterable[Path], container: str, aside: Aside) -> list[Part]:
    there = []
    for path in paths:
        try:
            path.stat()
            there.append(path)
        except OSError:
            aside.add(UNREADABLE, path)
    return dicom_files.list_files(there, container)


def _volumes(path: Path, volumes: Sequence[Part]) -> list[Source]:
    several = len(volumes) > 1
    return [
        Source(
            *(path, "nifti", (path,), f"{path.stem}-{i}" if several else path.stem),
            part=f"{i}" if several else "",
            member=part,
        )
        for i, part in enumerate(volumes, 1)
    ]


def _paths(parts: Iterable[Part], container: str) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(part.path for part in parts if part.container == container))


def _has_more(one: Given) -> bool:
    return bool(one.volumes or one.pictures or one.zips)


def _below(folder: Path, home: Path) -> bool:
    return home.resolve() in (folder, *folder.parents)


def _lost_folders(stacks: Sequence, others: Sequence) -> dict[Path, list]:
    """Returns the folders whose files cannot be read, and in which no scan lies."""
    with_scans = {image.part.folder for stack in stacks for image in stack.images}
    damaged = defaultdict(list)
    for thing in others:
        if thing.fault and thing.part.member is None and thing.part.folder not in with_scans:
            damaged[Path(*thing.part.folder)].append(thing)
    return {folder: things for folder, things in damaged.items() if len(things) >= _LOST}


def _chosen(
    stacks: Sequence,
    series: str | None,
    homes: dict[str, Path],
    parts: Sequence[Part],
    found: list[Source],
    aside: Aside,
) -> list:
    """Returns the stacks of the wanted series; an input without one becomes a scan that fails."""
    if series is None:
        return [(stack, ()) for stack in stacks]
    from cosup_jax.scans import dicom_series

    kept: list = []
    groups = defaultdict(list)
    for stack in stacks:
        groups[stack.images[0].part.container].append(stack)
    for container, group in groups.items():
        fitting = dicom_series.choose(group, series)
        left = len(group) - len(fitting)
        notes = (f"other series left out: {left}",) if left else ()
        aside.counts["DICOM series not chosen"] += left
        kept += [(stack, notes) for stack in fitting]
        if not fitting:
            home = homes.get(container, group[0].images[0].part.path)
            listed = dicom_series.listed(group, identify=True)
            aside.lines.append(f"{home}: no series {series}; there are: {listed}")
            fault = f"no series {series}; there are: {dicom_series.listed(group)}"
            found.append(Source(home, "dicom", _paths(parts, container), fault=fault))
    aside.counts = +aside.counts
    return kept


def _sources(
    chosen: Sequence[tuple], others: Sequence, given: Sequence[Given], identify: bool
) -> list[Source]:
    from cosup_jax.scans import dicom_series

    alone = {one.path for one in given if not one.is_folder}
    found = []
    for stack, notes in chosen:
        first = stack.images[0]
        folders = {image.part.folder for image in stack.images}
        near = [
            thing
            for thing in others
            if thing.part.folder in folders or (first.study and thing.study == first.study)
        ]
        missing = _perhaps_missing(stack, others, given)
        path = Path(dicom_series.folder_of(stack))
        if path not in alone and path.is_file() and first.part.member is None:
            path = path.parent
        name = (path.stem if path.is_file() else path.resolve().name) if identify else ""
        part = _short(f"{stack.series}\0{stack.part}")
        # What is needed to group images is not needed to read them.
        images = tuple(replace(image, choice={}) for image in stack.images)
        files = tuple(dict.fromkeys(image.part.path for image in images))
        found.append(
            Source(
                *(path, "dicom", files, name),
                part=part,
                stack=replace(
                    stack,
                    images=images,
                    notes=(*stack.notes, *notes, *dicom_series.set_aside(near), *missing),
                ),
            )
        )
    return _numbered_names(_told_apart(found))


def _told_apart(sources: list[Source]) -> list[Source]:
    """Returns scans of which no two in one place are taken for the same.

    Series without identifiers, or with those of others, differ in patient, number or matrix, or at
    least in where their images lie, or in their files.
    """
    from cosup_jax.scans.dicom_stacks import shape_of

    def names(stack: "Stack") -> Hashable:
        image = stack.images[0]
        kept = image.patient, image.study, image.reference, image.number, image.description
        return *kept, shape_of(image)

    ways: tuple[Callable[[Stack], Hashable], ...] = (
        names,
        lambda stack: tuple(sorted(str(image.plane) for image in stack.images)),
        lambda stack: tuple(sorted(f"{i.part.path} {i.part.member}" for i in stack.images)),
    )
    for way in ways:
        counts = Counter((source.path, source.part) for source in sources)
        sources = [
            replace(source, part=_short(f"{source.part}\0{way(source.stack)}"))
            if source.stack and counts[source.path, source.part] > 1
            else source
            for source in sources
        ]
    return sources


def _short(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _perhaps_missing(
    stack: "Stack", others: Sequence["Other"], given: Sequence[Given]
) -> list[str]:
    """Returns notes on files that may be images of a scan, whose ends may be missing then.

    That images are missing inside of it is seen; that it ends early is not.
    """
    parts = [image.part for image in stack.images]
    folders = {part.folder for part in parts}
    zips_of = {part.path for part in parts if part.member is not None}
    damaged = sum(
        bool(thing.fault) and (thing.part.folder in folders or thing.part.path in zips_of)
        for thing in others
    )
    suffixes = {part.path.suffix.lower() for part in parts if part.member is None}
    places = {Path(*part.folder) for part in parts if part.member is None}
    alike = sum(
        path.suffix.lower() in suffixes and path.parent.resolve() in places
        for one in given
        for path in one.others
    )
    said = {"that cannot be read": damaged, "that are no DICOM, but named so": alike}
    return [
        f"among its images lie files {what} ({count}): if they were images, the scan lacks them"
        for what, count in said.items()
        if count
    ]


def _numbered_names(sources: list[Source]) -> list[Source]:
    """Tells several series of one folder apart by their numbers, or else by a digest."""
    counts = Counter((source.path, source.name) for source in sources)
    result = []
    for source in sources:
        if source.name and counts[source.path, source.name] > 1:
            number = source.stack.images[0].number if source.stack else ""
            source = replace(source, name=f"{source.name}_{number or source.part[:6]}")
        result.append(source)
    counts = Counter((source.path, source.name) for source in result)
    return [
        replace(source, name=f"{source.name}_{source.part[:6]}")
        if source.name and counts[source.path, source.name] > 1
        else source
        for source in result
    ]
