"""The images of one series as stacks: copies left out, phases and kernels told apart."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from cosup_jax.scans import series_geometry
from cosup_jax.scans.dicom_headers import Image
from cosup_jax.scans.nifti import VolumeError

_DIGITS = 3  # of directions and distances by which images are told apart
_ACROSS = 0.7  # cosine below which two planes are not of one stack
_FEWEST = 4  # images of a stack that is told from others at the same places
_SAME_PLACE = 1e-2  # mm
_FEW_PLACES, _MOST_TIMES = 2, 60  # of bolus tracking; more images have lost their positions
_GEOMETRY = "ImageOrientationPatient, Rows, Columns or PixelSpacing"
# Such stacks may lie elsewhere too; acquisitions alone may be turns of the gantry.
_SURE = {"StackID", "ConvolutionKernel", "KVP", "ImageType", "SeriesNumber", "SeriesDescription"}
_TOLD_BY = ("SeriesNumber", "SeriesDescription", "AcquisitionNumber")


class Found(NamedTuple):
    """One stack: its images, notes, why it is no whole volume (or empty), which part it is."""

    images: list[Image]
    notes: tuple[str, ...] = ()
    fault: str = ""
    part: str = ""


def shape_of(image: Image) -> Hashable:
    """Returns what images of one stack share: direction, matrix and pixel spacing."""
    plane = image.plane
    numbers = [*(plane.orientation or ()), *(plane.spacing or ())]
    return plane.rows, plane.columns, tuple(round(n, _DIGITS) + 0.0 for n in numbers)


def is_stack(images: Sequence[Image]) -> bool:
    """Whether images make one whole, even stack."""
    return not _fault(images)


def _fault(images: Sequence[Image]) -> str:
    try:
        series_geometry.sort([image.plane for image in images])
    except VolumeError as error:
        return str(error)
    return ""


def is_numbered(images: Sequence[Image]) -> bool:
    """Whether InstanceNumber only grows, or only falls, along the stack that they make."""
    order = series_geometry.sort([image.plane for image in images]).order
    numbers = [images[i].order for i in order]
    if None in numbers:
        return False
    steps = np.diff(np.array(numbers, np.int64))
    return bool((steps > 0).all() or (steps < 0).all())


def drop_scouts(images: list[Image]) -> tuple[list[Image], list[Image]]:
    """Returns the images of a series without the few that lie across most of them, and those."""
    turned = defaultdict(list)
    for image in images:
        direction = image.plane.orientation
        turned[direction and tuple(round(n, _DIGITS) for n in direction)].append(image)
    most = max(turned.values(), key=len)
    if len(most) < _FEWEST or most[0].plane.orientation is None:
        return images, []
    axis = _normal(most[0])
    scouts = [
        image
        for image in images
        if image.plane.orientation and abs(float(_normal(image) @ axis)) < _ACROSS
    ]
    if not scouts or len(scouts) >= len(most) or len(scouts) >= _FEWEST:
        return images, []
    return [image for image in images if image not in scouts], scouts


def drop_strangers(images: list[Image]) -> tuple[list[Image], list[Image]]:
    """Returns the images that make a stack without a few of other kinds, and those few.

    They have another matrix, direction or pixel spacing, or no place: overviews and pages that bear
    the series' identifier too. What lies where the stack would go on is a slice of it, whatever its
    header says, and is not left out.
    """
    kinds = group_by(images, lambda image: (shape_of(image), image.plane.position is None))
    most = max(kinds, key=len)
    few = len(images) - len(most)
    one_a_place = list({image.plane: image for image in most}.values())
    if not 0 < few < _FEWEST <= len(one_a_place) or not is_stack(one_a_place):
        return images, []
    others = [image for image in images if image not in most]
    return (images, []) if any(_goes_on(one_a_place, image) for image in others) else (most, others)


def is_tracking(images: Sequence[Image]) -> bool:
    """Whether images show one place or two again and again, as those of bolus tracking do."""
    return _at_few_places(images) and len({i.plane.position for i in images}) < len(images)


def _at_few_places(images: Sequence[Image]) -> bool:
    places = {image.plane.position for image in images}
    return None not in places and len(places) <= _FEW_PLACES and len(images) <= _MOST_TIMES


def drop_tracking(images: list[Image]) -> tuple[list[Image], list[Image]]:
    """Returns the images of a series without those of bolus tracking that bear its identifier.

    They differ from the others in one of `_TOLD_BY`, and all others make whole stacks without them.
    """
    for name in _TOLD_BY if _is_doubled(images) else ():
        groups = _parted(images, (name,))
        tracking = [image for group in groups if _at_few_places(group) for image in group]
        rest = [group for group in groups if not _at_few_places(group)]
        whole = all(len(group) >= _FEWEST and is_stack(group) for group in rest)
        if rest and whole and is_tracking(tracking):
            return [image for group in rest for image in group], tracking
    return images, []


def _goes_on(stack: list[Image], image: Image) -> bool:
    """Whether an image lies next to an end of a stack, outside of it."""
    if image.plane.position is None:
        return False
    axis = _normal(stack[0])
    heights = np.sort([float(np.array(one.plane.position) @ axis) for one in stack])
    height = float(np.array(image.plane.position) @ axis)
    beyond = max(heights[0] - height, height - heights[-1])
    return bool(_SAME_PLACE < beyond < 1.5 * (heights[-1] - heights[0]) / (len(stack) - 1))


def _normal(image: Image) -> np.ndarray:
    directions = np.array(image.plane.orientation, np.float64)
    return np.cross(directions[:3], directions[3:])


def split(images: list[Image], content: Callable[[Image], Hashable]) -> list[Found]:
    """Returns the stacks that the images of one series make.

    Args:
      images: without overviews.
      content: as for `dicom_series.arrange`.
    """
    kept = _without_copies(images, partial(_is_copy, content, _of_one_place(images)))
    copies = len(images) - len(kept)
    notes = (f"{copies} exact copies of its images count once",) if copies else ()
    fault = _fault(kept)
    doubled, unequal = bool(fault) and _is_doubled(kept), ""
    # Whatever headers and folders say, to count images of the same values once loses none.
    if doubled and (whole := _once(kept, content)):
        note = f"{len(kept) - len(whole)} images equal another at their place and count once"
        return [Found(whole, (*notes, note))]
    # A slice of one stack may equal that of another, and is no copy then.
    for some, said in [(images, ())] * (doubled and copies > 0) + [(kept, notes)]:
        for way, parts in _ways(some, bool(fault), doubled):
            if len(parts) > 1 and all(len(part) >= _FEWEST and is_stack(part) for part in parts):
                least, most = min(map(len, parts)), max(map(len, parts))
                if way not in _SURE and 2 * least < most and not _lie_across(parts):
                    unequal = unequal or (
                        f"; {_GEOMETRY if way == 'geometry' else way} would part them into "
                        f"{len(parts)} stacks of {least} to {most} images, which are too unequal "
                        "to be sure of; give each alone"
                    )
                    continue
                more = (*said, f"one of {len(parts)} stacks of its series")
                return [Found(part, more, part=f"{way} {i}") for i, part in enumerate(parts)]
    if doubled and not unequal:
        fault += ", and nothing in their headers parts them into whole stacks"
    return [Found(kept, notes, fault + unequal)]


def _lie_across(parts: Sequence[Sequence[Image]]) -> bool:
    """Whether stacks are cut in directions of their own, as reformats of one scan are."""
    pairs = itertools.combinations([_normal(part[0]) for part in parts], 2)
    return all(abs(float(one @ other)) < _ACROSS for one, other in pairs)


def _without_copies(images: list[Image], is_copy: Callable[[Image, Image], bool]) -> list[Image]:
    places: dict[Hashable, list[Image]] = defaultdict(list)
    for image in images:
        places[image.plane].append(image)
    dropped: set[int] = set()
    for same in places.values():
        seen: list[Image] = []
        for image in same:
            if any(is_copy(image, other) for other in seen):
                dropped.add(id(image))
            else:
                seen.append(image)
    return [image for image in images if id(image) not in dropped]


def _once(images: list[Image], content: Callable[[Image], Hashable]) -> list[Image]:
    """Returns one image of each place; none if two at a place differ, or it makes no stack."""
    places = group_by(images, lambda image: image.plane)
    if any(not _is_equal(content, same[0], other) for same in places for other in same[1:]):
        return []
    found = [same[0] for same in places]
    return found if is_stack(found) else []


def _of_one_place(images: list[Image]) -> set[str]:
    """Returns the SOPInstanceUIDs that name an image: all images that have one lie at one place."""
    planes: dict[str, set[Hashable]] = defaultdict(set)
    for image in images:
        planes[image.instance].add(image.plane)
    return {instance for instance, found in planes.items() if instance and len(found) == 1}


def _is_copy(
    content: Callable[[Image], Hashable], named: set[str], image: Image, other: Image
) -> bool:
    if image.instance and other.instance and image.instance != other.instance:
        return False
    described = (image.order, image.choice) == (other.order, other.choice)
    return (described or image.instance in named) and _is_equal(content, image, other)


def _is_equal(content: Callable[[Image], Hashable], image: Image, other: Image) -> bool:
    return image.part != other.part and content(image) == content(other)


def _is_doubled(images: Sequence[Image]) -> bool:
    """Whether two images lie at one place."""
    if any(i.plane.position is None or i.plane.orientation is None for i in images):
        return False
    axis = _normal(images[0])
    heights = np.sort([float(np.array(image.plane.position) @ axis) for image in images])
    return bool((np.diff(heights) < _SAME_PLACE).any())


def _ways(
    images: list[Image], faulty: bool, doubled: bool
) -> Iterator[tuple[str, list[list[Image]]]]:
    """Yields ways to part images, the surest first."""
    names = [
        name
        for name in dict.fromkeys(name for image in images for name in image.choice)
        if 1 < len({image.choice.get(name) for image in images}) < len(images)
    ]
    if not faulty:
        yield "StackID", _parted(images, ("StackID",))
        # Where one stack lies halfway between another's slices, they look like one that is even.
        for name in names:
            if name in _SURE and _overlap(parts := _parted(images, (name,))):
                yield name, parts
        return
    yield "geometry", group_by(images, shape_of)
    ways = [(name,) for name in names if doubled or name in _SURE]
    for way in [*ways, *itertools.combinations([w[0] for w in ways], 2)]:
        yield " ".join(way), _parted(images, way)
    if doubled:
        yield "folder", group_by(images, lambda image: image.part.folder)
        yield (
            "file",
            group_by(images, lambda image: image.part if image.frame is not None else None),
        )
        yield from _by_number(images)


def _overlap(parts: Sequence[Sequence[Image]]) -> bool:
    """Whether stacks lie beside one another, and not one after the other."""
    axis = _normal(parts[0][0])
    heights = [[float(np.array(i.plane.position) @ axis) for i in part] for part in parts]
    return max(map(min, heights)) < min(map(max, heights))


def _parted(images: list[Image], names: tuple[str, ...]) -> list[list[Image]]:
    return group_by(images, lambda image: tuple(image.choice.get(name, "") for name in names))


def group_by(images: Iterable[Image], key: Callable[[Image], Hashable]) -> list[list[Image]]:
    """Returns images with the same key together, in the order in which keys appear."""
    groups: dict[Hashable, list[Image]] = defaultdict(list)
    for image in images:
        groups[key(image)].append(image)
    return list(groups.values())


def _by_number(images: list[Image]) -> Iterator[tuple[str, list[list[Image]]]]:
    """Yields the images in runs of InstanceNumber, as many as there are images at each place."""
    numbers = [image.order for image in images]
    if None in numbers or len(set(numbers)) < len(numbers):
        return
    ordered = sorted(images, key=lambda image: image.order or 0)
    places = len({image.plane.position for image in images})
    if len(images) % places == 0:
        runs = [ordered[i : i + places] for i in range(0, len(images), places)]
        yield "InstanceNumber", runs
