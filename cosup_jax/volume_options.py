"""The options of volumes of one's own, as `data.config` has them: read and compared."""

import dataclasses
import math
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user may choose, as `name=value[,name=value]` in `data.config`.

    Attributes:
      fold: of `splits_final.json`, or of those into which patients are dealt.
      folds: how many folds patients are dealt into.
      seed: names the dealing of patients.
      resample: `nearest` brings masks of another grid to the image's; else they are refused.
      slices: `lungs` leaves out slices without lungs.
      scans: where the scans lie whose results are read; empty: the records say it.
      hu_offset: what is to be added to values to make them HU; None: the scans tell.
      masks: `corrected` takes, of results, those only whose masks somebody has corrected.
      test: `no` deals patients into splits without one to test on.
    """

    fold: int = 0
    folds: int = 5
    seed: str = "0"
    resample: str = "no"
    slices: str = "all"
    scans: str = ""
    hu_offset: float | None = None
    masks: str = "all"
    test: str = "dealt"

    @classmethod
    def parse(cls, text: str) -> "Options":
        """Parses `name=value[,name=value]`.

        Raises:
          ValueError: an unknown name or value; the message lists the valid ones.

        >>> Options.parse("fold=2,resample=nearest").fold
        2
        """
        given: dict[str, Any] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or name not in _PARSERS or name in given:
                raise ValueError(
                    f"data.config of volume_folder: {part!r}; expected name=value, each once, with "
                    f"name one of {', '.join(_PARSERS)}"
                )
            expected, parse = _PARSERS[name]
            try:
                given[name] = parse(value)
            except ValueError:
                raise ValueError(
                    f"data.config of volume_folder: {part!r}; expected {expected}"
                ) from None
        return cls(**given)

    @property
    def chosen(self) -> "Options":
        """All but the place of the scans, which the same scans may change."""
        return dataclasses.replace(self, scans="")


def meaning(text: str) -> Options | str:
    """Returns what a `data.config` chooses, wherever scans lie; of another dataset, its text.

    >>> meaning("scans=a,test=no") == meaning("fold=0,test=no,scans=b"), meaning("tiny")
    (True, 'tiny')
    """
    try:
        return Options.parse(text).chosen
    except ValueError:
        return text


def without_scans(text: str) -> str:
    """Returns a `data.config` without the place of the scans."""
    return ",".join(part for part in text.split(",") if not _is_scans(part))


def from_anywhere(text: str) -> str:
    """Returns a `data.config` whose scans are found from anywhere.

    A folder whose path has a comma, which parts options, cannot be named otherwise than it is.
    """
    return ",".join(_absolute(part) if _is_scans(part) else part for part in text.split(","))


def _is_scans(part: str) -> bool:
    return part.partition("=")[0].strip() == "scans"


def _absolute(part: str) -> str:
    scans = part.partition("=")[2].strip()
    path = str(Path(scans).expanduser().absolute())
    return f"scans={path}" if scans and "," not in path else part


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 4:
        raise ValueError(text)
    return int(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _one_of(*words: str) -> Any:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return f"one of {', '.join(words)}", parse


_PARSERS: dict[str, tuple[str, Any]] = {
    "fold": ("a whole number", _number),
    "folds": ("a whole number", _number),
    "seed": ("a word", str),
    "resample": _one_of("no", "nearest"),
    "slices": _one_of("all", "lungs"),
    "scans": ("a folder", str),
    "hu_offset": ("a number", _finite),
    "masks": _one_of("all", "corrected"),
    "test": _one_of("dealt", "no"),
}
