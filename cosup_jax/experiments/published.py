"""The values printed in the two papers, from the package's `published.csv`.

They are facts copied from Tables 2 to 8 of Hu et al., "Deep co-supervision and attention fusion
strategy for automatic COVID-19 lung infection segmentation on CT images" (2022), and Tables II to
IV of Fan et al., "Inf-Net: automatic COVID-19 lung infection segmentation from CT images" (2020),
whose fractions are written as percentages. Where the text of a table does not say which row a value
belongs to, the method is called "not identified".
"""

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """A row of a table of a paper.

    Attributes:
      dataset: what it was measured on.
      method: the method's name in the paper.
      values: measure → (mean, standard deviation over runs), in per cent; the deviation is None
        where the paper gives none.
      doubt: what speaks against the values as they are printed; empty for most.
    """

    dataset: str
    method: str
    values: Mapping[str, tuple[float, float | None]]
    doubt: str = ""

    @property
    def name(self) -> str:
        """The method, and of which part of the infection, where it is of a part."""
        part = self.dataset.partition(" ")[2]
        return f"{self.method}, {part}" if part else self.method


_SWAPPED = (
    "suspect as printed: E_φ of 85 to 86 and S_α of 91 to 92 look exchanged (all other rows have "
    "93 to 96 and 81 to 87), and MAE is the best at the lowest Dice"
)
_DOUBTS = {
    **{("cosup", "2", method): _SWAPPED for method in ("ACFNet", "CE-Net", "CPFNet")},
    ("cosup", "4", "esm+afm (from the prose)"): "in all digits the value of ResUNet_C5F in Table 3",
}


@functools.cache
def rows(paper: str, table: str) -> tuple[PublishedRow, ...]:
    """Returns the rows of a table in the paper's order.

    Args:
      paper: `cosup` or `infnet`.
      table: its number as the paper writes it, such as `3` or `IV`.

    Raises:
      KeyError: no such table.

    >>> rows("cosup", "5")[2].method, rows("cosup", "5")[2].values["dice"]
    ('Attention', (87.59, 1.07))
    """
    found: list[PublishedRow] = []
    values: dict[str, tuple[float, float | None]] = {}
    place: tuple[str, str] | None = None
    text = importlib.resources.files(__package__).joinpath("published.csv").read_text()
    for line in csv.DictReader(text.splitlines()):
        if (line["paper"], line["table"]) != (paper, table):
            continue
        # Several rows may have the same name, where the paper's text does not tell them apart.
        if (line["dataset"], line["method"]) != place or line["measure"] in values:
            place, values = (line["dataset"], line["method"]), {}
            doubt = _DOUBTS.get((paper, table, line["method"]), "")
            found.append(PublishedRow(*place, values, doubt))
        deviation = float(line["std_percent"]) if line["std_percent"] else None
        values[line["measure"]] = float(line["mean_percent"]), deviation
    if not found:
        raise KeyError(f"there are no published values of table {table!r} of {paper!r}")
    return tuple(found)
