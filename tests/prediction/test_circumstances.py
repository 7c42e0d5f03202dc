"""The page says what becomes of scans in odd circumstances, as it is tried out here."""

import pytest

from cosup_jax.prediction import cohort
from tests.prediction import circumstances


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_table_of_the_page_is_what_happens(monkeypatch):
    monkeypatch.setattr(cohort, "Segmenter", circumstances.Nothing)
    page = circumstances.PAGE.read_text()
    written = page.partition(circumstances.BEGIN)[2].partition(circumstances.END)[0]
    assert written.splitlines() == circumstances.block().splitlines(), (
        "write it anew: python -m tests.prediction.circumstances"
    )
