"""Which CT images make one scan: by their series, and where identifiers fail, by where they lie.

Images of different patients, studies or frames of reference, where these are filled, are never of
one scan. No text of a header is part of a note or a reason.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from os.path import commonpath

from cosup_jax.scans import dicom_kinds, dicom_stacks, dicom_unnamed
from cosup_jax.scans.dicom_headers import Aside, Image
from cosup_jax.scans.dicom_stacks import group_by, is_stack
from cosup_jax.scans.dicom_unnamed import KEPT_APART

_FEW = 2  # so many images beside a scan are none of their own
_MANY = 4  # and from here on they may be
_FEW_WITHOUT_PLACE = 8
_TRACKING = "image of a place that is taken several times (as bolus tracking)"
_WORDS = {"patient": "patients", "study": "studies", "reference": "frames of reference"}

_NAMED_PROJECTION = (
    "its description names a projection (such as MIP): if slices show the brightest or darkest of "
    "several, no volume measured here is true"
)


@dataclass(frozen=True)
class Stack:
    """The images of one scan.

    Attributes:
      images: in no order.
      notes: what the user should know.
      fault: why they are no whole volume, or empty.
      part: which of several stacks of its series it is, or empty.
    """

    images: tuple[Image, ...]
    notes: tuple[str, ...] = ()
    fault: str = ""
    part: str = ""

    @property
    def series(self) -> str:
        """The identifier that all its images share, or empty."""
        shared = {image.series for image in self.images}
        return shared.pop() if len(shared) == 1 else ""


def arrange(
    images: Iterable[Image], content: Callable[[Image], Hashable]
) -> tuple[list[Stack], list[Aside]]:
    """Finds the scans among the images of some folders and zips.

    Args:
      images: of CT.
      content: returns what is equal for exact copies of an image alone; called where images lie at
        the same place.

    Returns:
      the scans, and the images that belong to none.
    """
    shared, loose = _by_series(list(images))
    stacks: list[Stack] = []
    aside: list[Aside] = []
    for group, notes in dicom_unnamed.groups(_join_containers(shared), loose):
        kept, scouts = dicom_stacks.drop_scouts(group)
        aside += [_aside(image, "localizer") for image in scouts]
        kept, strangers = dicom_stacks.drop_strangers(kept)
        aside += [_aside(image, "image unlike the others of its series") for image in strangers]
        kept, tracking = dicom_stacks.drop_tracking(kept)
        aside += [_aside(image, _TRACKING) for image in tracking]
        for found in dicom_stacks.split(kept, content):
            named = any(dicom_kinds.is_projection(image.description) for image in found.images)
            more = (*notes, *found.notes, *[_NAMED_PROJECTION] * named)
            stacks.append(Stack(tuple(found.images), more, found.fault, found.part))
    kept_stacks, trifles = _without_trifles(_refuse_scattered(stacks))
    return _note_parted(kept_stacks), aside + trifles


def _note_parted(stacks: list[Stack]) -> list[Stack]:
    """Notes where images of one series are several scans, as they name several patients or so."""
    by_series: dict[tuple[str, str], list[Image]] = defaultdict(list)
    for stack in stacks:
        by_series[stack.images[0].part.container, stack.series].append(stack.images[0])
    found = []
    for stack in stacks:
        firsts = by_series[stack.images[0].part.container, stack.series]
        names = [n for n in KEPT_APART if len({getattr(first, n) for first in firsts} - {""}) > 1]
        words = " and ".join(_WORDS[name] for name in names)
        said = f"its series has images of several {words}, each of which is a scan of its own"
        notes = (*stack.notes, said) if words and stack.series else stack.notes
        found.append(replace(stack, notes=notes))
    return found


def _aside(image: Image, kind: str) -> Aside:
    return Aside(image.part, kind, image.study)


def _by_series(images: Sequence[Image]) -> tuple[list[list[Image]], list[Image]]:
    """Returns the images of series that say so, and those whose series is empty or theirs alone."""
    groups: dict[tuple[str, str], list[Image]] = defaultdict(list)
    for image in images:
        groups[image.part.container, image.series].append(image)
    shared, loose = [], []
    for (_, series), group in groups.items():
        if series and len(group) > 1:
            shared += _apart(group)
        else:
            loose += group
    return shared, loose


def _apart(group: list[Image]) -> list[list[Image]]:
    """Parts a series whose images name several patients, studies or frames of reference."""
    parts = [group]
    for name in KEPT_APART:
        found: list[list[Image]] = []
        for part in parts:
            filled = {getattr(image, name) for image in part} - {""}
            found += group_by(part, attrgetter(name)) if len(filled) > 1 else [part]
        parts = found
    return parts


def _join_containers(groups: list[list[Image]]) -> list[list[Image]]:
    """Joins what several inputs or zips hold of one series, where the parts make one stack."""

    def named(group: list[Image]) -> tuple[str, ...]:
        first = group[0]
        return (first.series, *(getattr(first, name) for name in KEPT_APART))

    result: list[list[Image]] = []
    by_name: dict[tuple[str, ...], list[list[Image]]] = defaultdict(list)
    for group in groups:
        by_name[named(group)].append(group)
    for same in by_name.values():
        union = [image for group in same for image in group]
        result += [union] if len(same) > 1 and is_stack(union) else same
    return result


def _refuse_scattered(stacks: list[Stack]) -> list[Stack]:
    """Finds images that each name a study or the like of their own, and yet make one stack."""
    single = [stack for stack in stacks if len(stack.images) == 1 and not stack.fault]
    groups = group_by(
        (stack.images[0] for stack in single),
        lambda image: (image.part.folder, dicom_stacks.shape_of(image)),
    )
    scattered: list[Stack] = []
    for group in groups:
        if len(group) >= _MANY and is_stack(group):
            fault = (
                f"each of {len(group)} images that make one stack names a patient, a study or a "
                "frame of reference of its own; nothing says that they are one scan"
            )
            scattered.append(Stack(tuple(group), fault=fault))
    taken = {image for stack in scattered for image in stack.images}
    return [s for s in stacks if s.images[0] not in taken or len(s.images) > 1] + scattered


def _without_trifles(stacks: list[Stack]) -> tuple[list[Stack], list[Aside]]:
    """Sets a few images apart that lie beside a scan, such as overviews and pages of a report."""
    whole = [s for s in stacks if len(s.images) >= _MANY and not s.fault]
    studies = {(s.images[0].part.container, s.images[0].study) for s in whole}
    folders = {image.part.folder for s in whole for image in s.images}
    kept: list[Stack] = []
    aside: list[Aside] = []
    for stack in stacks:
        first, count = stack.images[0], len(stack.images)
        near = first.part.folder in folders or (
            bool(first.study) and (first.part.container, first.study) in studies
        )
        placed = all(i.plane.position and i.plane.orientation for i in stack.images)
        if near and placed and count <= _FEW:
            aside += [_aside(image, "image of a series of one or two") for image in stack.images]
        elif near and placed and dicom_stacks.is_tracking(stack.images):
            aside += [_aside(image, _TRACKING) for image in stack.images]
        elif near and not placed and count <= _FEW_WITHOUT_PLACE:
            aside += [_aside(image, "CT image without a place") for image in stack.images]
        else:
            kept.append(stack)
    return kept, aside


def folder_of(stack: Stack) -> str:
    """Returns the folder in which all its files lie, or the one zip; the file if there is one."""
    paths = {image.part.path for image in stack.images}
    if len(paths) == 1:
        return str(paths.pop())
    parents = {path.parent for path in paths}
    if len({parent.is_absolute() for parent in parents}) > 1:
        parents = {parent.resolve() for parent in parents}
    return commonpath(map(str, parents)) or "."


def choose(stacks: Sequence[Stack], wanted: str) -> list[Stack]:
    """Returns the stacks of the series that a user means.

    Args:
      stacks: to choose from.
      wanted: SeriesNumber, or else the beginning of SeriesInstanceUID or of SeriesDescription.
    """
    text = wanted.strip().casefold()
    for fits in (
        lambda stack: stack.images[0].number.casefold() == text,
        lambda stack: stack.images[0].description.casefold() == text,
        lambda stack: stack.series.startswith(text),
        lambda stack: stack.images[0].description.casefold().startswith(text),
    ):
        if found := [stack for stack in stacks if text and fits(stack)]:
            return found
    return []


def listed(stacks: Sequence[Stack], *, identify: bool = False) -> str:
    """Lists series by number and size; with their identifiers and descriptions for a terminal."""
    texts = []
    for stack in stacks:
        first = stack.images[0]
        extra = [f"{len(stack.images)} images"]
        if identify:
            extra += [f"UID {stack.series}"] * bool(stack.series)
            shown = "".join(c if c.isprintable() else "?" for c in first.description)
            extra += [repr(shown)] * bool(shown)
        texts.append(f"{first.number or 'no number'} ({', '.join(extra)})")
    return "; ".join(texts)


def nothing_found(aside: Sequence[Aside]) -> str:
    """Returns why there is no CT series among some files."""
    faults = [thing.fault for thing in aside if thing.fault]
    counts = Counter(thing.kind for thing in aside)
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    first = f" ({faults[0]})" if faults else ""
    return f"no CT images; found {listed or 'no files'}{first}"


def set_aside(aside: Sequence[Aside]) -> list[str]:
    """Returns a note on what belongs to no scan, if there is anything."""
    counts = Counter(thing.kind for thing in aside)
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return [f"set aside: {listed}"] if counts else []
