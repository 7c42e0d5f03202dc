"""The page says what becomes of scans in odd circumstances, as it is tried out here."""

import pytest

from cosup_jax.prediction import cohort
from tests.prediction import circumstances
from tests.prediction.scan_files import Brightest


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_table_of_the_page_is_what_happens(monkeypatch):
    monkeypatch.setattr(cohort, "Segmenter", Brightest)
    page = circumstances.PAGE.read_text()
    written = page.partition(circumstances.BEGIN)[2].partition(circumstances.END)[0]
    assert written.splitlines() == circumstances.block().splitlines(), (
        "write it anew: python -m tests.prediction.circumstances"
    )
