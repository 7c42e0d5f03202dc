"""CT images whose series no identifier names: which of them make one scan."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

from cosup_jax.scans import dicom_stacks
from cosup_jax.scans.dicom_headers import Image
from cosup_jax.scans.dicom_stacks import group_by, is_stack
from cosup_jax.scans.nifti import MAX_SIDE

# Images in which one of these is filled and differs are never of one scan.
KEPT_APART = ("patient", "study", "reference")

_Groups = list[tuple[list[Image], tuple[str, ...]]]


def groups(named: Sequence[list[Image]], loose: Sequence[Image]) -> _Groups:
    """Returns the images of each series, and a note on what was joined.

    Args:
      named: the images of each series that an identifier names.
      loose: images whose series is empty, or theirs alone.
    """
    result: _Groups = []
    left = list(loose)
    for group in named:
        own = _missed(group, left)
        note = (
            f"{len(own)} of {len(group + own)} images have no SeriesInstanceUID; they lie in one "
            "stack with the others"
        )
        result.append((group + own, (note,) if own else ()))
        left = [image for image in left if image not in own]
    return result + _join_folders(_by_place(left))


def _missed(group: list[Image], loose: Sequence[Image]) -> list[Image]:
    """Returns the images that lack the identifier of a series and complete its stack.

    Where the series is whole without them, their InstanceNumbers must go on from its own.
    """
    first = group[0]
    folders = {image.part.folder for image in group}
    shape = dicom_stacks.shape_of(first)
    near = [
        image
        for image in loose
        if not image.series
        and image.part.folder in folders
        and dicom_stacks.shape_of(image) == shape
    ]
    union = group + near
    alike = all(
        len({getattr(image, name) for image in union} - {""}) <= 1
        for name in (*KEPT_APART, "number")
    )
    if not near or not alike or len(union) > MAX_SIDE or not is_stack(union):
        return []
    return near if not is_stack(group) or dicom_stacks.is_numbered(union) else []


def _by_place(loose: Sequence[Image]) -> list[list[Image]]:
    """Groups images without a shared series by folder, by all that is filled, and by geometry."""

    def key(image: Image) -> Hashable:
        kept = tuple(getattr(image, name) for name in KEPT_APART)
        return image.part.folder, kept, dicom_stacks.shape_of(image)

    groups = []
    for group in group_by(loose, key):
        numbered = group_by(group, lambda image: image.number)
        # A program that numbers each image as a series of its own says nothing by it.
        groups += [group] if len(numbered) == len(group) else numbered
    return groups


def _join_folders(
    groups: list[list[Image]],
) -> list[tuple[list[Image], tuple[str, ...]]]:
    """Joins what several folders hold of one stack, where the images' numbers go on as well.

    The folders nearest to each other are tried first, so that two patients in a folder each are
    not taken for one where the halves of a third lie beside them.
    """

    def key(group: list[Image]) -> Hashable:
        first = group[0]
        kept = tuple(getattr(first, name) for name in KEPT_APART)
        return kept, first.number, dicom_stacks.shape_of(first)

    by_key: dict[Hashable, list[list[Image]]] = defaultdict(list)
    for group in groups:
        by_key[key(group)].append(group)
    result: list[tuple[list[Image], tuple[str, ...]]] = []
    for same in by_key.values():
        parents = {g[0].part.folder[:n] for g in same for n in range(len(g[0].part.folder) + 1)}
        joined = [(group, 1) for group in same]
        for parent in sorted(parents, key=len, reverse=True):
            below = [item for item in joined if item[0][0].part.folder[: len(parent)] == parent]
            union = [image for group, _ in below for image in group]
            if not 1 < len(below) < len(union) <= MAX_SIDE:
                continue
            if is_stack(union) and dicom_stacks.is_numbered(union):
                joined = [item for item in joined if item not in below]
                joined.append((union, sum(count for _, count in below)))
        for group, count in joined:
            note = f"no series is named: the images of {count} folders make one stack"
            result.append((group, (note,) if count > 1 else ()))
    return result
