"""The figure of several dates: what it says where something is not known."""

import pytest

from cosup_jax.evaluation import dates
from tests.evaluation.test_dates import MARCH, compare, write


def words_in(figure):
    """The words in the two parts of a figure, and where they stand."""
    return [[(text.get_text(), text.get_position()[0]) for text in a.texts] for a in figure.axes]


@pytest.mark.usefixtures("drawn")
def test_a_figure_tells_what_is_unknown_from_nothing(tmp_path):
    march = write(tmp_path / "march", MARCH, threshold=0.5)
    nothing = MARCH | {"lesion_ml": 0.0, "right_lesion_ml": 0.0, "left_lesion_ml": 0.0}
    none = write(tmp_path / "none", nothing, content="3" * 64, threshold=0.5)
    of_pictures = dict.fromkeys(MARCH) | {"lesions": 2}
    bare = write(tmp_path / "bare", of_pictures, content="4" * 64, threshold=0.5)
    known = [dates.read(path, path.name) for path in (march, none, bare)]
    assert words_in(dates.figure(known[:2])) == [[], []]
    assert words_in(dates.figure(known)) == [[("unknown", 2)], [("unknown", 2)]]
    both = [("unknown", 0), ("unknown", 1)]
    again = write(tmp_path / "again", of_pictures, content="5" * 64, threshold=0.5)
    assert words_in(dates.figure([known[2], dates.read(again, "again")])) == [both, both]
    assert compare("--scans", bare, again, "--out", tmp_path / "out") == 0
