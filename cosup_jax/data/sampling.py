"""Balanced sampling: slices belong to groups, and each group has its share of every batch.

Sets of very different size, and slices with and without infection, so come as often as is wished
and not as often as there are files. A group takes its slices in a new order each time round, so
all of them come equally often. The order depends on the seed alone, and an iterator over it
resumes exactly.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

KINDS = ("all", "infected", "empty")


class SamplingError(ValueError):
    """Groups that mean nothing or do not fit the slices; the message names the group or case."""


class Group(NamedTuple):
    """Slices that are drawn, and scored, together.

    Attributes:
      start: what the ids of their cases start with; empty for any case.
      kind: `infected` for slices with infection, `empty` for those without, or `all`.
      share: of the slices drawn, against the sum of all shares.
    """

    start: str
    kind: str
    share: float

    def __str__(self) -> str:
        """Returns what to call it in a message."""
        return f"{self.start or 'any case'} ({self.kind})"


def parse_groups(values: Sequence[Sequence[Any]]) -> tuple[Group, ...]:
    """Reads `sampling.groups` of a configuration; a slice belongs to the first that it fits.

    Raises:
      SamplingError: an entry that is no group.

    >>> parse_groups([("medseg", "empty", 0.2), ("", "all", 0.8)])[1].share
    0.8
    """
    groups = []
    for value in values:
        match value:
            case [str(start), str(kind), int() | float() as share] if kind in KINDS and share > 0:
                groups.append(Group(start, kind, float(share)))
            case _:
                raise SamplingError(
                    f"sampling.groups holds {value!r}; expected (start of the case ids, kind, "
                    f"share) with a kind of {', '.join(KINDS)} and a share above 0"
                )
    return tuple(groups)


def membership(
    case_ids: Sequence[str], infected: Sequence[bool], groups: Sequence[Group]
) -> np.ndarray:
    """Tells to which group each slice belongs, (slices,) int.

    Raises:
      SamplingError: a slice belongs to none.
    """
    found = []
    for case_id, ill in zip(case_ids, infected, strict=True):
        kinds = ("all", "infected" if ill else "empty")
        fits = [i for i, g in enumerate(groups) if case_id.startswith(g.start) and g.kind in kinds]
        if not fits:
            raise SamplingError(
                f"sampling.groups has no group for {'an infected' if ill else 'an empty'} slice of "
                f"case {str(case_id)!r}; there are {', '.join(map(str, groups))}"
            )
        found.append(fits[0])
    return np.array(found, int)


def mixed(dataset: grain.MapDataset, groups: Sequence[Group], seed: int) -> grain.MapDataset:
    """Returns an endless dataset that takes from each group its share, shuffled by `seed`.

    Args:
      dataset: of prepared slices, from `pipeline.open_split`.
      groups: from `parse_groups`.
      seed: decides the order.

    Raises:
      SamplingError: a group without slices, or a slice without a group.
    """
    of = _membership_of(dataset, groups)
    parts = []
    for number, group in enumerate(groups):
        chosen = np.flatnonzero(of == number)
        if not len(chosen):
            raise SamplingError(f"sampling.groups: the training split has no slice of {group}")
        source = grain.MapDataset.source(_Chosen(dataset, chosen))
        parts.append(source.seed(seed + number).shuffle().repeat())
    return grain.MapDataset.mix(parts, weights=[group.share for group in groups])


def check(dataset: grain.MapDataset, split: str, groups: Sequence[Group]) -> None:
    """Refuses a split that is scored by groups and has a slice of none of them.

    Raises:
      SamplingError: naming split and slice.
    """
    if groups:
        try:
            _membership_of(dataset, groups)
        except SamplingError as error:
            raise SamplingError(
                f"{error}; the split {split!r} is scored by groups, too: give one for it"
            ) from error


def check_cases(case_ids: Sequence[str], split: str, groups: Sequence[Group]) -> None:
    """Refuses groups that slices cannot be drawn from, whatever labels they are given.

    Raises:
      SamplingError: a case that no group has, or a group that has no case.
    """
    there = f"there are {', '.join(map(str, groups))}"
    for case_id in dict.fromkeys(case_ids) if groups else ():
        if not case_id.startswith(tuple(group.start for group in groups)):
            raise SamplingError(
                f"sampling.groups has no group for case {case_id!r} of the split {split!r}; {there}"
            )
    for group in groups:
        if not any(case_id.startswith(group.start) for case_id in case_ids):
            raise SamplingError(f"sampling.groups: the split {split!r} has no slice of {group}")


def _membership_of(dataset: grain.MapDataset, groups: Sequence[Group]) -> np.ndarray:
    case_ids, infected = zip(*(_label(dataset[i]) for i in range(len(dataset))), strict=True)
    return membership(case_ids, infected, groups)


def mean_of_groups(
    scores: np.ndarray,
    case_ids: Sequence[str],
    infected: Sequence[bool],
    groups: Sequence[Group],
) -> float:
    """Returns the mean, over the groups that there are, of the means of their slices' scores.

    Args:
      scores: (slices,), one of each.
      case_ids: of each.
      infected: whether each has infection.
      groups: from `parse_groups`; without any, the result is the mean over the slices.
    """
    if not groups:
        return float(np.mean(scores))
    of = membership(case_ids, infected, groups)
    return float(np.mean([np.mean(scores[of == number]) for number in np.unique(of)]))


def _label(example: Mapping[str, Any]) -> tuple[str, bool]:
    return example["case_id"], bool(example["mask"].any())


class _Chosen:
    """Some of a dataset's slices, as a source of their own."""

    def __init__(self, dataset: grain.MapDataset, chosen: np.ndarray) -> None:
        self._dataset, self._chosen = dataset, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, i: int) -> Mapping[str, Any]:
        example = self._dataset[int(self._chosen[i])]
        assert example is not None  # a source without filters has every slice
        return example
