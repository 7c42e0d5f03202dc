"""Small copies of both sources of the co-supervision paper's dataset."""

from pathlib import Path

from tests.dummy import covid_ct_seg, medseg_covid


def write(folder: Path) -> None:
    """Writes each into its folder."""
    medseg_covid.write(folder / "medseg_covid")
    covid_ct_seg.write(folder / "covid_ct_seg")
